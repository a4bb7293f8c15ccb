// The overflow pool: bytes that were advertised, sent and accepted, but for which short messages
// have left no receive. A ring of bytes in host memory and a ring of records, one 32-bit word a
// stored segment (length << 1 | ends a message), so that boundaries survive. A segment has at least
// one byte, so a record ring of as many words as the pool has bytes never overflows.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// True while bytes are in the pool or on their way into it: newer ones must go behind them.
constexpr bool PoolInUse(const QueuePair& q) { return q.pool_used != 0 || q.pool_pending != 0; }

/// Reserves room for `length` bytes; one or two pieces (the ring wraps). 0 when there is no room.
uint32_t ReservePool(QueuePair& q, uint32_t length, DmaSegment pieces[2]);
/// The reserved bytes are in place: writes their record.
void CommitPool(const Nic& nic, QueuePair& q, uint32_t length, bool ends_message);
/// Copies the oldest bytes into posted receives, as far as there are any.
void PumpDrain(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
