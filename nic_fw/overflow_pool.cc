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

constexpr uint32_t kRecordBatch = sizeof(QueuePair::drain_records) / sizeof(uint32_t);

/// The ring's bytes [offset, offset + length) as one or two pieces.
uint32_t RingPieces(const QueuePair& q, uint32_t offset, uint32_t length, DmaSegment pieces[2]) {
  const uint32_t to_end = q.overflow_bytes - offset;
  if (length <= to_end) {
    pieces[0] = {q.overflow_pool + offset, length, 0};
    return 1;
  }
  pieces[0] = {q.overflow_pool + offset, to_end, 0};
  pieces[1] = {q.overflow_pool, length - to_end, 0};
  return 2;
}

uint32_t Advance(const QueuePair& q, uint32_t offset, uint32_t by) {
  offset += by;  // both below 2^31: kCreateQp bounds the pool
  return offset >= q.overflow_bytes ? offset - q.overflow_bytes : offset;
}

void FetchRecords(const Nic& nic, QueuePair& q) {
  uint32_t count = q.record_count < kRecordBatch ? q.record_count : kRecordBatch;
  const uint32_t to_end = q.overflow_bytes - q.record_read;
  if (count > to_end) count = to_end;
  q.drain_cached = count;
  q.drain_position = 0;
  q.drain_reading = true;
  ++q.dma_outstanding;
  nic.port.dma_read(nic.port.context, q.overflow_records + uint64_t{q.record_read} * 4,
                    q.drain_records, count * 4, MakeTag(Tag::kDrainRecords, q.handle));
}

/// Makes the oldest record current. Returns false when it must be fetched first.
bool LoadRecord(const Nic& nic, QueuePair& q) {
  if (q.drain_rest != 0) return true;
  if (q.drain_position == q.drain_cached) {
    FetchRecords(nic, q);
    return false;
  }
  const uint32_t record = q.drain_records[q.drain_position];
  q.drain_rest = record >> 1;
  q.drain_push = (record & 1) != 0;
  // The ring is in host memory: what comes back need not be what was written.
  if (q.drain_rest == 0 || q.drain_rest > q.pool_used) {
    q.drain_rest = 0;
    FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
    return false;
  }
  return true;
}

}  // namespace

uint32_t PoolPlace(const QueuePair& q, tcp::SequenceNumber sequence, uint32_t length,
                   DmaSegment pieces[2]) {
  const uint32_t room = q.overflow_bytes - q.pool_used;
  const uint32_t ahead = tcp::AckableSequence(q.tcb).DistanceTo(sequence);
  if (ahead > room || length > room - ahead) return 0;
  return RingPieces(q, Advance(q, q.pool_place, ahead), length, pieces);
}

void SkipPool(QueuePair& q, uint32_t length) { q.pool_place = Advance(q, q.pool_place, length); }

void CommitPool(const Nic& nic, QueuePair& q, uint32_t length, bool ends_message) {
  const uint32_t record = (length << 1) | (ends_message ? 1u : 0u);
  nic.port.dma_write(nic.port.context, q.overflow_records + uint64_t{q.record_written} * 4, &record,
                     4, 0, 0);
  q.record_written = Advance(q, q.record_written, 1);
  ++q.record_count;
  if (q.pool_used == 0) q.pool_read = q.pool_place;
  q.pool_place = Advance(q, q.pool_place, length);
  q.pool_used += length;
}

void PumpDrain(const Nic& nic, QueuePair& q) {
  if (q.record_count == 0 || q.drain_reading || q.drain_issued != 0) return;
  if (q.recv_next == q.recv_producer || !LoadRecord(nic, q)) return;
  const abi::RecvWqe* wqe = CurrentReceive(nic, q);
  if (wqe == nullptr) return;
  const uint32_t space = wqe->length - q.recv_filled;
  if (q.framing == abi::Framing::kSegment && q.drain_rest > space) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalLengthError);
    return;
  }
  uint32_t length = q.drain_rest < space ? q.drain_rest : space;
  DmaSegment to[kMaxDmaSegments];
  const uint32_t to_count = Translate(nic, q.protection_domain, abi::kAccessLocalWrite,
                                      ReceiveList(*wqe), q.recv_filled, length, to, &length);
  if (to_count == 0) {
    nic.Count(abi::NicCounter::kProtectionErrors);
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  DmaSegment from[2];
  const uint32_t from_count = RingPieces(q, q.pool_read, length, from);
  q.drain_issued = length;
  ++q.dma_outstanding;
  nic.port.dma_copy(nic.port.context, from, from_count, to, to_count,
                    MakeTag(Tag::kDrainCopy, q.handle));
}

void OnDrainRecordsFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.dma_outstanding;
  q.drain_reading = false;
  if (q.state != QpState::kConnected) return;
  if (status != kDmaOk) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  PumpReceive(nic, q);
}

void OnDrainCopied(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.dma_outstanding;
  const uint32_t length = q.drain_issued;
  q.drain_issued = 0;
  if (q.state != QpState::kConnected) return;
  const abi::RecvWqe* wqe = CurrentReceive(nic, q);
  if (status != kDmaOk || wqe == nullptr) {
    if (q.state == QpState::kConnected) {
      FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    }
    return;
  }
  q.pool_read = Advance(q, q.pool_read, length);
  q.pool_used -= length;
  q.drain_rest -= length;
  q.recv_filled += length;
  const bool record_done = q.drain_rest == 0;
  if (record_done) {
    q.record_read = Advance(q, q.record_read, 1);
    --q.record_count;
    ++q.drain_position;
  }
  const bool message_ends = q.framing == abi::Framing::kSegment && record_done && q.drain_push;
  const bool stream_ends =
      q.framing == abi::Framing::kStream && (q.recv_filled == wqe->length || !PoolInUse(q));
  if (message_ends || stream_ends) {
    CompletionDetail detail;
    detail.byte_length = q.recv_filled;
    const uint32_t index = q.recv_next;
    ConsumeReceive(q, wqe->length);
    Complete(nic, q, abi::CompletionOpcode::kRecv, index, detail);
  }
  UpdateReceiveWindow(nic, q);
  PumpReceive(nic, q);
  DeliverEndOfStream(nic, q);
  if (q.state == QpState::kConnected && tcp::AckDue(q.tcb, nic.now)) Activate(nic, q);
}

}  // namespace qpip::fw
