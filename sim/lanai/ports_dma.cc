// DMA engines: memory copies that complete later, and payload on its way out.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "protocols/iwarp/crc32c.h"
#include "sim/lanai/ports_internal.h"

namespace qpip::lanai {

namespace {

constexpr size_t kFpduEndBytes = 8;  // a multiple of what the wire's allocator aligns to

// Stores `length` bytes so that the last word appears last: whoever load-acquires it sees the rest.
inline void Publish(uint8_t* to, const uint8_t* from, uint32_t length) {
  uint32_t last;
  if (length == 64) [[likely]] {  // CQEs and events: a copy of known size is a few moves
    std::memcpy(to, from, 60);
    std::memcpy(&last, from + 60, 4);
    std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(to + 60))
        .store(last, std::memory_order_release);
    return;
  }
  if (length < 4) Die("kDmaPublish needs at least four bytes");
  std::memcpy(to, from, length - 4);
  std::memcpy(&last, from + length - 4, 4);
  std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(to + length - 4))
      .store(last, std::memory_order_release);
}

// Copies between two lists of pieces of equal total length.
void CopySegments(const fw::DmaSegment* from, uint32_t from_count, const fw::DmaSegment* to,
                  uint32_t to_count) {
  uint32_t from_index = 0;
  uint32_t from_offset = 0;
  for (uint32_t i = 0; i < to_count; ++i) {
    uint32_t to_offset = 0;
    while (to_offset < to[i].length && from_index < from_count) {
      const fw::DmaSegment& source = from[from_index];
      const uint32_t bytes = std::min(to[i].length - to_offset, source.length - from_offset);
      std::memmove(HostMemory(to[i].address) + to_offset, HostMemory(source.address) + from_offset,
                   bytes);
      to_offset += bytes;
      from_offset += bytes;
      if (from_offset == source.length) {
        ++from_index;
        from_offset = 0;
      }
    }
  }
}

}  // namespace

// --- DMA

inline void Ports::Complete(uint32_t tag, uint32_t status, uint32_t sum) {
  if (completion_tail_ == kMaxDmaSlots) [[unlikely]] {
    // The FIFO has not run empty for a while: move what is left to its front.
    if (completion_head_ == 0) Die("more DMA operations outstanding than dma_slots");
    std::copy(completions_.begin() + completion_head_, completions_.end(), completions_.begin());
    completion_tail_ -= completion_head_;
    completion_head_ = 0;
  }
  completions_[completion_tail_++] = {tag, status, sum};
}

inline uint32_t Ports::PollCompletion(fw::DmaCompletion* out) {
  if (completion_head_ == completion_tail_) return 0;
  *out = completions_[completion_head_++];
  if (completion_head_ == completion_tail_) completion_head_ = completion_tail_ = 0;
  return 1;
}

inline uint32_t Ports::FetchPayload(const fw::DmaSegment* from, uint32_t count, uint32_t flags,
                                    uint32_t tag) {
  if (count > fw::kMaxDmaSegments) Die("payload_fetch with more than kMaxDmaSegments pieces");
  if (free_payloads_.empty()) return 0;
  const uint32_t handle = free_payloads_.back();
  free_payloads_.pop_back();
  PayloadSlot& slot = payloads_[handle - 1];
  slot.count = count;
  slot.stable = (flags & fw::kDmaCopy) == 0;
  for (uint32_t i = 0; i < count; ++i) {
    slot.pieces[i] = {HostMemory(from[i].address), from[i].length};
  }
  uint32_t sum = 0;
  if ((flags & fw::kDmaSum) != 0) {
    RunningSum running;
    for (uint32_t i = 0; i < count; ++i) {
      running.Add({HostMemory(from[i].address), from[i].length});
    }
    sum = running.value();
  }
  Complete(tag, fw::kDmaOk, sum);
  return handle;
}

