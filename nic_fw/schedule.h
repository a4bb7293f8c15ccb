// Who gets the core next: the lists of queue pairs that have something to do.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Puts `q` on the transmit scheduler's list if it is not there.
inline void Activate(const Nic& nic, const QueuePair& q) {
  if (!q.links.active.linked()) PushBack(nic.state.active, ActiveLink{nic}, q.handle);
}

/// Takes `q` off the transmit scheduler's list; its credit is gone.
inline void Deactivate(const Nic& nic, QueuePair& q) {
  if (!q.links.active.linked()) return;
  Remove(nic.state.active, ActiveLink{nic}, q.handle);
  q.deficit = 0;
}

/// `q` may owe an acknowledgement when the batch of received frames is over.
inline void AddToBatch(const Nic& nic, const QueuePair& q) {
  if (!q.links.batch.linked()) PushFront(nic.state.batch, BatchLink{nic}, q.handle);
}

/// `q` waits for its DMA and leases to end (PollDraining).
inline void AddToDrain(const Nic& nic, const QueuePair& q) {
  if (!q.links.drain.linked()) PushFront(nic.state.drain, DrainLink{nic}, q.handle);
}

/// `q` waits for the wire to take frames again (RetryRefused).
inline void AwaitWire(const Nic& nic, const QueuePair& q) {
  if (!q.links.refused.linked()) PushBack(nic.state.refused, RefusedLink{nic}, q.handle);
}

}  // namespace qpip::fw
