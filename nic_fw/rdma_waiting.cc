#include "nic_fw/rdma_waiting.h"

#include "nic_fw/ending.h"
#include "nic_fw/rdma_buffers.h"
#include "nic_fw/rdma_delivery.h"
#include "nic_fw/receive_queue.h"
#include "protocols/common/byte_order.h"

namespace qpip::fw {
namespace {

using iwarp::Cause;

/// The ring lies behind the FPDU that is being gathered. It is longer than what may wait by the
/// longest FPDU, so that none has to lie across its end.
uint64_t RingStart(const QueuePair& q) { return q.pool.ring + abi::kMinRdmaPool; }
uint32_t RingBytes(const QueuePair& q) { return q.pool.bytes + abi::kMinRdmaPool; }

/// Bytes at `read` that are in place, up to the ring's end.
uint32_t ReadyInARow(const WaitingSends& waiting) {
  if (waiting.limit == 0) return waiting.ready;
  const uint32_t to_limit = waiting.limit - waiting.read;
  return to_limit < waiting.ready ? to_limit : waiting.ready;
}

/// `bytes`, the oldest, have gone on.
void Leave(QueuePair& q, WaitingSends& waiting, uint32_t bytes) {
  waiting.head_known = false;
  waiting.ready -= bytes;
  waiting.read += bytes;
  waiting.bytes -= bytes;
  q.pool.used -= bytes;
  if (waiting.read == waiting.limit) waiting.read = waiting.limit = 0;
  if (waiting.bytes == 0) waiting.read = waiting.write = waiting.limit = 0;
}

void ReadHead(const Nic& nic, QueuePair& q, WaitingSends& waiting) {
  uint32_t length = ReadyInARow(waiting);
  if (length > sizeof(waiting.head)) length = sizeof(waiting.head);
  q.pool.drain.reading = true;
  ++q.host_memory.dma_outstanding;
  nic.hardware.DmaRead(RingStart(q) + waiting.read, waiting.head, length,
                       MakeTag(Tag::kDrainRecords, q.handle));
}

/// What the oldest is, as it goes into the receive at hand. The pool is host memory: what comes
/// back is looked at again. False: it is not what was put there.
bool PlanOldest(RdmaState& r, const abi::RecvWqe& wqe, RdmaDelivery* delivery) {
  const WaitingSends& waiting = r.waiting;
  const uint32_t ulpdu_length = LoadBe16(waiting.head);
  if (WaitingBytes(ulpdu_length) > ReadyInARow(waiting)) return false;
  uint32_t have = WaitingBytes(ulpdu_length);
  if (have > sizeof(waiting.head)) have = sizeof(waiting.head);
  iwarp::RdmaReceiver then;  // the receiver as it was when this segment was the next
  then.extensions = r.receiver.extensions;
  then.queues[iwarp::kSendQueue] = waiting.queue;
  const std::span<const uint8_t> head(waiting.head + iwarp::kLengthBytes,
                                      have - iwarp::kLengthBytes);
  *delivery = RdmaDelivery{};
  delivery->ulpdu_length = ulpdu_length;
  delivery->plan = iwarp::PlanSegment(then, head, ulpdu_length, {true, wqe.length});
  const Cause refusal = delivery->plan.refusal;
  if (refusal != Cause::kNone) return refusal == Cause::kMessageTooLong;
  if (delivery->plan.ddp.tagged || delivery->plan.ddp.queue != iwarp::kSendQueue) return false;
  iwarp::CommitSegment(then, delivery->plan);
  r.waiting.queue = then.queues[iwarp::kSendQueue];
  return true;
}

/// The oldest goes into the receive at hand. False: the stream has failed over it.
bool IssueOldest(const Nic& nic, QueuePair& q, RdmaState& r, const abi::RecvWqe& wqe) {
  RdmaDelivery& delivery = r.gathered;
  if (!PlanOldest(r, wqe, &delivery)) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
    return false;
  }
  const Target target = {&wqe, ReceiveList(wqe), delivery.plan.ddp.message_offset};
  Cause refusal = delivery.plan.refusal;
  if (refusal == Cause::kNone) refusal = CheckPlaces(nic, q, delivery.plan, target);
  if (refusal != Cause::kNone) {
    RefuseSegment(nic, q, r, delivery.plan, refusal, delivery.ulpdu_length);
    return false;
  }
  CopyPayload(nic, q, r, RingStart(q) + r.waiting.read, target);
  if (delivery.plan.message_ends) {
    delivery.kind = RdmaDelivery::Kind::kReceive;
    TakeReceive(q, wqe, &delivery);
  }
  // The copy was started before whatever may be put in its place.
  Leave(q, r.waiting, WaitingBytes(delivery.ulpdu_length));
  r.delivering = delivery.operations != 0;
  return true;
}

}  // namespace

