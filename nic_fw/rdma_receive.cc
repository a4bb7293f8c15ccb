#include "nic_fw/rdma_receive.h"

#include <cstddef>
#include <cstring>
#include <span>

#include "nic_fw/ending.h"
#include "nic_fw/events.h"
#include "nic_fw/memory.h"
#include "nic_fw/rdma_buffers.h"
#include "nic_fw/rdma_delivery.h"
#include "nic_fw/rdma_queue.h"
#include "nic_fw/rdma_waiting.h"
#include "nic_fw/receive_queue.h"
#include "nic_fw/receive_window.h"
#include "nic_fw/received_frame.h"
#include "nic_fw/remote_access.h"
#include "nic_fw/schedule.h"
#include "nic_fw/text_queue.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_context.h"
#include "protocols/common/byte_order.h"
#include "protocols/iwarp/crc32c.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

using iwarp::Cause;
using iwarp::Opcode;

std::span<iwarp::PendingRequest> Asked(RdmaState& r) { return {r.asked, r.ord}; }

/// Bytes of a frame could not be read or moved.
void FailBytes(const Nic& nic, QueuePair& q, uint32_t status) {
  if (status != kDmaRevoked) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  // The sender took its memory back when it gave the connection up; its reset is under way or lost.
  nic.Count(abi::NicCounter::kConnectionsReset);
  EndConnection(nic, q, abi::DisconnectReason::kReset, abi::CompletionStatus::kRemoteAborted);
}

/// The receive that the message at hand goes to, where it needs one. False: it is not known yet, or
/// the queue pair has failed over it.
bool FindReceive(const Nic& nic, QueuePair& q, std::span<const uint8_t> head,
                 const abi::RecvWqe** wqe) {
  *wqe = nullptr;
  iwarp::DdpHeader ddp;
  if (iwarp::ParseDdp(head, &ddp) != iwarp::DdpError::kNone || ddp.tagged ||
      ddp.queue != iwarp::kSendQueue || !HasReceive(nic, q)) {
    return true;
  }
  const CurrentReceive current = FindCurrentReceive(nic, q.recv, q.host_memory);
  if (current.malformed) FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
  *wqe = current.wqe;
  return current.wqe != nullptr;
}

/// RFC 5040 5.2.1, RFC 7306 5.1: whether the peer may have what it asks for.
Cause CheckRequest(const Nic& nic, const QueuePair& q, const iwarp::SegmentPlan& plan) {
  iwarp::AccessVerdict verdict = iwarp::AccessVerdict::kGranted;
  if (plan.opcode == Opcode::kReadRequest && plan.read.length != 0) {
    verdict = CheckRemote(
        nic, StreamOfQueue(q),
        {plan.read.source_stag, plan.read.source_offset, plan.read.length, abi::kAccessRemoteRead});
    const bool granted = verdict == iwarp::AccessVerdict::kGranted;
    if (granted && plan.read.length > uint32_t{1} << 30) return Cause::kStreamCatastrophic;
  } else if (plan.opcode == Opcode::kAtomicRequest) {
    verdict =
        CheckRemote(nic, StreamOfQueue(q),
                    {plan.atomic.stag, plan.atomic.offset, kAtomicBytes, abi::kAccessRemoteAtomic});
  }
  return iwarp::CauseOfAccess(verdict, plan.opcode);
}

/// Where what an atomic operation has found goes: the request's own list. 0 pieces: it may not be
/// written any more.
uint32_t PlaceOriginal(const Nic& nic, const QueuePair& q, const ResponseSink& sink,
                       DmaSegment* pieces) {
  uint32_t covered = 0;
  const uint32_t count = Translate(nic, q.protection_domain, abi::kAccessLocalWrite,
                                   {sink.list, sink.count}, 0, kAtomicBytes, pieces, &covered);
  return covered == kAtomicBytes ? count : 0;
}

RdmaDelivery::Kind KindOf(const iwarp::SegmentPlan& plan) {
  using Kind = RdmaDelivery::Kind;
  if (!plan.message_ends || plan.opcode == Opcode::kWrite) return Kind::kNothing;
  switch (plan.opcode) {
    case Opcode::kReadRequest:
    case Opcode::kAtomicRequest:
      return Kind::kRequest;
    case Opcode::kReadResponse:
    case Opcode::kAtomicResponse:
      return Kind::kAnswer;
    case Opcode::kTerminate:
      return Kind::kTerminate;
    default:
      return Kind::kReceive;
  }
}

