#include "sim/lanai/ports.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "protocols/common/checksum.h"

namespace qpip::lanai {

namespace {

constexpr uint32_t kIpv6HeaderBytes = 40;

uint8_t* HostMemory(uint64_t address) { return reinterpret_cast<uint8_t*>(address); }

// Firmware and host run in one process: a firmware that breaks its side of platform.h has damaged
// memory or is about to. There is nothing to go on with.
[[noreturn]] [[gnu::cold]] [[gnu::noinline]] void Die(const char* what) {
  std::fprintf(stderr, "qpip: firmware broke the platform's contract: %s\n", what);
  std::abort();
}

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

uint32_t TotalLength(const fw::DmaSegment* segments, uint32_t count) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < count; ++i) total += segments[i].length;
  return total;
}

// Calls visit(bytes) for each contiguous part of [offset, offset + length) of a frame. Returns
// false when the frame is shorter.
template <typename Visit>
inline bool VisitFrame(std::span<const iovec> pieces, uint32_t offset, uint32_t length,
                       Visit visit) {
  size_t skip = offset;
  for (const iovec& piece : pieces) {
    if (length == 0) return true;
    if (skip >= piece.iov_len) {
      skip -= piece.iov_len;
      continue;
    }
    const size_t bytes = std::min<size_t>(piece.iov_len - skip, length);
    visit(std::span(static_cast<const uint8_t*>(piece.iov_base) + skip, bytes));
    length -= static_cast<uint32_t>(bytes);
    skip = 0;
  }
  return length == 0;
}

// Adds up pieces of one byte sequence: a piece that starts at an odd offset counts swapped.
class RunningSum {
 public:
  void Add(std::span<const uint8_t> bytes) {
    sum_ = ChecksumCombine(sum_, ChecksumAtOffset(ChecksumAdd(bytes), offset_));
    offset_ += bytes.size();
  }
  uint16_t value() const { return sum_; }

 private:
  uint16_t sum_ = 0;
  size_t offset_ = 0;
};

}  // namespace

/// Records one operation of an engine, from construction to destruction; nothing when not timed.
template <bool kTimed>
class Ports::Measure {
 public:
  Measure(Ports* ports, Track track, EngineOperation operation, uint32_t bytes)
      : ports_(ports), track_(track), operation_(operation), bytes_(bytes) {
    if constexpr (kTimed) begin_ = ReadCycles();
  }
  ~Measure() {
    if constexpr (kTimed) {
      if (!cancelled_) {
        ports_->timeline_->AddOperation(track_, operation_, bytes_, begin_, ReadCycles());
      }
    }
  }
  Measure(const Measure&) = delete;
  Measure& operator=(const Measure&) = delete;
  void set_bytes(uint32_t bytes) { bytes_ = bytes; }
  void Cancel() { cancelled_ = true; }

 private:
  [[maybe_unused]] Ports* ports_;
  [[maybe_unused]] Track track_;
  [[maybe_unused]] EngineOperation operation_;
  uint32_t bytes_;
  bool cancelled_ = false;
  [[maybe_unused]] uint64_t begin_ = 0;
};

Ports::Ports(wire::Wire& wire, DoorbellFifo& doorbells, Occupancy* occupancy, Timeline* timeline)
    : wire_(wire),
      doorbells_(doorbells),
      occupancy_(occupancy),
      timeline_(timeline),
      measured_(occupancy != nullptr || timeline != nullptr),
      payloads_(kPayloadSlots),
      frames_(kFrameSlots) {
  for (uint32_t handle = kPayloadSlots; handle > 0; --handle) free_payloads_.push_back(handle);
  for (uint32_t handle = kFrameSlots; handle > 0; --handle) free_frames_.push_back(handle);
  if (timeline != nullptr) {
    FillTable<true>();
  } else {
    FillTable<false>();
  }
}

Ports::~Ports() = default;

// --- The table. Lambdas without a capture are plain C functions; those that only move their
// arguments are written out in place, so that the compiler sees through them.

