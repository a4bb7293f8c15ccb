// The overflow pool: bytes that were advertised, sent and accepted, but for which short messages
// have left no receive. A ring of bytes in host memory and a ring of records, one 32-bit word a
// stored piece (length << 1 | ends a message), so that boundaries survive. A piece has at least
// one byte, so a record ring of as many words as the pool has bytes never overflows.
//
// Every byte that the window admits has its place in the ring, counted from the next byte to be
// placed, whether it goes there or straight to a receive:
//
//     read                   place              + window
//        |  stored, in order     |  place of text   |
//     ---|-----------------------|--- to come ------|---> offset
//
// So text that arrives ahead of its turn (tcp::Arrival::held) is put where it will be found.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// True while bytes are in the pool or on their way into it: newer ones must go behind them.
constexpr bool PoolInUse(const OverflowPool& pool) { return pool.used != 0 || pool.pending != 0; }

/// The place of text `ahead` bytes behind the next byte to be placed: one or two pieces (the ring
/// wraps). 0 when it is not text that was ever advertised.
uint32_t PoolPlace(const OverflowPool& pool, uint32_t ahead, uint32_t length, DmaSegment pieces[2]);
/// `length` bytes, the next of the stream, are placed elsewhere.
void SkipPool(OverflowPool& pool, uint32_t length);
/// `length` bytes, the next of the stream, are in their place here: writes their record.
void CommitPool(const Nic& nic, OverflowPool& pool, uint32_t length, bool ends_message);

/// What became of an attempt to make the oldest record the current one (pool.drain).
enum class RecordAnswer : uint8_t {
  kReady,
  kFetching,  ///< or there is none
  kBad,       ///< the ring is in host memory: what came back is not what was written
};
/// Its fetch bears Tag::kDrainRecords and `owner`.
RecordAnswer LoadRecord(const Nic& nic, OverflowPool& pool, HostMemoryUse& use, uint32_t owner);
/// Copies the first `length` bytes of the current record to `to`, under Tag::kDrainCopy.
void CopyFromPool(const Nic& nic, OverflowPool& pool, HostMemoryUse& use, uint32_t owner,
                  uint32_t length, const DmaSegment* to, uint32_t to_count);
/// That copy is complete: its bytes leave the pool. Returns true when they were the record's last.
bool TakeFromPool(OverflowPool& pool, uint32_t length);

}  // namespace qpip::fw