// ---------------------------------------------------------------- planning a segment

enum class Planned : uint8_t { kYes, kWait, kRefused };

/// Whether a whole FPDU's ULPDU, of which `head` are the first bytes, may be placed, and what
/// becomes of it.
Planned PlanWhole(const Nic& nic, QueuePair& q, RdmaState& r, std::span<const uint8_t> head,
                  uint32_t ulpdu_length, Target* target, RdmaDelivery* delivery) {
  const bool waits = HasToWait(nic, q, r, head);
  if (!waits && !FindReceive(nic, q, head, &target->wqe)) return Planned::kWait;
  iwarp::ReceiveRoom room;
  if (target->wqe != nullptr) room = {true, target->wqe->length};
  if (waits) room = {true, UINT32_MAX};  // it is compared with its receive's when there is one
  iwarp::SegmentPlan& plan = delivery->plan;
  plan = iwarp::PlanSegment(r.receiver, head, ulpdu_length, room);
  if (plan.refusal == Cause::kNone) plan.refusal = CheckRequest(nic, q, plan);
  if (plan.opcode == Opcode::kReadResponse && plan.refusal == Cause::kNone) {
    const ResponseSink& sink = r.sinks[r.sender.asked.first];
    target->list = {sink.list, sink.count};
    target->offset = r.asked[r.sender.asked.first].read.length - r.receiver.awaited.left;
  } else if (plan.opcode == Opcode::kAtomicResponse && plan.refusal == Cause::kNone) {
    DmaSegment pieces[kMaxDmaSegments];
    const ResponseSink& sink = r.sinks[r.sender.asked.first];
    if (PlaceOriginal(nic, q, sink, pieces) == 0) plan.refusal = Cause::kStreamCatastrophic;
  } else if (target->wqe != nullptr) {
    target->list = ReceiveList(*target->wqe);
    target->offset = plan.ddp.message_offset;
  }
  delivery->ulpdu_length = ulpdu_length;
  if (waits) delivery->kind = RdmaDelivery::Kind::kWaiting;
  if (plan.refusal == Cause::kNone && !waits) plan.refusal = CheckPlaces(nic, q, plan, *target);
  if (plan.refusal == Cause::kNone) return Planned::kYes;
  RefuseSegment(nic, q, r, plan, plan.refusal, ulpdu_length);
  return Planned::kRefused;
}

void StoreOriginal(const Nic& nic, const QueuePair& q, const ResponseSink& sink,
                   uint64_t original) {
  DmaSegment pieces[kMaxDmaSegments];
  const uint32_t count = PlaceOriginal(nic, q, sink, pieces);
  QPIP_ASSERT(count != 0);  // PlanWhole has asked
  uint8_t bytes[kAtomicBytes];
  std::memcpy(bytes, &original, sizeof(bytes));
  const uint8_t* from = bytes;
  for (uint32_t i = 0; i < count; ++i) {
    nic.hardware.DmaWrite(pieces[i].address, from, pieces[i].length, 0, 0);
    from += pieces[i].length;
  }
}

/// Keeps how much the Writes in front of immediate data have written: of verbs' completion that is
/// the length.
void NoteWritten(RdmaState& r, iwarp::SegmentPlan* plan) {
  if (plan->opcode == Opcode::kWrite) {
    r.write_bytes = plan->payload_bytes + (r.write_open ? r.write_bytes : 0);
    r.write_open = !plan->message_ends;
    return;
  }
  if (plan->ddp.tagged || plan->ddp.queue != iwarp::kSendQueue || !plan->message_ends) return;
  plan->immediate = (plan->immediate & ~uint64_t{0xffffffff}) | r.write_bytes;
  r.write_bytes = 0;
}