template <bool kTimed>
void Ports::FillTable() {
  table_.context = this;
  table_.doorbell_pop = [](void* context, abi::Doorbell* out) -> uint32_t {
    return static_cast<Ports*>(context)->doorbells_.Pop(out);
  };
  table_.doorbell_overflowed = [](void* context) -> uint32_t {
    return static_cast<Ports*>(context)->doorbells_.TakeOverflow();
  };
  table_.host_load = [](void*, uint64_t address) -> uint64_t {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(address))
        .load(std::memory_order_acquire);
  };
  table_.interrupt = [](void* context, uint32_t kind, uint32_t object) {
    abi::InterruptHandler* handler = static_cast<Ports*>(context)->handler_;
    if (kind == static_cast<uint32_t>(fw::InterruptKind::kCompletion)) {
      handler->OnCompletionInterrupt(object);
    } else {
      handler->OnEventInterrupt();
    }
  };
  table_.random = [](void* context) { return static_cast<Ports*>(context)->Random(); };
  if (measured_) {
    table_.charge = [](void* context, fw::Stage stage, fw::Variant variant, uint32_t) {
      static_cast<Ports*>(context)->Charge(stage, variant);
    };
  }
  if constexpr (kTimed) {
    table_.trace = [](void* context, const fw::TraceRecord* record) {
      static_cast<Ports*>(context)->timeline_->AddTrace(*record, ReadCycles());
    };
  }
  FillDmaPorts<kTimed>();
  FillLinkPorts<kTimed>();
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

template <bool kTimed>
void Ports::FillLinkPorts() {
  table_.frame_send = [](void* context, const fw::FrameOut* frame, uint64_t* lease) -> uint32_t {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kLinkTransmit, EngineOperation::kSend,
                            frame->header_length);
    return self->SendFrame(*frame, lease);
  };
  table_.lease_pending = [](void* context, uint64_t lease) -> uint32_t {
    return static_cast<Ports*>(context)->wire_.LeasePending(lease);
  };
  table_.frame_poll = [](void* context, fw::FrameIn* out) -> uint32_t {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kLinkReceive, EngineOperation::kReceive, 0);
    const uint32_t received = self->PollFrame(out);
    if constexpr (kTimed) {
      if (received == 0) {
        measure.Cancel();
      } else {
        measure.set_bytes(out->length);
      }
    }
    return received;
  };
  table_.frame_sum = [](void* context, uint32_t frame, uint32_t offset, uint32_t length) {
    return static_cast<Ports*>(context)->SumFrame(frame, offset, length);
  };
  table_.frame_read = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                         void* to) {
    static_cast<Ports*>(context)->ReadFrame(frame, offset, length, static_cast<uint8_t*>(to));
  };
  table_.frame_release = [](void* context, uint32_t frame) {
    static_cast<Ports*>(context)->ReleaseFrame(frame);
  };
}

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

