#include "nic_fw/completion.h"

#include <cstring>

namespace qpip::fw {
namespace {

/// True when the ring has room. Reads the host's consumer index only when the cached one says no:
/// that read is programmed I/O, slow on hardware.
bool HasRoom(const Nic& nic, CompletionQueueState& cq) {
  const uint32_t size = 1u << cq.log2_size;
  if (cq.producer - cq.consumer_seen < size) return true;
  cq.consumer_seen = static_cast<uint32_t>(nic.hardware.HostLoad(cq.consumer_address));
  return cq.producer - cq.consumer_seen < size;
}

void Fail(const Nic& nic, uint32_t handle) {
  CompletionQueueState& cq = nic.cq(handle);
  nic.Count(abi::NicCounter::kCompletionOverruns);
  if (cq.failed) return;
  cq.failed = true;
  abi::Event event;
  event.kind = static_cast<uint8_t>(abi::EventKind::kCqError);
  event.object = handle;
  WriteEvent(nic, event);
}

}  // namespace

void Complete(const Nic& nic, const WorkQueue& queue, abi::CompletionOpcode opcode, uint32_t index,
              const CompletionDetail& detail) {
  const bool send = opcode == abi::CompletionOpcode::kSend;
  const uint32_t handle = queue.cq;
  CompletionQueueState& cq = nic.cq(handle);
  if (!HasRoom(nic, cq)) {
    Fail(nic, handle);
    return;
  }
  abi::Cqe cqe;
  cqe.qp = queue.owner;
  cqe.wqe_index = index;
  cqe.byte_length = detail.byte_length;
  cqe.opcode = static_cast<uint8_t>(opcode);
  cqe.status = static_cast<uint8_t>(detail.status);
  cqe.vendor_error = detail.vendor_error;
  cqe.flags = detail.flags;
  cqe.immediate = detail.immediate;
  cqe.key = detail.key;
  cqe.peer_port = detail.peer_port;
  std::memcpy(cqe.peer_address.bytes, detail.peer_address.bytes, sizeof(cqe.peer_address.bytes));
  cqe.valid = abi::CqeLap(cq.producer, cq.log2_size);
  const uint32_t slot = cq.producer & ((1u << cq.log2_size) - 1);
  nic.hardware.DmaWrite(cq.ring + uint64_t{slot} * sizeof(abi::Cqe), &cqe, sizeof(cqe), 0,
                        kDmaPublish);
  ++cq.producer;
  ++nic.state.notifications;
  nic.Count(abi::NicCounter::kCompletions);
  nic.Trace(send ? kTraceSendCompleted : kTraceRecvCompleted, queue.owner, index,
            static_cast<uint32_t>(detail.status));
  const bool asks =
      detail.status != abi::CompletionStatus::kSuccess || (detail.flags & abi::kCqeSolicited) != 0;
  if (asks) cq.solicited_end = cq.producer;
  if (cq.armed && (asks || !cq.armed_solicited) &&
      static_cast<int32_t>(cq.producer - cq.armed_index) > 0) {
    cq.armed = false;
    nic.hardware.Interrupt(InterruptKind::kCompletion, handle);
  }
}

void ArmCompletionQueue(const Nic& nic, uint32_t handle, uint32_t consumer, uint32_t kind) {
  if (handle >= nic.state.config.max_cqs || !nic.cq(handle).in_use) return;
  CompletionQueueState& cq = nic.cq(handle);
  const bool solicited = kind == abi::kArmSolicited;
  const uint32_t end = solicited ? cq.solicited_end : cq.producer;
  if (static_cast<int32_t>(end - consumer) > 0) {
    cq.armed = false;
    nic.hardware.Interrupt(InterruptKind::kCompletion, handle);
    return;
  }
  // Doorbells of two threads may come in either order: one that waits for anything is not to miss
  // it.
  cq.armed_solicited = solicited && (!cq.armed || cq.armed_solicited);
  cq.armed = true;
  cq.armed_index = consumer;
}

void WriteEvent(const Nic& nic, abi::Event event) {
  FirmwareState& s = nic.state;
  event.valid = abi::CqeLap(s.event_producer, s.config.event_log2);
  const uint32_t slot = s.event_producer & ((1u << s.config.event_log2) - 1);
  nic.hardware.DmaWrite(s.config.event_ring + uint64_t{slot} * sizeof(abi::Event), &event,
                        sizeof(event), 0, kDmaPublish);
  ++s.event_producer;
  ++s.notifications;
  nic.Count(abi::NicCounter::kEvents);
  nic.hardware.Interrupt(InterruptKind::kEvent, 0);
}

}  // namespace qpip::fw
