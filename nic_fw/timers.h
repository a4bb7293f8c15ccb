// Timers: one deadline a queue pair, in a binary heap of handles; O(log n) to arm and fire, O(1)
// to ask for the earliest.
//
// A TCP connection moves its retransmission deadline later with every acknowledgement. Filing
// each move would cost a sift a packet, so a later deadline is only noted in the Tcb: the heap
// entry fires early, finds nothing due and is filed again. Only an earlier deadline moves an entry.
//
// Handlers say several times a packet that a queue pair's deadline may have moved. What it is in
// the end is asked when another's is to be filed, or at the end of the step.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Files the deadline of `unfiled_timer`.
void FileUnfiled(const Nic& nic);
/// Files the deadline that UpdateTimer has left, if it has left one.
inline void FileTimer(const Nic& nic) {
  if (nic.state.unfiled_timer != kNone) FileUnfiled(nic);
}
/// Makes sure that `q` fires no later than its Tcb's next deadline, and that of its ending, by the
/// end of the step (FileTimer).
inline void UpdateTimer(const Nic& nic, QueuePair& q) {
  if (nic.state.unfiled_timer == q.handle) return;
  FileTimer(nic);
  nic.state.unfiled_timer = q.handle;
}
/// Takes `q` off the heap, until UpdateTimer is called again.
void CancelTimer(const Nic& nic, QueuePair& q);
/// Earliest deadline filed, UINT64_MAX when none. Between steps that is the earliest there is.
uint64_t EarliestTimer(const Nic& nic);
/// Takes the earliest entry off the heap if it is due. Returns its queue pair or kNone.
uint32_t PopDueTimer(const Nic& nic);

}  // namespace qpip::fw