/// The segment is on its way to where it belongs: the next one can be planned.
void Commit(const Nic& nic, QueuePair& q, RdmaState& r, const Target& target,
            RdmaDelivery* delivery) {
  const iwarp::SegmentPlan& plan = delivery->plan;
  NoteWritten(r, &delivery->plan);
  if (delivery->kind != RdmaDelivery::Kind::kWaiting) delivery->kind = KindOf(plan);
  if (delivery->kind == RdmaDelivery::Kind::kAnswer) {
    if (plan.opcode == Opcode::kAtomicResponse) {
      StoreOriginal(nic, q, r.sinks[r.sender.asked.first], plan.atomic_response.original);
      delivery->byte_length = kAtomicBytes;
    }
    iwarp::TakeAnswered(r.sender, Asked(r));
  } else if (delivery->kind == RdmaDelivery::Kind::kReceive) {
    TakeReceive(q, *target.wqe, delivery);
  }
  iwarp::CommitSegment(r.receiver, plan);
  iwarp::KeepAwaited(r.sender, Asked(r), r.receiver);
  if (r.await_first) {
    r.await_first = false;
    Activate(nic, q.handle);
  }
}

// ---------------------------------------------------------------- out of one frame

/// One operation of a context.
void StartPart(const Nic& nic, QueuePair& q, uint32_t index, uint32_t offset,
               const DmaSegment* pieces, uint32_t count) {
  PlaceFrame(nic, nic.receive(index).frame, offset, pieces, count, MakeTag(Tag::kPlace, index));
  ++q.host_memory.dma_outstanding;
  ++DeliveryOf(nic, index).operations;
}

/// The payload of the FPDU at hand, planned in the context's delivery.
void PlacePayload(const Nic& nic, QueuePair& q, uint32_t index, const Target& target) {
  const iwarp::SegmentPlan& plan = DeliveryOf(nic, index).plan;
  const uint32_t start = nic.receive(index).offset + iwarp::kLengthBytes + plan.header_bytes;
  for (uint32_t done = 0; done < plan.payload_bytes;) {
    Places places;
    Place(nic, q, plan, target, done, &places);
    QPIP_ASSERT(places.count != 0);  // PlanWhole has asked
    StartPart(nic, q, index, start + done, places.pieces, places.count);
    done += places.covered;
  }
}

/// `bytes` of the stream that a context holds are on their way.
void Advance(const Nic& nic, uint32_t index, uint32_t bytes) {
  ReceiveContext& context = nic.receive(index);
  DeliveryOf(nic, index).stream_bytes = bytes;
  context.issued = true;
  context.in_flight = bytes;
  context.offset += bytes;
  context.sequence += bytes;
  context.remaining -= bytes;
}

enum class Step : uint8_t { kYes, kWait };

/// The next FPDU of a context, all of which it has.
Step IssueWhole(const Nic& nic, QueuePair& q, RdmaState& r, uint32_t index, uint32_t total,
                uint32_t ulpdu_length) {
  ReceiveContext& context = nic.receive(index);
  uint8_t bytes[FpduGather::kHeadBytes];
  uint8_t field[iwarp::kCrcBytes];
  const uint32_t wanted = iwarp::kLengthBytes + ulpdu_length;
  const uint32_t have = wanted < sizeof(bytes) ? wanted : uint32_t{sizeof(bytes)};
  uint32_t status = ReadFrame(nic, context.frame, context.offset, have, bytes);
  if (status == kDmaOk && r.crc) {
    const uint32_t at = context.offset + total - static_cast<uint32_t>(iwarp::kCrcBytes);
    status = ReadFrame(nic, context.frame, at, iwarp::kCrcBytes, field);
  }
  if (status != kDmaOk) {
    FailBytes(nic, q, status);
    return Step::kWait;
  }
  const std::span<const uint8_t> head(bytes + iwarp::kLengthBytes, have - iwarp::kLengthBytes);
  Target target;
  if (r.crc) {
    // A receive that has to be fetched is waited for first, or the bytes would be summed once more
    // when it is there. Nothing else rests on a header whose sum is not known yet.
    if (!HasToWait(nic, q, r, head) && !FindReceive(nic, q, head, &target.wqe)) {
      return Step::kWait;
    }
    const uint32_t summed = total - static_cast<uint32_t>(iwarp::kCrcBytes);
    nic.Charge(Stage::kChecksum, Variant::kData, summed);
    if (nic.hardware.FrameCrc(context.frame, context.offset, summed, 0) != iwarp::LoadCrc(field)) {
      RefuseFpdu(nic, q, r, Cause::kBadCrc);
      return Step::kWait;
    }
  }
  RdmaDelivery& delivery = DeliveryOf(nic, index);
  delivery = RdmaDelivery{};
  const Planned planned = PlanWhole(nic, q, r, head, ulpdu_length, &target, &delivery);
  if (planned != Planned::kYes) return Step::kWait;
  if (delivery.kind == RdmaDelivery::Kind::kWaiting) {
    DmaSegment place = PlaceToWait(q, r, delivery);
    KeepWritten(nic, r, delivery.plan, &place);
    StartPart(nic, q, index, context.offset, &place, 1);
  } else {
    PlacePayload(nic, q, index, target);
  }
  if (delivery.operations == 0) StartPart(nic, q, index, context.offset, nullptr, 0);
  Commit(nic, q, r, target, &delivery);
  context.fills_wqe = delivery.kind == RdmaDelivery::Kind::kReceive;
  context.wqe_index = delivery.wqe_index;
  Advance(nic, index, total);
  return Step::kYes;
}

