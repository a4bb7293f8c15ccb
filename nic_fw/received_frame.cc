#include "nic_fw/received_frame.h"

#include <cstring>

namespace qpip::fw {

void FreeSlot(const Nic& nic, uint32_t index) {
  ReassemblySlot& slot = SlotAt(nic, index);
  slot.state = SlotState::kFree;
  slot.deadline = tcp::kNever;
}

void ReleaseFrame(const Nic& nic, uint32_t frame) {
  if (!IsReassembled(frame)) {
    nic.hardware.FrameRelease(frame);
  } else if (SlotAt(nic, SlotOf(frame)).state == SlotState::kDelivered) {
    FreeSlot(nic, SlotOf(frame));
  }
}

void PlaceFrame(const Nic& nic, uint32_t frame, uint32_t offset, const DmaSegment* to,
                uint32_t count, uint32_t tag) {
  if (!IsReassembled(frame)) {
    nic.hardware.PayloadPlace(frame, offset, to, count, tag);
    return;
  }
  DmaSegment from{};
  from.address = PoolOf(nic, SlotOf(frame)) + offset - SlotAt(nic, SlotOf(frame)).header_at;
  for (uint32_t i = 0; i < count; ++i) from.length += to[i].length;
  nic.hardware.DmaCopy(&from, 1, to, count, tag);
}

uint32_t ReadFrame(const Nic& nic, uint32_t frame, uint32_t offset, uint32_t length, uint8_t* to) {
  if (!IsReassembled(frame)) {
    return nic.hardware.FrameRead(frame, offset, length, to);
  }
  const ReassemblySlot& slot = SlotAt(nic, SlotOf(frame));
  if (offset > slot.head_length || length > slot.head_length - offset) return kDmaFault;
  std::memcpy(to, slot.head + offset, length);
  return kDmaOk;
}

uint32_t TakeReceiveContext(const Nic& nic) {
  const uint32_t index = PopFront(nic.state.free_receive, ReceiveLink{nic});
  QPIP_ASSERT(index != kNone);
  // From memory: a temporary's small stores would stall the wide loads that copy it.
  static constexpr ReceiveContext kFresh{};
  nic.receive(index) = kFresh;
  return index;
}

void ReturnReceiveContext(const Nic& nic, uint32_t index) {
  ReleaseFrame(nic, nic.receive(index).frame);
  PushFront(nic.state.free_receive, ReceiveLink{nic}, index);
}

}  // namespace qpip::fw
