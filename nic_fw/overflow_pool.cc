#include "nic_fw/overflow_pool.h"

#include "nic_fw/completion.h"
#include "nic_fw/connection.h"
#include "nic_fw/memory.h"
#include "nic_fw/placement.h"
#include "nic_fw/receive_queue.h"
#include "nic_fw/transmit_fsm.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kRecordBatch = sizeof(PoolDrain::words) / sizeof(uint32_t);

/// The ring's bytes [offset, offset + length) as one or two pieces.
uint32_t RingPieces(const QueuePair& q, uint32_t offset, uint32_t length, DmaSegment pieces[2]) {
  const uint32_t to_end = q.pool.bytes - offset;
  if (length <= to_end) {
    pieces[0] = {q.pool.ring + offset, length, 0};
    return 1;
  }
  pieces[0] = {q.pool.ring + offset, to_end, 0};
  pieces[1] = {q.pool.ring, length - to_end, 0};
  return 2;
}

uint32_t Advance(const QueuePair& q, uint32_t offset, uint32_t by) {
  offset += by;  // both below 2^31: kCreateQp bounds the pool
  return offset >= q.pool.bytes ? offset - q.pool.bytes : offset;
}

void FetchRecords(const Nic& nic, QueuePair& q) {
  uint32_t count = q.pool.record_count < kRecordBatch ? q.pool.record_count : kRecordBatch;
  const uint32_t to_end = q.pool.bytes - q.pool.record_read;
  if (count > to_end) count = to_end;
  q.pool.drain.cached = count;
  q.pool.drain.position = 0;
  q.pool.drain.reading = true;
  ++q.host_memory.dma_outstanding;
  nic.hardware.DmaRead(q.pool.records + uint64_t{q.pool.record_read} * 4, q.pool.drain.words,
                       count * 4, MakeTag(Tag::kDrainRecords, q.handle));
}

/// Makes the oldest record current. Returns false when it must be fetched first.
bool LoadRecord(const Nic& nic, QueuePair& q) {
  if (q.pool.drain.rest != 0) return true;
  if (q.pool.drain.position == q.pool.drain.cached) {
    FetchRecords(nic, q);
    return false;
  }
  const uint32_t record = q.pool.drain.words[q.pool.drain.position];
  q.pool.drain.rest = record >> 1;
  q.pool.drain.push = (record & 1) != 0;
  // The ring is in host memory: what comes back need not be what was written.
  if (q.pool.drain.rest == 0 || q.pool.drain.rest > q.pool.used) {
    q.pool.drain.rest = 0;
    FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
    return false;
  }
  return true;
}

}  // namespace

uint32_t PoolPlace(const QueuePair& q, tcp::SequenceNumber sequence, uint32_t length,
                   DmaSegment pieces[2]) {
  const uint32_t room = q.pool.bytes - q.pool.used;
  const uint32_t ahead = tcp::AckableSequence(q.tcb).DistanceTo(sequence);
  if (ahead > room || length > room - ahead) return 0;
  return RingPieces(q, Advance(q, q.pool.place, ahead), length, pieces);
}

void SkipPool(QueuePair& q, uint32_t length) { q.pool.place = Advance(q, q.pool.place, length); }

void CommitPool(const Nic& nic, QueuePair& q, uint32_t length, bool ends_message) {
  const uint32_t record = (length << 1) | (ends_message ? 1u : 0u);
  nic.hardware.DmaWrite(q.pool.records + uint64_t{q.pool.record_written} * 4, &record, 4, 0, 0);
  q.pool.record_written = Advance(q, q.pool.record_written, 1);
  ++q.pool.record_count;
  if (q.pool.used == 0) q.pool.read = q.pool.place;
  q.pool.place = Advance(q, q.pool.place, length);
  q.pool.used += length;
}

void PumpDrain(const Nic& nic, QueuePair& q) {
  if (q.pool.record_count == 0 || q.pool.drain.reading || q.pool.drain.issued != 0) return;
  if (q.recv.next == q.recv.producer || !LoadRecord(nic, q)) return;
  const abi::RecvWqe* wqe = CurrentReceive(nic, q);
  if (wqe == nullptr) return;
  const uint32_t space = wqe->length - q.recv.filled;
  if (q.framing == abi::Framing::kSegment && q.pool.drain.rest > space) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalLengthError);
    return;
  }
  uint32_t length = q.pool.drain.rest < space ? q.pool.drain.rest : space;
  DmaSegment to[kMaxDmaSegments];
  const uint32_t to_count = Translate(nic, q.protection_domain, abi::kAccessLocalWrite,
                                      ReceiveList(*wqe), q.recv.filled, length, to, &length);
  if (to_count == 0) {
    nic.Count(abi::NicCounter::kProtectionErrors);
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  DmaSegment from[2];
  const uint32_t from_count = RingPieces(q, q.pool.read, length, from);
  q.pool.drain.issued = length;
  ++q.host_memory.dma_outstanding;
  nic.hardware.DmaCopy(from, from_count, to, to_count, MakeTag(Tag::kDrainCopy, q.handle));
}

void OnDrainRecordsFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.host_memory.dma_outstanding;
  q.pool.drain.reading = false;
  if (q.state != QpState::kConnected) return;
  if (status != kDmaOk) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  PumpReceive(nic, q);
}

void OnDrainCopied(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.host_memory.dma_outstanding;
  const uint32_t length = q.pool.drain.issued;
  q.pool.drain.issued = 0;
  if (q.state != QpState::kConnected) return;
  const abi::RecvWqe* wqe = CurrentReceive(nic, q);
  if (status != kDmaOk || wqe == nullptr) {
    if (q.state == QpState::kConnected) {
      FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    }
    return;
  }
  q.pool.read = Advance(q, q.pool.read, length);
  q.pool.used -= length;
  q.pool.drain.rest -= length;
  q.recv.filled += length;
  const bool record_done = q.pool.drain.rest == 0;
  if (record_done) {
    q.pool.record_read = Advance(q, q.pool.record_read, 1);
    --q.pool.record_count;
    ++q.pool.drain.position;
  }
  const bool message_ends = q.framing == abi::Framing::kSegment && record_done && q.pool.drain.push;
  const bool stream_ends =
      q.framing == abi::Framing::kStream && (q.recv.filled == wqe->length || !PoolInUse(q));
  if (message_ends || stream_ends) {
    CompletionDetail detail;
    detail.byte_length = q.recv.filled;
    const uint32_t index = q.recv.next;
    ConsumeReceive(q, wqe->length);
    Complete(nic, q, abi::CompletionOpcode::kRecv, index, detail);
  }
  UpdateReceiveWindow(nic, q);
  PumpReceive(nic, q);
  DeliverEndOfStream(nic, q);
  if (q.state == QpState::kConnected && tcp::AckDue(q.tcb, nic.now)) Activate(nic, q);
}

}  // namespace qpip::fw
