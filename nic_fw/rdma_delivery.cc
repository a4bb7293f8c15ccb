#include "nic_fw/rdma_delivery.h"

#include <cstring>
#include <span>

#include "nic_fw/completion.h"
#include "nic_fw/ending.h"
#include "nic_fw/rdma_queue.h"
#include "nic_fw/receive_queue.h"
#include "nic_fw/schedule.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_context.h"
#include "protocols/common/byte_order.h"

namespace qpip::fw {
namespace {

using iwarp::Cause;
using iwarp::Opcode;

std::span<iwarp::PendingRequest> Owed(RdmaState& r) { return {r.owed, r.ird}; }

/// The stream is over: its first fault is told to the peer.
void Refuse(const Nic& nic, QueuePair& q, RdmaState& r, const iwarp::Terminate& terminate) {
  if (r.ending != RdmaEnding::kOpen) return;
  nic.Count(abi::NicCounter::kProtectionErrors);
  r.receiver.over = true;
  r.terminate = terminate;
  r.ending = RdmaEnding::kRefused;
  LimitEnding(nic, q);  // a peer that never lets the Terminate go does not keep the queue pair
  UpdateTimer(nic, q);
  Activate(nic, q.handle);
}

}  // namespace

void RefuseSegment(const Nic& nic, QueuePair& q, RdmaState& r, const iwarp::SegmentPlan& plan,
                   Cause cause, uint32_t ulpdu_length) {
  if (cause == Cause::kMessageTooLong) {
    q.ending.recv_status = static_cast<uint8_t>(abi::CompletionStatus::kLocalLengthError);
  }
  Refuse(nic, q, r, iwarp::TerminateFor(plan, cause, ulpdu_length));
}

void RefuseFpdu(const Nic& nic, QueuePair& q, RdmaState& r, Cause cause) {
  Refuse(nic, q, r, iwarp::MakeTerminate(cause, nullptr, 0, nullptr));
}

namespace {

abi::CompletionStatus StatusOf(Cause cause) {
  const iwarp::CauseCode code = iwarp::CodeOf(cause);
  if (cause == Cause::kNoBuffer || cause == Cause::kMessageTooLong) {
    return abi::CompletionStatus::kRemoteInvalidRequest;
  }
  const bool protection = code.type == 1 && code.layer != iwarp::kLayerMpa;
  return protection ? abi::CompletionStatus::kRemoteAccessError
                    : abi::CompletionStatus::kRemoteOperationError;
}

bool IsAcknowledged(const QueuePair& q, RdmaState& r, const SendRecord& record) {
  if ((record.flags & kRecordIsRequest) == 0) {  // one without length was carried out here
    return record.length == 0 || !(record.start + record.length).After(q.tcb.snd.una);
  }
  const RdmaMessage* message = FindMessage(r, record.start);  // none: it has been forgotten since
  return message == nullptr || !(message->start + message->bytes).After(q.tcb.snd.una);
}

/// The oldest request that is not acknowledged; if all are, the oldest that is not done.
uint32_t OldestUnacknowledged(const Nic& nic, const QueuePair& q, RdmaState& r) {
  for (uint32_t index = q.send.completed; index != q.send.announced; ++index) {
    if (!IsAcknowledged(q, r, nic.record(q.send, index))) return index;
  }
  return q.send.completed;
}

/// The peer has found fault: with the oldest that it has not acknowledged, as far as is known.
void OnTerminate(const Nic& nic, QueuePair& q, RdmaState& r, const iwarp::Terminate& terminate) {
  r.terminate = terminate;
  r.terminate_received = true;
  if (q.send.completed != q.send.producer) {
    q.ending.error_index = OldestUnacknowledged(nic, q, r);
    q.ending.send_status = static_cast<uint8_t>(StatusOf(iwarp::GuessCause(terminate.code)));
  }
  AbortConnection(nic, q);
}

/// RFC 7306 5.1: as one step towards the host's processors, too.
bool CarryOut(const Nic& nic, const QueuePair& q, const iwarp::AtomicRequest& request,
              uint64_t* original) {
  DmaSegment piece[kMaxDmaSegments];
  uint32_t count = 0;
  uint32_t covered = 0;
  const iwarp::AccessVerdict verdict = TranslateRemote(
      nic, StreamOfQueue(q), {request.stag, request.offset, kAtomicBytes, abi::kAccessRemoteAtomic},
      piece, &count, &covered);
  if (verdict != iwarp::AccessVerdict::kGranted || count != 1) return false;
  if (piece[0].address % kAtomicBytes != 0) return false;
  uint64_t held = nic.hardware.HostLoad(piece[0].address);
  for (;;) {
    const uint64_t wanted = iwarp::ApplyAtomic(request, held);
    const uint64_t found = nic.hardware.HostSwap(piece[0].address, held, wanted);
    if (found == held) break;
    held = found;
  }
  *original = held;
  return true;
}

void DeliverReceive(const Nic& nic, QueuePair& q, RdmaState& r, const RdmaDelivery& delivery) {
  const iwarp::SegmentPlan& plan = delivery.plan;
  CompletionDetail detail;
  detail.byte_length = delivery.byte_length;
  if (iwarp::IsSolicited(plan.opcode)) detail.flags |= abi::kCqeSolicited;
  if (iwarp::IsImmediate(plan.opcode)) {
    detail.flags |= abi::kCqeImmediate;
    uint8_t bytes[4];
    StoreBe32(bytes, static_cast<uint32_t>(plan.immediate >> 32));
    std::memcpy(&detail.immediate, bytes, sizeof(bytes));
  }
  if (iwarp::Invalidates(plan.opcode)) {
    const iwarp::AccessVerdict verdict =
        Invalidate(nic, StreamOfQueue(q), plan.ddp.ulp_word, /*by_peer=*/true);
    if (verdict != iwarp::AccessVerdict::kGranted) {
      // Its bytes are placed, but the message is not delivered.
      detail.status = abi::CompletionStatus::kFlushed;
      r.faulty = true;
      RefuseSegment(nic, q, r, plan, iwarp::CauseOfAccess(verdict, plan.opcode),
                    delivery.ulpdu_length);
    } else {
      detail.flags |= abi::kCqeInvalidated;
      detail.key = plan.ddp.ulp_word;
    }
  }
  CompleteReceive(nic, q.recv, delivery.wqe_index, detail);
}

}  // namespace

void DeliverRdma(const Nic& nic, QueuePair& q, RdmaState& r, const RdmaDelivery& delivery) {
  switch (delivery.kind) {
    case RdmaDelivery::Kind::kNothing:
      return;
    case RdmaDelivery::Kind::kReceive:
      DeliverReceive(nic, q, r, delivery);
      return;
    case RdmaDelivery::Kind::kRequest: {
      uint64_t original = 0;
      if (delivery.plan.opcode == Opcode::kAtomicRequest &&
          !CarryOut(nic, q, delivery.plan.atomic, &original)) {
        r.faulty = true;
        RefuseSegment(nic, q, r, delivery.plan, Cause::kInvalidStag, delivery.ulpdu_length);
        return;
      }
      iwarp::Owe(r.sender, Owed(r), delivery.plan, original);
      Activate(nic, q.handle);
      return;
    }
    case RdmaDelivery::Kind::kAnswer:
      ++r.requests_answered;
      CompleteSends(nic, q);
      Activate(nic, q.handle);
      return;
    case RdmaDelivery::Kind::kTerminate:
      OnTerminate(nic, q, r, delivery.plan.terminate);
      return;
    case RdmaDelivery::Kind::kWaiting:
      r.waiting.ready += WaitingBytes(delivery.ulpdu_length);
      return;
  }
}

}  // namespace qpip::fw