uint32_t Ports::CopyPayloadFromFrame(uint32_t frame, uint32_t offset, uint32_t length,
                                     uint32_t* sum) {
  if (free_payloads_.empty()) return 0;
  const uint32_t handle = free_payloads_.back();
  PayloadSlot& slot = payloads_[handle - 1];
  slot.copy.clear();
  RunningSum running;
  const bool complete = VisitFrame(frames_[frame - 1].frame.pieces, offset, length,
                                   [&](std::span<const uint8_t> part) {
                                     running.Add(part);
                                     slot.copy.insert(slot.copy.end(), part.begin(), part.end());
                                   });
  if (!complete) Die("payload_from_frame beyond the frame's end");
  free_payloads_.pop_back();
  slot.count = 1;
  slot.stable = false;
  slot.pieces[0] = {slot.copy.data(), slot.copy.size()};
  *sum = running.value();
  return handle;
}

uint32_t Ports::KeepPayload(uint32_t payload, std::span<const uint8_t> head) {
  if (payload == 0) {
    if (free_payloads_.empty()) return 0;
    payload = free_payloads_.back();
    free_payloads_.pop_back();
    payloads_[payload - 1].count = 0;
  }
  PayloadSlot& slot = payloads_[payload - 1];
  std::vector<uint8_t> bytes(head.begin(), head.end());
  for (uint32_t i = 0; i < slot.count; ++i) {
    const auto* from = static_cast<const uint8_t*>(slot.pieces[i].iov_base);
    bytes.insert(bytes.end(), from, from + slot.pieces[i].iov_len);
  }
  slot.copy.swap(bytes);  // which one of the pieces may have been
  slot.count = 1;
  slot.stable = false;
  slot.pieces[0] = {slot.copy.data(), slot.copy.size()};
  return payload;
}

/// Where frames can refer to what lies in the wire's memory, the zeroes must lie there, too.
uint8_t* Ports::Zeroes() {
  static uint8_t own[kFpduEndBytes] = {};
  if (zeroes_ == nullptr) {
    zeroes_ = static_cast<uint8_t*>(wire_.AllocateShared(kFpduEndBytes));
    if (zeroes_ == nullptr) zeroes_ = own;
    std::memset(zeroes_, 0, kFpduEndBytes);
  }
  return zeroes_;
}

uint32_t Ports::SealPayload(uint32_t payload, uint32_t pad, bool with_crc, uint32_t crc) {
  PayloadSlot& slot = payloads_[payload - 1];
  const size_t end = pad + iwarp::kCrcBytes;
  if (!with_crc) {
    slot.pieces[slot.count++] = {Zeroes(), end};
    return 0;
  }
  KeepPayload(payload, {});
  const size_t bytes = slot.copy.size();
  slot.copy.resize(bytes + end);
  crc = iwarp::Crc32c({slot.copy.data(), bytes + pad}, crc);
  iwarp::StoreCrc(&slot.copy[bytes + pad], crc);
  slot.pieces[0] = {slot.copy.data(), slot.copy.size()};
  return crc;
}

inline void Ports::PlacePayload(uint32_t frame, uint32_t offset, const fw::DmaSegment* to,
                                uint32_t count, uint32_t tag) {
  const std::span<const iovec> pieces = frames_[frame - 1].frame.pieces;
  // Most messages: from one piece to one place.
  if (count == 1 && !pieces.empty() && offset <= pieces.front().iov_len &&
      to->length <= pieces.front().iov_len - offset) {
    std::memcpy(HostMemory(to->address),
                static_cast<const uint8_t*>(pieces.front().iov_base) + offset, to->length);
    Complete(tag, StatusOfCopy(frames_[frame - 1].frame));
    return;
  }
  uint32_t index = 0;
  uint32_t filled = 0;
  const bool complete =
      VisitFrame(pieces, offset, TotalLength(to, count), [&](std::span<const uint8_t> part) {
        while (!part.empty()) {
          while (filled == to[index].length) {
            ++index;
            filled = 0;
          }
          const size_t bytes = std::min<size_t>(part.size(), to[index].length - filled);
          std::memcpy(HostMemory(to[index].address) + filled, part.data(), bytes);
          filled += static_cast<uint32_t>(bytes);
          part = part.subspan(bytes);
        }
      });
  Complete(tag, complete ? StatusOfCopy(frames_[frame - 1].frame) : uint32_t{fw::kDmaFault});
}