// ---------------------------------------------------------------- out of several frames

/// What is known of an FPDU's length when its first two bytes are here. False: it is refused.
bool LearnLength(const Nic& nic, QueuePair& q, RdmaState& r) {
  FpduGather& gather = r.gather;
  const uint32_t ulpdu_length = LoadBe16(gather.head);
  if (ulpdu_length > iwarp::kMaxMulpdu) {
    RefuseFpdu(nic, q, r, Cause::kMpaCatastrophic);
    return false;
  }
  gather.total = iwarp::ContentBytes(ulpdu_length);
  return true;
}

/// Of bytes [have, have + length) of an FPDU, which lie at `offset` of a frame: the part in [from,
/// to) is read into `out`, which is for the byte at `from`.
uint32_t ReadOverlap(const Nic& nic, const ReceiveContext& context, uint32_t have, uint32_t length,
                     uint32_t from, uint32_t to, uint8_t* out) {
  const uint32_t begin = have > from ? have : from;
  const uint32_t end = have + length < to ? have + length : to;
  if (begin >= end) return kDmaOk;
  return ReadFrame(nic, context.frame, context.offset + (begin - have), end - begin,
                   out + (begin - from));
}

bool IsGathered(const FpduGather& gather) {
  return gather.total != 0 && gather.have == gather.total;
}

/// The next bytes of an FPDU of which the context has not all.
Step IssuePart(const Nic& nic, QueuePair& q, RdmaState& r, uint32_t index) {
  FpduGather& gather = r.gather;
  ReceiveContext& context = nic.receive(index);
  const uint32_t known = gather.total != 0 ? gather.total : uint32_t{iwarp::kLengthBytes};
  const uint32_t rest = known - gather.have;
  const uint32_t length = context.remaining < rest ? context.remaining : rest;
  uint32_t status =
      ReadOverlap(nic, context, gather.have, length, 0, FpduGather::kHeadBytes, gather.head);
  const uint32_t summed = known - (gather.total != 0 ? uint32_t{iwarp::kCrcBytes} : 0);
  if (status == kDmaOk && gather.total != 0) {
    status = ReadOverlap(nic, context, gather.have, length, summed, known, gather.field);
  }
  if (status != kDmaOk) {
    FailBytes(nic, q, status);
    return Step::kWait;
  }
  const uint32_t end = gather.have + length < summed ? gather.have + length : summed;
  if (r.crc && end > gather.have) {
    gather.crc =
        nic.hardware.FrameCrc(context.frame, context.offset, end - gather.have, gather.crc);
    nic.Charge(Stage::kChecksum, Variant::kData, end - gather.have);
  }
  const DmaSegment place = {q.pool.ring + gather.have, length, 0};
  gather.have += length;
  if (r.waits) q.pool.used += length;  // it may have to stay
  if (gather.total == 0 && gather.have == iwarp::kLengthBytes && !LearnLength(nic, q, r)) {
    return Step::kWait;
  }
  DeliveryOf(nic, index) = RdmaDelivery{};
  StartPart(nic, q, index, context.offset, &place, 1);
  ++gather.operations;
  context.to_pool = false;
  context.held = false;
  Advance(nic, index, length);
  DeliveryOf(nic, index).gathers = true;
  if (IsGathered(gather)) {  // a fault, which is not acknowledged, can be found from now on
    gather.held = length;
    gather.held_ends_frame = context.remaining == 0;
    DeliveryOf(nic, index).stream_bytes = 0;
  }
  return Step::kYes;
}