bool HasToWait(const Nic& nic, QueuePair& q, const RdmaState& r, std::span<const uint8_t> head) {
  if (!r.waits) return false;
  iwarp::DdpHeader ddp;
  const bool for_receives = iwarp::ParseDdp(head, &ddp) == iwarp::DdpError::kNone && !ddp.tagged &&
                            ddp.queue == iwarp::kSendQueue;
  return for_receives && (r.waiting.bytes != 0 || !HasReceive(nic, q));
}

DmaSegment PlaceToWait(QueuePair& q, RdmaState& r, const RdmaDelivery& delivery) {
  WaitingSends& waiting = r.waiting;
  const uint32_t bytes = WaitingBytes(delivery.ulpdu_length);
  if (waiting.bytes == 0) waiting.queue = r.receiver.queues[iwarp::kSendQueue];
  if (RingBytes(q) - waiting.write < bytes) {
    waiting.limit = waiting.write;
    waiting.write = 0;
  }
  const DmaSegment place = {RingStart(q) + waiting.write, bytes, 0};
  waiting.write += bytes;
  waiting.bytes += bytes;
  q.pool.used += bytes;
  QPIP_ASSERT(q.pool.used <= q.pool.bytes);  // the window has seen to it
  QPIP_ASSERT(waiting.limit == 0 || waiting.write <= waiting.read);
  return place;
}

void KeepWritten(const Nic& nic, const RdmaState& r, const iwarp::SegmentPlan& plan,
                 DmaSegment* place) {
  if (!iwarp::IsImmediate(plan.opcode)) return;
  uint8_t bytes[4];
  StoreBe32(bytes, r.write_bytes);
  place->length -= uint32_t{sizeof(bytes)};
  nic.hardware.DmaWrite(place->address + place->length, bytes, sizeof(bytes), 0, 0);
}

WaitingStep IssueWaiting(const Nic& nic, QueuePair& q, RdmaState& r) {
  WaitingSends& waiting = r.waiting;
  while (waiting.ready != 0 && !q.pool.drain.reading && HasReceive(nic, q)) {
    if (!waiting.head_known) {
      ReadHead(nic, q, waiting);
      break;
    }
    const CurrentReceive current = FindCurrentReceive(nic, q.recv, q.host_memory);
    if (current.malformed) {
      FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
      return WaitingStep::kBusy;
    }
    if (current.wqe == nullptr) break;
    if (!IssueOldest(nic, q, r, *current.wqe) || r.delivering) return WaitingStep::kBusy;
    DeliverRdma(nic, q, r, r.gathered);
    if (q.state != QpState::kConnected || r.ending != RdmaEnding::kOpen) return WaitingStep::kBusy;
  }
  return WaitingStep::kNothing;
}

void OnWaitingHead(RdmaState& r) { r.waiting.head_known = r.waiting.ready != 0; }

void DropWaiting(QueuePair& q, RdmaState& r) {
  q.pool.used -= r.waiting.bytes;
  r.waiting = WaitingSends{};
}

}  // namespace qpip::fw
