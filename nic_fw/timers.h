// Timers: one deadline a queue pair, in a binary heap of handles; O(log n) to arm and fire, O(1)
// to ask for the earliest.
//
// A TCP connection moves its retransmission deadline later with every acknowledgement. Filing
// each move would cost a sift a packet, so a later deadline is only noted in the Tcb: the heap
// entry fires early, finds nothing due and is filed again. Only an earlier deadline moves an entry.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Makes sure that `q` fires no later than its Tcb's next deadline, and that of its ending.
void UpdateTimer(const Nic& nic, QueuePair& q);
/// Takes `q` off the heap.
void CancelTimer(const Nic& nic, QueuePair& q);
/// Earliest deadline filed, UINT64_MAX when none.
uint64_t EarliestTimer(const Nic& nic);
/// Takes the earliest entry off the heap if it is due. Returns its queue pair or kNone.
uint32_t PopDueTimer(const Nic& nic);

}  // namespace qpip::fw