/// A gathered FPDU is whole and in the pool: on from there. kWait: not now, or it is on its way.
Step IssueGathered(const Nic& nic, QueuePair& q, RdmaState& r) {
  FpduGather& gather = r.gather;
  if (r.crc && gather.crc != iwarp::LoadCrc(gather.field)) {
    RefuseFpdu(nic, q, r, Cause::kBadCrc);
    return Step::kWait;
  }
  const uint32_t ulpdu_length = LoadBe16(gather.head);
  uint32_t have = iwarp::kLengthBytes + ulpdu_length;
  if (have > sizeof(gather.head)) have = sizeof(gather.head);
  const std::span<const uint8_t> head(gather.head + iwarp::kLengthBytes,
                                      have - iwarp::kLengthBytes);
  RdmaDelivery& delivery = r.gathered;
  delivery = RdmaDelivery{};
  Target target;
  if (PlanWhole(nic, q, r, head, ulpdu_length, &target, &delivery) != Planned::kYes) {
    return Step::kWait;
  }
  if (r.waits) q.pool.used -= gather.have;
  if (delivery.kind == RdmaDelivery::Kind::kWaiting) {
    DmaSegment to = PlaceToWait(q, r, delivery);
    KeepWritten(nic, r, delivery.plan, &to);
    const DmaSegment from = {q.pool.ring, to.length, 0};
    StartCopy(nic, q, r, from, &to, 1);
  } else {
    CopyPayload(nic, q, r, q.pool.ring, target);
  }
  Commit(nic, q, r, target, &delivery);
  delivery.stream_bytes = gather.held;
  delivery.ends_frame = gather.held_ends_frame;
  gather = FpduGather{};
  r.delivering = delivery.operations != 0;
  return Step::kYes;
}

/// What is in place takes effect, and its bytes count. Those of a fault that shows only now do not:
/// it is not acknowledged.
void TakeEffect(const Nic& nic, QueuePair& q, RdmaState& r, const RdmaDelivery& delivery) {
  const auto count = [&] {
    if (delivery.stream_bytes == 0) return;  // a message that waited: it has been counted
    tcp::OnPlaced(q.tcb, delivery.stream_bytes, nic.now, delivery.ends_frame);
  };
  // A Terminate ends the connection at once, and what is sent then says that it has come.
  const bool terminates = delivery.kind == RdmaDelivery::Kind::kTerminate;
  if (terminates) count();
  DeliverRdma(nic, q, r, delivery);
  if (!terminates && !r.faulty && q.state == QpState::kConnected) count();
}

/// Whether what is behind it has to wait until it has taken effect: it may name the key.
bool EndsAccess(const RdmaDelivery& delivery) {
  return delivery.kind == RdmaDelivery::Kind::kReceive && iwarp::Invalidates(delivery.plan.opcode);
}

Step IssueNext(const Nic& nic, QueuePair& q, RdmaState& r, uint32_t index) {
  const ReceiveContext& context = nic.receive(index);
  if (r.gather.have == 0 && context.remaining >= iwarp::kLengthBytes) {
    uint8_t field[iwarp::kLengthBytes];
    const uint32_t status =
        ReadFrame(nic, context.frame, context.offset, iwarp::kLengthBytes, field);
    if (status != kDmaOk) {
      FailBytes(nic, q, status);
      return Step::kWait;
    }
    const uint32_t ulpdu_length = LoadBe16(field);
    if (ulpdu_length > iwarp::kMaxMulpdu) {
      RefuseFpdu(nic, q, r, Cause::kMpaCatastrophic);
      return Step::kWait;
    }
    const uint32_t total = iwarp::ContentBytes(ulpdu_length);
    if (total <= context.remaining) return IssueWhole(nic, q, r, index, total, ulpdu_length);
  }
  return IssuePart(nic, q, r, index);
}

}  // namespace