inline void Ports::PlacePayload(uint32_t frame, uint32_t offset, const fw::DmaSegment* to,
                                uint32_t count, uint32_t tag) {
  uint32_t index = 0;
  uint32_t filled = 0;
  bool complete = true;
  const std::span<const iovec> pieces = frames_[frame - 1].frame.pieces;
  complete = VisitFrame(pieces, offset, TotalLength(to, count), [&](std::span<const uint8_t> part) {
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
  Complete(tag, complete ? fw::kDmaOk : fw::kDmaFault);
}

// --- Link

inline uint32_t Ports::SendFrame(const fw::FrameOut& out, uint64_t* lease) {
  wire::OutFrame frame;
  frame.header = {static_cast<const uint8_t*>(out.header), out.header_length};
  frame.segment_size = out.segment_size;
  std::memcpy(frame.link_address.data(), out.link_address, frame.link_address.size());
  if (out.payload != 0) {
    const PayloadSlot& slot = payloads_[out.payload - 1];
    frame.payload = {slot.pieces.data(), slot.count};
    frame.payload_stable = slot.stable;
  }
  *lease = 0;
  const wire::SendResult result = wire_.Send(frame, lease);
  if (result == wire::SendResult::kBusy) return fw::kSendBusy;
  if (out.payload != 0) free_payloads_.push_back(out.payload);
  if (result == wire::SendResult::kNoRoute) return fw::kSendNoRoute;
  sent_ = true;
  return fw::kSendOk;
}

inline uint32_t Ports::PollFrame(fw::FrameIn* out) {
  if (free_frames_.empty()) return 0;
  const uint32_t handle = free_frames_.back();
  FrameSlot& slot = frames_[handle - 1];
  wire::InFrame& frame = slot.frame;
  frame.peer_down = false;
  if (!wire_.Receive(&frame)) return 0;
  free_frames_.pop_back();
  slot.held = true;
  out->frame = handle;
  out->sum = 0;
  if (frame.peer_down) [[unlikely]] {
    frame.pieces = {};
    frame.length = 0;
    out->header = frame.peer.bytes;
    out->header_length = sizeof(frame.peer.bytes);
    out->length = 0;
    out->flags = fw::kFramePeerDown;
    return 1;
  }
  const iovec& first = frame.pieces.front();
  out->header = static_cast<const uint8_t*>(first.iov_base);
  out->header_length = static_cast<uint32_t>(std::min<size_t>(first.iov_len, frame.length));
  out->length = frame.length;
  if (frame.checksum_vouched) {
    out->flags = fw::kFrameTrusted;
  } else {
    out->flags = fw::kFrameSumValid;
    if (frame.length > kIpv6HeaderBytes) {
      out->sum = SumFrame(handle, kIpv6HeaderBytes, frame.length - kIpv6HeaderBytes);
    }
  }
  return 1;
}

uint32_t Ports::SumFrame(uint32_t frame, uint32_t offset, uint32_t length) const {
  RunningSum running;
  const bool complete = VisitFrame(frames_[frame - 1].frame.pieces, offset, length,
                                   [&](std::span<const uint8_t> part) { running.Add(part); });
  if (!complete) Die("frame_sum beyond the frame's end");
  return running.value();
}

void Ports::ReadFrame(uint32_t frame, uint32_t offset, uint32_t length, uint8_t* to) const {
  const bool complete = VisitFrame(frames_[frame - 1].frame.pieces, offset, length,
                                   [&](std::span<const uint8_t> part) {
                                     std::memcpy(to, part.data(), part.size());
                                     to += part.size();
                                   });
  if (!complete) Die("frame_read beyond the frame's end");
}

inline void Ports::ReleaseFrame(uint32_t frame) {
  FrameSlot& slot = frames_[frame - 1];
  if (!slot.held) [[unlikely]]
    Die("frame_release of a frame that is not held");
  slot.held = false;
  // A link event borrows nothing from the wire.
  if (!slot.frame.peer_down) wire_.Release(slot.frame);
  free_frames_.push_back(frame);
}

void Ports::ReleaseFrames() {
  for (uint32_t handle = 1; handle <= kFrameSlots; ++handle) {
    if (frames_[handle - 1].held) ReleaseFrame(handle);
  }
}

// --- Randomness and accounting

uint64_t Ports::Random() {
  // The kernel's generator, a batch at a time: initial sequence numbers and hash keys must not be
  // guessable (RFC 6528), which a fast generator of our own would be.
  if (random_used_ == random_.size()) {
    size_t filled = 0;
    while (filled < sizeof(random_)) {
      const ssize_t got = getrandom(reinterpret_cast<uint8_t*>(random_.data()) + filled,
                                    sizeof(random_) - filled, 0);
      if (got > 0) filled += static_cast<size_t>(got);  // else interrupted by a signal
    }
    random_used_ = 0;
  }
  const uint64_t value = random_[random_used_];
  random_[random_used_++] = 0;
  return value;
}

void Ports::Charge(fw::Stage stage, fw::Variant variant) {
  const uint64_t now = ReadCycles();
  // Another core's counter may lag by a few cycles.
  const uint64_t begin = std::min(mark_, now);
  if (occupancy_ != nullptr) occupancy_->Add(stage, variant, now - begin);
  if (timeline_ != nullptr) timeline_->AddStage(stage, variant, begin, now);
  mark_ = ReadCycles();  // the accounting itself belongs to no stage
}

}  // namespace qpip::lanai
