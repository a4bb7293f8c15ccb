#include "protocols/iwarp/rdma_receiver.h"

#include "protocols/common/assert.h"

namespace qpip::iwarp {
namespace {

/// Bytes behind DDP's header that the core itself looks at.
size_t ControlBytes(Opcode opcode) {
  switch (opcode) {
    case Opcode::kReadRequest:
      return kReadRequestBytes;
    case Opcode::kTerminate:
      return kMaxTerminateBytes;
    case Opcode::kImmediate:
    case Opcode::kImmediateSolicited:
      return kImmediateBytes;
    case Opcode::kAtomicRequest:
      return kAtomicRequestBytes;
    case Opcode::kAtomicResponse:
      return kAtomicResponseBytes;
    default:
      return 0;
  }
}

/// Most bytes that a message of `queue` may have.
uint64_t BufferBytes(const RdmaReceiver& receiver, uint32_t queue, const ReceiveRoom& room) {
  switch (queue) {
    case kRequestQueue:
      return receiver.extensions ? kAtomicRequestBytes : kReadRequestBytes;
    case kTerminateQueue:
      return kMaxTerminateBytes;
    case kAtomicResponseQueue:
      return kAtomicResponseBytes;
    default:
      return room.bytes;
  }
}

/// Whether there is a buffer for the message at hand of `queue`.
bool HasBuffer(const RdmaReceiver& receiver, uint32_t queue, const ReceiveRoom& room) {
  switch (queue) {
    case kRequestQueue:
      return receiver.requests < receiver.most_requests;
    case kTerminateQueue:
      return receiver.queues[queue].message_sequence == 1;
    case kAtomicResponseQueue:
      return receiver.awaited.kind == AwaitedResponse::Kind::kAtomic;
    default:
      return room.posted;
  }
}

/// RFC 5041 7.1, of an untagged segment.
Cause CheckUntagged(const RdmaReceiver& receiver, const SegmentPlan& plan,
                    const ReceiveRoom& room) {
  const DdpHeader& ddp = plan.ddp;
  const uint32_t queues = receiver.extensions ? kQueues : kAtomicResponseQueue;
  if (ddp.queue >= queues) return Cause::kInvalidQueue;
  const UntaggedQueue& queue = receiver.queues[ddp.queue];
  if (ddp.message_sequence != queue.message_sequence) return Cause::kInvalidMessageSequence;
  if (!HasBuffer(receiver, ddp.queue, room)) return Cause::kNoBuffer;
  if (ddp.message_offset != queue.message_offset) return Cause::kInvalidMessageOffset;
  const bool in_buffer = IsImmediate(plan.opcode);  // those take a receive, but none of its bytes
  const uint64_t end = uint64_t{ddp.message_offset} + plan.payload_bytes;
  if (!in_buffer && end > BufferBytes(receiver, ddp.queue, room)) return Cause::kMessageTooLong;
  return Cause::kNone;
}

/// RFC 5040 7.2, of any segment: version and operation code.
Cause CheckOpcode(const RdmaReceiver& receiver, const SegmentPlan& plan) {
  const DdpHeader& ddp = plan.ddp;
  if (VersionOf(ddp.ulp_control) != kRdmapVersion) return Cause::kInvalidRdmapVersion;
  const Opcode opcode = plan.opcode;
  const bool spoken = IsKnown(opcode) && (receiver.extensions || !IsExtension(opcode));
  if (!spoken || IsTagged(opcode) != ddp.tagged) return Cause::kUnexpectedOpcode;
  if (ddp.tagged) return Cause::kNone;
  const UntaggedQueue& queue = receiver.queues[ddp.queue];
  if (QueueOf(opcode) != ddp.queue || (queue.open && queue.opcode != opcode)) {
    return Cause::kUnexpectedOpcode;
  }
  return Cause::kNone;
}

/// 5.2.2: "MAY validate that the STag, Tagged Offset, and length of the RDMA Read Response Message
/// are the same": they are how this end finds out where the bytes go.
Cause CheckReadResponse(const RdmaReceiver& receiver, const SegmentPlan& plan) {
  const AwaitedResponse& awaited = receiver.awaited;
  if (awaited.kind != AwaitedResponse::Kind::kRead) return Cause::kUnexpectedOpcode;
  if (plan.payload_bytes != 0) {
    if (plan.ddp.stag != awaited.stag) return Cause::kTaggedInvalidStag;
    if (plan.ddp.tagged_offset != awaited.offset) return Cause::kTaggedBounds;
  }
  const bool fits =
      plan.ddp.last ? plan.payload_bytes == awaited.left : plan.payload_bytes <= awaited.left;
  return fits ? Cause::kNone : Cause::kTaggedBounds;
}

/// A message that the core itself reads: whole, in one segment, and as long as it is to be.
/// `control`: the bytes behind DDP's header.
Cause ReadControl(const RdmaReceiver& receiver, std::span<const uint8_t> control, uint32_t length,
                  SegmentPlan* plan) {
  const bool any_length = plan->opcode == Opcode::kTerminate;
  if (!plan->ddp.last || (!any_length && length != ControlBytes(plan->opcode))) {
    return Cause::kOperationUnspecified;
  }
  switch (plan->opcode) {
    case Opcode::kReadRequest:
      ParseReadRequest(control, &plan->read);
      return Cause::kNone;
    case Opcode::kImmediate:
    case Opcode::kImmediateSolicited:
      ParseImmediate(control, &plan->immediate);
      return Cause::kNone;
    case Opcode::kAtomicRequest:
      return ParseAtomicRequest(control, &plan->atomic) == RdmapError::kNone
                 ? Cause::kNone
                 : Cause::kUnexpectedOpcode;
    case Opcode::kAtomicResponse:
      ParseAtomicResponse(control, &plan->atomic_response);
      return plan->atomic_response.identifier == receiver.awaited.identifier
                 ? Cause::kNone
                 : Cause::kOperationUnspecified;
    default:
      return ParseTerminate(control, &plan->terminate) == TerminateError::kNone
                 ? Cause::kNone
                 : Cause::kOperationUnspecified;
  }
}

/// All checks, in the RFCs' order: DDP's header, what DDP places where, RDMAP's.
Cause Check(const RdmaReceiver& receiver, std::span<const uint8_t> control, uint32_t ulpdu_length,
            const ReceiveRoom& room, SegmentPlan* plan) {
  if (plan->ddp.version != kDdpVersion) {
    return plan->ddp.tagged ? Cause::kTaggedVersion : Cause::kUntaggedVersion;
  }
  if (!plan->ddp.tagged) {
    const Cause cause = CheckUntagged(receiver, *plan, room);
    if (cause != Cause::kNone) return cause;
  }
  const Cause cause = CheckOpcode(receiver, *plan);
  if (cause != Cause::kNone) return cause;
  if (plan->opcode == Opcode::kReadResponse) return CheckReadResponse(receiver, *plan);
  if (ControlBytes(plan->opcode) == 0) return Cause::kNone;
  const uint32_t length = ulpdu_length - static_cast<uint32_t>(kUntaggedBytes);
  plan->header_bytes = ulpdu_length;
  plan->payload_bytes = 0;
  return ReadControl(receiver, control, length, plan);
}

}  // namespace

size_t HeadBytes(std::span<const uint8_t> begin, uint32_t ulpdu_length) {
  if (ulpdu_length < 2) return ulpdu_length;
  const bool tagged = (begin[offset::kDdpControl] & kDdpTagged) != 0;
  const size_t wanted = DdpHeaderBytes(begin[offset::kDdpControl]) +
                        (tagged ? 0 : ControlBytes(OpcodeOf(begin[offset::kUlpControl])));
  return wanted < ulpdu_length ? wanted : ulpdu_length;
}

SegmentPlan PlanSegment(const RdmaReceiver& receiver, std::span<const uint8_t> head,
                        uint32_t ulpdu_length, const ReceiveRoom& room) {
  SegmentPlan plan;
  if (ParseDdp(head, &plan.ddp) == DdpError::kTooShort) {
    plan.refusal = Cause::kDdpCatastrophic;  // an ULPDU that is shorter than any header
    return plan;
  }
  const uint32_t header = static_cast<uint32_t>(DdpHeaderBytes(plan.ddp));
  plan.header_known = true;
  plan.opcode = OpcodeOf(plan.ddp.ulp_control);
  plan.header_bytes = header;
  plan.payload_bytes = ulpdu_length - header;
  plan.message_ends = plan.ddp.last;
  if (!plan.ddp.tagged) plan.message_length = plan.ddp.message_offset + plan.payload_bytes;
  plan.refusal = receiver.over ? Cause::kUnexpectedOpcode
                               : Check(receiver, head.subspan(header), ulpdu_length, room, &plan);
  return plan;
}

void CommitSegment(RdmaReceiver& receiver, const SegmentPlan& plan) {
  if (plan.refusal != Cause::kNone || plan.opcode == Opcode::kTerminate) {
    receiver.over = true;
    return;
  }
  AwaitedResponse& awaited = receiver.awaited;
  if (plan.opcode == Opcode::kReadResponse) {
    awaited.offset += plan.payload_bytes;
    awaited.left -= plan.payload_bytes;
  }
  const bool answers =
      plan.opcode == Opcode::kReadResponse || plan.opcode == Opcode::kAtomicResponse;
  if (answers && plan.message_ends) awaited.kind = AwaitedResponse::Kind::kNone;
  if (plan.ddp.tagged) return;
  UntaggedQueue& queue = receiver.queues[plan.ddp.queue];
  queue.open = !plan.message_ends;
  queue.opcode = plan.opcode;
  queue.message_offset = plan.message_ends ? 0 : plan.message_length;
  if (!plan.message_ends) return;
  ++queue.message_sequence;  // modulo 2^32
  if (plan.ddp.queue == kRequestQueue) ++receiver.requests;
}

void OnRequestAnswered(RdmaReceiver& receiver) {
  QPIP_ASSERT(receiver.requests != 0);
  --receiver.requests;
}

void AwaitRead(RdmaReceiver& receiver, const ReadRequest& request) {
  QPIP_ASSERT(receiver.awaited.kind == AwaitedResponse::Kind::kNone);
  receiver.awaited = {AwaitedResponse::Kind::kRead, request.sink_stag, request.sink_offset,
                      request.length, 0};
}

void AwaitAtomic(RdmaReceiver& receiver, uint32_t identifier) {
  QPIP_ASSERT(receiver.awaited.kind == AwaitedResponse::Kind::kNone);
  receiver.awaited = {AwaitedResponse::Kind::kAtomic, 0, 0, 0, identifier};
}

Cause CauseOfAccess(AccessVerdict verdict, Opcode opcode) {
  if (verdict == AccessVerdict::kGranted) return Cause::kNone;
  // RFC 5040 5.3: whatever is wrong with an STag that a Send names, it cannot be invalidated.
  if (Invalidates(opcode)) return Cause::kCannotInvalidate;
  const bool tagged = IsTagged(opcode);
  switch (verdict) {
    case AccessVerdict::kNotAssociated:
      return tagged ? Cause::kTaggedNotAssociated : Cause::kStagNotAssociated;
    case AccessVerdict::kBounds:
      return tagged ? Cause::kTaggedBounds : Cause::kBoundsViolation;
    case AccessVerdict::kWrap:
      return tagged ? Cause::kTaggedWrap : Cause::kOffsetWrap;
    case AccessVerdict::kNoRight:
      // DDP has no code for it (RFC 5041 7.2): an STag without the right is none for this.
      return tagged ? Cause::kTaggedInvalidStag : Cause::kAccessViolation;
    case AccessVerdict::kMisaligned:
      return Cause::kStreamCatastrophic;  // RFC 7306 8.2
    default:
      return tagged ? Cause::kTaggedInvalidStag : Cause::kInvalidStag;
  }
}

Terminate TerminateFor(const SegmentPlan& plan, Cause refusal, uint32_t ulpdu_length) {
  const bool read = plan.opcode == Opcode::kReadRequest && !plan.ddp.tagged &&
                    plan.header_bytes == kUntaggedBytes + kReadRequestBytes;
  return MakeTerminate(refusal, plan.header_known ? &plan.ddp : nullptr,
                       static_cast<uint16_t>(ulpdu_length), read ? &plan.read : nullptr);
}

}  // namespace qpip::iwarp