void IssueRdma(const Nic& nic, QueuePair& q) {
  if (q.state != QpState::kConnected) return;
  RdmaState& r = RdmaOf(nic, q);
  uint32_t index = q.placement.contexts.head;
  for (;;) {
    if (q.state != QpState::kConnected || r.ending != RdmaEnding::kOpen || r.delivering) return;
    if (r.waiting.ready != 0 && IssueWaiting(nic, q, r) == WaitingStep::kBusy) return;
    if (IsGathered(r.gather)) {
      if (r.gather.operations != 0) return;  // its last bytes are under way
      if (IssueGathered(nic, q, r) != Step::kYes || r.delivering) return;
      TakeEffect(nic, q, r, r.gathered);
      if (q.state != QpState::kConnected) return;
      UpdateReceiveWindow(nic, q);
      if (tcp::AckDue(q.tcb, nic.now)) {
        Activate(nic, q.handle);
      } else {
        UpdateTimer(nic, q);
      }
      continue;
    }
    if (index == kNone) return;
    ReceiveContext& context = nic.receive(index);
    const uint32_t next = context.link.next;
    if (!context.issued && IssueNext(nic, q, r, index) != Step::kYes) return;
    // A context that has bytes left goes on at its completion; those behind it wait.
    if (context.remaining != 0 || EndsAccess(DeliveryOf(nic, index))) return;
    index = next;
  }
}

bool OnRdmaPart(const Nic& nic, uint32_t index, uint32_t status) {
  RdmaDelivery& delivery = DeliveryOf(nic, index);
  QPIP_ASSERT(delivery.operations != 0);
  if (status != kDmaOk) delivery.status = status;
  return --delivery.operations == 0;
}

void OnRdmaPlaced(const Nic& nic, QueuePair& q, uint32_t index) {
  RdmaState& r = RdmaOf(nic, q);
  ReceiveContext& context = nic.receive(index);
  RdmaDelivery delivery = DeliveryOf(nic, index);
  if (delivery.gathers) --r.gather.operations;
  if (delivery.status != kDmaOk) {
    FailBytes(nic, q, delivery.status);
    return;
  }
  if (r.faulty) {  // it was issued before that was known
    TakeBackReceive(q.recv, context);
    context.fills_wqe = false;
    return;
  }
  context.fills_wqe = false;  // it is filled: nobody takes the receive back
  delivery.ends_frame = context.remaining == 0;
  TakeEffect(nic, q, r, delivery);
}

void OnRdmaCopied(const Nic& nic, QueuePair& q, uint32_t status) {
  RdmaState& r = RdmaOf(nic, q);
  RdmaDelivery& delivery = r.gathered;
  QPIP_ASSERT(delivery.operations != 0);
  if (status != kDmaOk) delivery.status = status;
  if (--delivery.operations != 0) return;
  // What has waited is in front of any fault: the peer knows it to be done.
  const bool behind_fault = r.faulty && delivery.stream_bytes != 0;
  if (q.state == QpState::kConnected && delivery.status != kDmaOk) {
    FailBytes(nic, q, delivery.status);  // its receive is taken back (DropDelivery)
  } else if (q.state == QpState::kConnected && behind_fault) {
    DropDelivery(nic, q);
  }
  r.delivering = false;
  if (q.state == QpState::kConnected && !behind_fault) TakeEffect(nic, q, r, delivery);
}

void OnRdmaEndOfStream(const Nic& nic, QueuePair& q) {
  RdmaState& r = RdmaOf(nic, q);
  if (r.delivering || IsGathered(r.gather) || r.ending != RdmaEnding::kOpen) return;
  if (r.waiting.bytes != 0) {
    if (!q.ending.peer_closed_reported) {
      q.ending.peer_closed_reported = true;
      Report(nic, q, abi::EventKind::kPeerClosed, 0);
    }
    if (!q.send.shutdown_wanted) return;  // receives may still be posted
    DropWaiting(q, r);
  }
  if (r.peer_lost) {
    EndLost(nic, q);
    return;
  }
  if (r.gather.have != 0) {  // in the middle of an FPDU (RFC 5044 section 8, code 1)
    ResetConnection(nic, q, abi::DisconnectReason::kReset, abi::CompletionStatus::kRemoteAborted);
    return;
  }
  if (!q.ending.peer_closed_reported) {
    q.ending.peer_closed_reported = true;
    Report(nic, q, abi::EventKind::kPeerClosed, 0);
  }
  q.placement.end_of_stream = kEosDelivered;
  FlushReceives(nic, q.recv, q.placement, q.ending);  // nothing can fill what is left
  // Half a stream is of no use to verbs: what has been announced goes, and then FIN. What waits for
  // the peer (its first FPDU, an answer) would wait for ever, and is flushed.
  q.send.shutdown_wanted = true;
  Activate(nic, q.handle);
  FinishOrderlyClose(nic, q);
}

}  // namespace qpip::fw
