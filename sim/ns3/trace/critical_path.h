// The critical path of a message: what it waited for, one thing after the other, from its work
// request to its completion.
//
// Walked backwards: before something began, whatever of the same NIC ended last is what it waited
// for; before a frame was received, the peer's link that sent it. Where nothing ended just then,
// the time between is waiting (for the host, or for something that is not recorded).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/ns3/trace/recording.h"

namespace qpip::sim {

struct PathStep {
  uint64_t start_ps = 0;
  uint64_t end_ps = 0;
  uint32_t host = 0;
  std::string resource;  ///< "core", "DMA read", "link", ..., "waiting"
  std::string label;     ///< of what it did; empty when waiting
  bool waiting() const { return label.empty(); }
};

/// Steps without gaps, in order of time, up to `end_ps` on `host`; the first begins where the walk
/// stopped: at `start_ps`, or at the DMA that read the message's work request when
/// `to_work_request`.
std::vector<PathStep> CriticalPath(const Recording& recording, uint32_t host, uint64_t end_ps,
                                   uint64_t start_ps, bool to_work_request);

/// The path of the received message whose completion is the n-th of all (from 0); empty when there
/// are fewer.
std::vector<PathStep> MessagePath(const Recording& recording, size_t completion);
/// Messages received in a recording; what is flushed at the end is none.
size_t CountReceiveCompletions(const Recording& recording);

}  // namespace qpip::sim