template <bool kTimed>
void Ports::FillDmaPorts() {
  table_.dma_read = [](void* context, uint64_t from, void* to, uint32_t length, uint32_t tag) {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kDmaToNic, EngineOperation::kRead, length);
    std::memcpy(to, HostMemory(from), length);
    self->Complete(tag, fw::kDmaOk);
  };
  table_.dma_write = [](void* context, uint64_t to, const void* from, uint32_t length, uint32_t tag,
                        uint32_t flags) {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kDmaToHost, EngineOperation::kWrite, length);
    if ((flags & fw::kDmaPublish) != 0) {
      Publish(HostMemory(to), static_cast<const uint8_t*>(from), length);
    } else {
      std::memcpy(HostMemory(to), from, length);
    }
    if (tag != 0) self->Complete(tag, fw::kDmaOk);
  };
  table_.dma_copy = [](void* context, const fw::DmaSegment* from, uint32_t from_count,
                       const fw::DmaSegment* to, uint32_t to_count, uint32_t tag) {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kDmaToHost, EngineOperation::kCopy,
                            kTimed ? TotalLength(to, to_count) : 0);
    CopySegments(from, from_count, to, to_count);
    self->Complete(tag, fw::kDmaOk);
  };
  table_.dma_poll = [](void* context, fw::DmaCompletion* out) -> uint32_t {
    return static_cast<Ports*>(context)->PollCompletion(out);
  };
  table_.payload_room = [](void* context) -> uint32_t {
    return !static_cast<Ports*>(context)->free_payloads_.empty();
  };
  table_.payload_fetch = [](void* context, const fw::DmaSegment* from, uint32_t count,
                            uint32_t flags, uint32_t tag) -> uint32_t {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kDmaToNic, EngineOperation::kFetch,
                            kTimed ? TotalLength(from, count) : 0);
    return self->FetchPayload(from, count, flags, tag);
  };
  table_.payload_from_frame = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                                 uint32_t* sum) -> uint32_t {
    return static_cast<Ports*>(context)->CopyPayloadFromFrame(frame, offset, length, sum);
  };
  table_.payload_keep = [](void* context, uint32_t payload, const void* head,
                           uint32_t head_length) -> uint32_t {
    return static_cast<Ports*>(context)->KeepPayload(
        payload, {static_cast<const uint8_t*>(head), head_length});
  };
  table_.payload_seal = [](void* context, uint32_t payload, uint32_t pad, uint32_t with_crc,
                           uint32_t crc) -> uint32_t {
    return static_cast<Ports*>(context)->SealPayload(payload, pad, with_crc != 0, crc);
  };
  table_.memory_crc = [](void*, const fw::DmaSegment* from, uint32_t count,
                         uint32_t crc) -> uint32_t {
    for (uint32_t i = 0; i < count; ++i) {
      crc = iwarp::Crc32c({HostMemory(from[i].address), from[i].length}, crc);
    }
    return crc;
  };
  table_.host_swap = [](void*, uint64_t address, uint64_t expected, uint64_t desired) {
    std::atomic_ref<uint64_t> word(*reinterpret_cast<uint64_t*>(HostMemory(address)));
    word.compare_exchange_strong(expected, desired, std::memory_order_seq_cst);
    return expected;
  };
  table_.payload_release = [](void* context, uint32_t payload) {
    static_cast<Ports*>(context)->free_payloads_.push_back(payload);
  };
  table_.payload_place = [](void* context, uint32_t frame, uint32_t offset,
                            const fw::DmaSegment* to, uint32_t count, uint32_t tag) {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kDmaToHost, EngineOperation::kPlace,
                            kTimed ? TotalLength(to, count) : 0);
    self->PlacePayload(frame, offset, to, count, tag);
  };
}

template void Ports::FillDmaPorts<false>();
template void Ports::FillDmaPorts<true>();

}  // namespace qpip::lanai
