// The overflow pool: bytes that were advertised, sent and accepted, but for which short messages
// have left no receive. A ring of bytes in host memory and a ring of records, one 32-bit word a
// stored segment (length << 1 | ends a message), so that boundaries survive. A segment has at least
// one byte, so a record ring of as many words as the pool has bytes never overflows.
//
// Every byte that the window admits has its place in the ring, counted from the next byte to be
// placed, whether it goes there or straight to a receive:
//
//     pool_read              pool_place         + window
//        |  stored, in order     |  place of text   |
//     ---|-----------------------|--- to come ------|---> offset
//
// So text that arrives ahead of its turn (tcp::Arrival::held) is put where it will be found.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// True while bytes are in the pool or on their way into it: newer ones must go behind them.
constexpr bool PoolInUse(const QueuePair& q) { return q.pool.used != 0 || q.pool.pending != 0; }

/// The place of text from `sequence` on: one or two pieces (the ring wraps). 0 when it is not text
/// that was ever advertised.
uint32_t PoolPlace(const QueuePair& q, tcp::SequenceNumber sequence, uint32_t length,
                   DmaSegment pieces[2]);
/// `length` bytes, the next of the stream, are placed elsewhere.
void SkipPool(QueuePair& q, uint32_t length);
/// `length` bytes, the next of the stream, are in their place here: writes their record.
void CommitPool(const Nic& nic, QueuePair& q, uint32_t length, bool ends_message);
/// Copies the oldest bytes into posted receives, as far as there are any.
void PumpDrain(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
