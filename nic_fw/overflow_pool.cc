#include "nic_fw/overflow_pool.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kRecordBatch = sizeof(PoolDrain::words) / sizeof(uint32_t);

/// The ring's bytes [offset, offset + length) as one or two pieces.
uint32_t RingPieces(const OverflowPool& pool, uint32_t offset, uint32_t length,
                    DmaSegment pieces[2]) {
  const uint32_t to_end = pool.bytes - offset;
  if (length <= to_end) {
    pieces[0] = {pool.ring + offset, length, 0};
    return 1;
  }
  pieces[0] = {pool.ring + offset, to_end, 0};
  pieces[1] = {pool.ring, length - to_end, 0};
  return 2;
}

uint32_t Advance(const OverflowPool& pool, uint32_t offset, uint32_t by) {
  offset += by;  // both below 2^31: kCreateQp bounds the pool
  return offset >= pool.bytes ? offset - pool.bytes : offset;
}

void CheckPool(const OverflowPool& pool) {
  QPIP_ASSERT(pool.used <= pool.bytes);
  QPIP_ASSERT(pool.read < pool.bytes || pool.bytes == 0);
  QPIP_ASSERT(pool.drain.rest <= pool.used);
}

void FetchRecords(const Nic& nic, OverflowPool& pool, HostMemoryUse& use, uint32_t owner) {
  PoolDrain& drain = pool.drain;
  uint32_t count = pool.record_count < kRecordBatch ? pool.record_count : kRecordBatch;
  const uint32_t to_end = pool.bytes - pool.record_read;
  if (count > to_end) count = to_end;
  drain.cached = count;
  drain.position = 0;
  drain.reading = true;
  ++use.dma_outstanding;
  nic.hardware.DmaRead(pool.records + uint64_t{pool.record_read} * 4, drain.words, count * 4,
                       MakeTag(Tag::kDrainRecords, owner));
}

}  // namespace

uint32_t PoolPlace(const OverflowPool& pool, uint32_t ahead, uint32_t length,
                   DmaSegment pieces[2]) {
  const uint32_t room = pool.bytes - pool.used;
  if (ahead > room || length > room - ahead) return 0;
  return RingPieces(pool, Advance(pool, pool.place, ahead), length, pieces);
}

void SkipPool(OverflowPool& pool, uint32_t length) {
  pool.place = Advance(pool, pool.place, length);
}

void CommitPool(const Nic& nic, OverflowPool& pool, uint32_t length, bool ends_message) {
  CheckPool(pool);
  const uint32_t record = (length << 1) | (ends_message ? 1u : 0u);
  nic.hardware.DmaWrite(pool.records + uint64_t{pool.record_written} * 4, &record, 4, 0, 0);
  pool.record_written = Advance(pool, pool.record_written, 1);
  ++pool.record_count;
  if (pool.used == 0) pool.read = pool.place;
  pool.place = Advance(pool, pool.place, length);
  pool.used += length;
  CheckPool(pool);
}

RecordAnswer LoadRecord(const Nic& nic, OverflowPool& pool, HostMemoryUse& use, uint32_t owner) {
  PoolDrain& drain = pool.drain;
  if (pool.record_count == 0 || drain.reading) return RecordAnswer::kFetching;
  if (drain.rest != 0) return RecordAnswer::kReady;
  if (drain.position == drain.cached) {
    FetchRecords(nic, pool, use, owner);
    return RecordAnswer::kFetching;
  }
  const uint32_t record = drain.words[drain.position];
  const uint32_t length = record >> 1;
  if (length == 0 || length > pool.used) return RecordAnswer::kBad;
  drain.rest = length;
  drain.push = (record & 1) != 0;
  return RecordAnswer::kReady;
}

void CopyFromPool(const Nic& nic, OverflowPool& pool, HostMemoryUse& use, uint32_t owner,
                  uint32_t length, const DmaSegment* to, uint32_t to_count) {
  QPIP_ASSERT(pool.drain.issued == 0 && length != 0 && length <= pool.drain.rest);
  DmaSegment from[2];
  const uint32_t from_count = RingPieces(pool, pool.read, length, from);
  pool.drain.issued = length;
  ++use.dma_outstanding;
  nic.hardware.DmaCopy(from, from_count, to, to_count, MakeTag(Tag::kDrainCopy, owner));
}

bool TakeFromPool(OverflowPool& pool, uint32_t length) {
  CheckPool(pool);
  pool.read = Advance(pool, pool.read, length);
  pool.used -= length;
  pool.drain.rest -= length;
  if (pool.drain.rest != 0) return false;
  pool.record_read = Advance(pool, pool.record_read, 1);
  --pool.record_count;
  ++pool.drain.position;
  CheckPool(pool);
  return true;
}

}  // namespace qpip::fw
