// The life of one message: what core, DMA engines and link of both hosts do from its post to its
// acknowledgement, with nothing else going on.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/ns3/model/profile.h"
#include "sim/ns3/trace/critical_path.h"
#include "sim/ns3/trace/recording.h"

namespace qpip::sim::paper {

struct MessageLife {
  uint64_t posted_ps = 0;             ///< PostSend was called
  uint64_t received_ps = 0;           ///< the receiver's Poll returned it
  uint64_t completed_ps = 0;          ///< the sender's Poll returned the completion of its send
  uint64_t post_ps = 0;               ///< processor time of PostSend
  uint64_t poll_ps = 0;               ///< processor time of a Poll that finds something
  Recording recording;                ///< host 0 receives, host 1 sends
  std::vector<PathStep> to_receiver;  ///< critical path from post to the receiver's completion
  std::vector<PathStep> to_sender;    ///< and on to the sender's
};

/// Runs it on two hosts at one switch; the acknowledgement goes at once (protocol.ack_every = 1),
/// since a lone message's would wait for the timer. `bytes` from 1 to 16384.
MessageLife RunMessageLife(const Profile& profile, uint32_t bytes);

}  // namespace qpip::sim::paper
