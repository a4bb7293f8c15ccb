// Payload memory in pieces of any length, out of one area that a NIC may have registered.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::storage {

/// Cuts an area into 64 chunks and lends runs of them. Whoever made the area keeps it, and knows
/// its keys: a buffer's place in the area is its place in the memory region. One thread.
class BufferPool {
 public:
  static constexpr size_t kChunks = 64;

  /// `area`: a multiple of 64 bytes.
  explicit BufferPool(std::span<std::byte> area)
      : area_(area), chunk_bytes_(area.size() / kChunks) {}

  /// `bytes` (at least 1) contiguous bytes; an empty span when they cannot be had now, or ever.
  std::span<std::byte> Take(size_t bytes) {
    const size_t count = (bytes + chunk_bytes_ - 1) / chunk_bytes_;
    if (count == 0 || count > kChunks) return {};
    const int first = FindRun(count);
    if (first < 0) return {};
    used_ |= Mask(count) << first;
    return area_.subspan(static_cast<size_t>(first) * chunk_bytes_, bytes);
  }
  /// Gives back what Take gave.
  void Put(std::span<const std::byte> buffer) {
    const size_t count = (buffer.size() + chunk_bytes_ - 1) / chunk_bytes_;
    used_ &= ~(Mask(count) << (OffsetOf(buffer) / chunk_bytes_));
  }
  size_t OffsetOf(std::span<const std::byte> buffer) const {
    return static_cast<size_t>(buffer.data() - area_.data());
  }

  size_t chunk_bytes() const { return chunk_bytes_; }
  size_t free_chunks() const { return kChunks - static_cast<size_t>(std::popcount(used_)); }

 private:
  static uint64_t Mask(size_t count) {
    return count == kChunks ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
  }
  /// First chunk of the first run of `count` free ones; -1: there is none.
  int FindRun(size_t count) const {
    // Bit i stays set as long as chunks [i, i + run) are free; the run doubles until it is `count`.
    uint64_t starts = ~used_;
    for (size_t run = 1; run < count && starts != 0;) {
      const size_t step = run < count - run ? run : count - run;
      starts &= starts >> step;
      run += step;
    }
    return starts == 0 ? -1 : std::countr_zero(starts);
  }

  std::span<std::byte> area_;
  size_t chunk_bytes_;
  uint64_t used_ = 0;  ///< bit i: chunk i is lent
};

}  // namespace qpip::storage
