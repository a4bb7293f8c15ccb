// What the files of Ports share: host memory, pieces of frames, measuring.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "protocols/common/checksum.h"
#include "sim/lanai/ports.h"

namespace qpip::lanai {

inline uint8_t* HostMemory(uint64_t address) { return reinterpret_cast<uint8_t*>(address); }

// Firmware and host run in one process: a firmware that breaks its side of platform.h has damaged
// memory or is about to. There is nothing to go on with.
[[noreturn]] [[gnu::cold]] void Die(const char* what);

inline uint32_t TotalLength(const fw::DmaSegment* segments, uint32_t count) {
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

extern template void Ports::FillDmaPorts<false>();  // ports_dma.cc
extern template void Ports::FillDmaPorts<true>();
extern template void Ports::FillLinkPorts<false>();  // ports_link.cc
extern template void Ports::FillLinkPorts<true>();

}  // namespace qpip::lanai
