// Who gets the core next: the lists of queue pairs that have something to do.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Turns that queue pairs with nothing to send before may take in a row while others wait.
inline constexpr uint32_t kFreshTurnsInARow = 8;

/// The transmit scheduler's list that `q` is on, or is put on next.
inline List& TurnsOf(const Nic& nic, const QueuePair& q) {
  return q.fresh ? nic.state.fresh : nic.state.active;
}

/// Puts `queue_pair` (a handle, as below) on the transmit scheduler's lists if it is not there. One
/// that had nothing to send goes ahead of those that have had: a short answer does not wait for
/// bulk (RFC 8290 4.2, where the ones are new flows, the others old).
inline void Activate(const Nic& nic, uint32_t queue_pair) {
  QueuePair& q = nic.qp(queue_pair);
  if (q.links.active.linked()) return;
  q.fresh = q.deficit == 0;
  PushBack(TurnsOf(nic, q), ActiveLink{nic}, queue_pair);
}

/// `q`, whose turn it was, has more to send than its credit: behind all others.
inline void ActivateBehind(const Nic& nic, QueuePair& q) {
  q.fresh = false;
  PushBack(nic.state.active, ActiveLink{nic}, q.handle);
}

/// Takes the queue pair whose turn it is off its list. Not while both are empty.
inline QueuePair& TakeTurn(const Nic& nic) {
  FirmwareState& s = nic.state;
  const bool fresh =
      !s.fresh.empty() && (s.active.empty() || s.fresh_turns_in_a_row < kFreshTurnsInARow);
  s.fresh_turns_in_a_row = fresh ? s.fresh_turns_in_a_row + 1 : 0;
  return nic.qp(PopFront(fresh ? s.fresh : s.active, ActiveLink{nic}));
}

/// Takes `q` off the transmit scheduler's lists; its credit is gone.
inline void Deactivate(const Nic& nic, QueuePair& q) {
  if (!q.links.active.linked()) return;
  Remove(TurnsOf(nic, q), ActiveLink{nic}, q.handle);
  q.deficit = 0;
}

/// `queue_pair` may owe an acknowledgement when the batch of received frames is over.
inline void AddToBatch(const Nic& nic, uint32_t queue_pair) {
  if (!BatchLink{nic}(queue_pair).linked()) PushFront(nic.state.batch, BatchLink{nic}, queue_pair);
}

/// ... and owes none any more.
inline void RemoveFromBatch(const Nic& nic, QueuePair& q) {
  if (q.links.batch.linked()) Remove(nic.state.batch, BatchLink{nic}, q.handle);
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
