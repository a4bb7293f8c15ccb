#include "protocols/iwarp/rdma_sender.h"

#include "protocols/common/assert.h"

namespace qpip::iwarp {
namespace {

bool IsRequest(Opcode opcode) {
  return opcode == Opcode::kReadRequest || opcode == Opcode::kAtomicRequest;
}

void Push(RequestRing& ring, std::span<PendingRequest> entries, const PendingRequest& request) {
  QPIP_ASSERT(ring.count < entries.size());
  uint32_t at = uint32_t{ring.first} + ring.count;
  if (at >= entries.size()) at -= static_cast<uint32_t>(entries.size());
  entries[at] = request;
  ++ring.count;
}

PendingRequest Pop(RequestRing& ring, std::span<const PendingRequest> entries) {
  QPIP_ASSERT(ring.count != 0);
  const PendingRequest request = entries[ring.first];
  ++ring.first;
  if (ring.first == entries.size()) ring.first = 0;
  --ring.count;
  return request;
}

/// Its MSN, if it has one.
void Number(RdmaSender& sender, Message& message) {
  if (IsTagged(message.opcode)) return;
  message.message_sequence = sender.message_sequences[QueueOf(message.opcode)]++;
}

}  // namespace

Hold HoldOf(const RdmaSender& sender, const Operation& operation) {
  if (sender.over) return Hold::kOver;
  if (operation.fence && sender.asked.count != 0) return Hold::kFence;
  const bool full = sender.asked.count >= sender.most_requests;
  return IsRequest(operation.opcode) && full ? Hold::kDepth : Hold::kGo;
}

StartedMessage StartOperation(RdmaSender& sender, std::span<PendingRequest> asked,
                              const Operation& operation, uint32_t work) {
  QPIP_ASSERT(HoldOf(sender, operation) == Hold::kGo);
  StartedMessage started;
  Message& message = started.message;
  message.opcode = operation.opcode;
  message.length = operation.length;
  message.stag = operation.stag;
  message.tagged_offset = operation.tagged_offset;
  message.invalidate_stag = operation.invalidate_stag;
  const std::span<uint8_t> control(started.control);
  if (operation.opcode == Opcode::kReadRequest) {
    EmitReadRequest(operation.read, control.first<kReadRequestBytes>());
    started.control_bytes = kReadRequestBytes;
    Push(sender.asked, asked, {false, work, operation.read, 0, 0});
  } else if (operation.opcode == Opcode::kAtomicRequest) {
    EmitAtomicRequest(operation.atomic, control.first<kAtomicRequestBytes>());
    started.control_bytes = kAtomicRequestBytes;
    Push(sender.asked, asked, {true, work, {}, operation.atomic.identifier, 0});
  } else if (IsImmediate(operation.opcode)) {
    EmitImmediate(operation.immediate, control.first<kImmediateBytes>());
    started.control_bytes = kImmediateBytes;
  }
  if (started.control_bytes != 0) message.length = started.control_bytes;
  Number(sender, message);
  return started;
}

void Owe(RdmaSender& sender, std::span<PendingRequest> owed, const SegmentPlan& plan,
         uint64_t original) {
  const bool is_atomic = plan.opcode == Opcode::kAtomicRequest;
  Push(sender.owed, owed, {is_atomic, 0, plan.read, plan.atomic.identifier, original});
}

StartedMessage StartResponse(RdmaSender& sender, std::span<const PendingRequest> owed,
                             PendingRequest* request) {
  QPIP_ASSERT(OwesResponse(sender));
  *request = Pop(sender.owed, owed);
  StartedMessage started;
  Message& message = started.message;
  if (request->is_atomic) {
    message.opcode = Opcode::kAtomicResponse;
    message.length = started.control_bytes = kAtomicResponseBytes;
    EmitAtomicResponse({request->identifier, request->original},
                       std::span<uint8_t>(started.control).first<kAtomicResponseBytes>());
  } else {
    message.opcode = Opcode::kReadResponse;
    message.length = request->read.length;
    message.stag = request->read.sink_stag;  // 4.4: "copied, without interpretation"
    message.tagged_offset = request->read.sink_offset;
  }
  Number(sender, message);
  return started;
}

void KeepAwaited(const RdmaSender& sender, std::span<const PendingRequest> asked,
                 RdmaReceiver& receiver) {
  if (sender.asked.count == 0 || receiver.awaited.kind != AwaitedResponse::Kind::kNone) return;
  const PendingRequest& oldest = asked[sender.asked.first];
  if (oldest.is_atomic) {
    AwaitAtomic(receiver, oldest.identifier);
  } else {
    AwaitRead(receiver, oldest.read);
  }
}

PendingRequest TakeAnswered(RdmaSender& sender, std::span<const PendingRequest> asked) {
  return Pop(sender.asked, asked);
}

StartedMessage StartTerminate(RdmaSender& sender, const Terminate& terminate) {
  QPIP_ASSERT(!sender.over);
  StartedMessage started;
  started.control_bytes =
      static_cast<uint32_t>(EmitTerminate(terminate, std::span<uint8_t>(started.control)));
  started.message.opcode = Opcode::kTerminate;
  started.message.length = started.control_bytes;
  Number(sender, started.message);
  sender.over = true;
  return started;
}

bool IsDone(const WorkProgress& work, uint32_t acknowledged, uint32_t answered) {
  const uint32_t reached = work.is_request ? answered : acknowledged;
  return static_cast<int32_t>(reached - work.end) >= 0;
}

}  // namespace qpip::iwarp
