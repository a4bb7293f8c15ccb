// Who gets the core next: the lists of queue pairs that have something to do.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Puts `queue_pair` (a handle, as below) on the transmit scheduler's list if it is not there.
inline void Activate(const Nic& nic, uint32_t queue_pair) {
  if (!ActiveLink{nic}(queue_pair).linked())
    PushBack(nic.state.active, ActiveLink{nic}, queue_pair);
}

/// Takes `q` off the transmit scheduler's list; its credit is gone.
inline void Deactivate(const Nic& nic, QueuePair& q) {
  if (!q.links.active.linked()) return;
  Remove(nic.state.active, ActiveLink{nic}, q.handle);
  q.deficit = 0;
}

/// `queue_pair` may owe an acknowledgement when the batch of received frames is over.
inline void AddToBatch(const Nic& nic, uint32_t queue_pair) {
  if (!BatchLink{nic}(queue_pair).linked()) PushFront(nic.state.batch, BatchLink{nic}, queue_pair);
}

/// `queue_pair` waits for its DMA and leases to end (PollDraining).
inline void AddToDrain(const Nic& nic, uint32_t queue_pair) {
  if (DrainLink{nic}(queue_pair).linked()) return;
  nic.state.lists_stuck_since = nic.now;
  PushFront(nic.state.drain, DrainLink{nic}, queue_pair);
}

/// `queue_pair` waits for the wire to take frames again (RetryRefused).
inline void AwaitWire(const Nic& nic, uint32_t queue_pair) {
  if (RefusedLink{nic}(queue_pair).linked()) return;
  nic.state.lists_stuck_since = nic.now;
  PushBack(nic.state.refused, RefusedLink{nic}, queue_pair);
}

}  // namespace qpip::fw
