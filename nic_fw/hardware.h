// The platform's table of imports (platform.h), called as methods.
//
// One method an import, of the same name and meaning, without the context argument. Imports
// that may be absent may be called all the same. Operations under way are counted, so that nobody
// asks for a completion where none can come.
#pragma once

#include <cstdint>

#include "nic_fw/platform.h"

namespace qpip::fw {

class Hardware {
 public:
  /// `under_way`: operations with a tag that were started and not returned by DmaPoll.
  Hardware(const Platform& table, uint32_t& under_way) : table_(table), under_way_(under_way) {}

  uint32_t DoorbellPop(abi::Doorbell* out) const { return table_.doorbell_pop(context(), out); }
  uint32_t DoorbellOverflowed() const { return table_.doorbell_overflowed(context()); }

  void DmaRead(uint64_t from, void* to, uint32_t length, uint32_t tag) const {
    ++under_way_;
    table_.dma_read(context(), from, to, length, tag);
  }
  void DmaWrite(uint64_t to, const void* from, uint32_t length, uint32_t tag,
                uint32_t flags) const {
    under_way_ += tag != 0 ? 1 : 0;
    table_.dma_write(context(), to, from, length, tag, flags);
  }
  void DmaCopy(const DmaSegment* from, uint32_t from_count, const DmaSegment* to, uint32_t to_count,
               uint32_t tag) const {
    ++under_way_;
    table_.dma_copy(context(), from, from_count, to, to_count, tag);
  }
  uint64_t HostLoad(uint64_t address) const { return table_.host_load(context(), address); }
  bool DmaAtOnce() const { return table_.dma_at_once != 0; }
  bool DmaUnderWay() const { return under_way_ != 0; }
  uint32_t DmaPoll(DmaCompletion* out) const {
    if (under_way_ == 0 || table_.dma_poll(context(), out) == 0) return 0;
    --under_way_;
    return 1;
  }

  uint32_t PayloadRoom() const { return table_.payload_room(context()); }
  uint32_t PayloadFetch(const DmaSegment* from, uint32_t count, uint32_t flags,
                        uint32_t tag) const {
    const uint32_t payload = table_.payload_fetch(context(), from, count, flags, tag);
    under_way_ += payload != 0 ? 1 : 0;
    return payload;
  }
  uint32_t PayloadFromFrame(uint32_t frame, uint32_t offset, uint32_t length, uint32_t* sum) const {
    return table_.payload_from_frame(context(), frame, offset, length, sum);
  }
  uint32_t PayloadKeep(uint32_t payload, const void* head, uint32_t head_length) const {
    return table_.payload_keep(context(), payload, head, head_length);
  }
  uint32_t PayloadSeal(uint32_t payload, uint32_t pad, bool with_crc, uint32_t crc) const {
    return table_.payload_seal(context(), payload, pad, with_crc ? 1 : 0, crc);
  }
  uint32_t MemoryCrc(const DmaSegment* from, uint32_t count, uint32_t crc) const {
    return table_.memory_crc(context(), from, count, crc);
  }
  uint64_t HostSwap(uint64_t address, uint64_t expected, uint64_t desired) const {
    return table_.host_swap(context(), address, expected, desired);
  }
  void PayloadRelease(uint32_t payload) const { table_.payload_release(context(), payload); }

  uint32_t FrameSend(const FrameOut* frame, uint64_t* lease) const {
    return table_.frame_send(context(), frame, lease);
  }
  uint32_t LeasePending(uint64_t lease) const { return table_.lease_pending(context(), lease); }
  void LeaseRevoke(uint64_t lease, uint32_t owner) const {
    table_.lease_revoke(context(), lease, owner);
  }
  uint32_t FramePoll(FrameIn* out) const { return table_.frame_poll(context(), out); }
  void PayloadPlace(uint32_t frame, uint32_t offset, const DmaSegment* to, uint32_t count,
                    uint32_t tag) const {
    ++under_way_;
    table_.payload_place(context(), frame, offset, to, count, tag);
  }
  uint32_t FrameSum(uint32_t frame, uint32_t offset, uint32_t length) const {
    return table_.frame_sum(context(), frame, offset, length);
  }
  uint32_t FrameCrc(uint32_t frame, uint32_t offset, uint32_t length, uint32_t crc) const {
    return table_.frame_crc(context(), frame, offset, length, crc);
  }
  uint32_t FrameRead(uint32_t frame, uint32_t offset, uint32_t length, void* to) const {
    return table_.frame_read(context(), frame, offset, length, to);
  }
  void FrameRelease(uint32_t frame) const { table_.frame_release(context(), frame); }

  void Interrupt(InterruptKind kind, uint32_t object) const {
    table_.interrupt(context(), static_cast<uint32_t>(kind), object);
  }
  uint64_t Random() const { return table_.random(context()); }

  void Charge(Stage stage, Variant variant, uint32_t units) const {
    if (table_.charge != nullptr) table_.charge(context(), stage, variant, units);
  }
  bool traces() const { return table_.trace != nullptr; }
  void Trace(const TraceRecord& record) const {
    if (table_.trace != nullptr) table_.trace(context(), &record);
  }

 private:
  void* context() const { return table_.context; }

  const Platform& table_;
  uint32_t& under_way_;
};

}  // namespace qpip::fw
