// The doorbell FSM: from the doorbell FIFO to the queue pair table (paper section 3.1).
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// A turn takes so many doorbells at the most.
inline constexpr uint32_t kDoorbellsAtATime = 16;

/// Takes a turn's doorbells, or scans all queues after an overflow. Returns how many it took; 1 for
/// a scan.
uint32_t TakeDoorbells(const Nic& nic);
/// The same. Returns false when there was none.
inline bool ServiceDoorbells(const Nic& nic) { return TakeDoorbells(nic) != 0; }

/// Takes in what the host has posted to the send queue of `q`, though its doorbell is still on its
/// way, or lost.
void TakePostedSends(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
