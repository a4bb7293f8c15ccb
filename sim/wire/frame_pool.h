// Buffers for wires that read frames from a descriptor: filled by the wire, borrowed by the core.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/wire/wire.h"

namespace qpip::wire {

/// A fixed number of buffers of one size. Those just given back are taken first: they are still in
/// the cache. Memory is touched only as far as it is used.
class FramePool {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  FramePool(uint32_t count, size_t bytes)
      : bytes_(bytes), memory_(new uint8_t[count * bytes]), pieces_(count), lent_(count, false) {
    for (uint32_t index = count; index-- > 0;) free_.push_back(index);
  }

  size_t bytes() const { return bytes_; }
  uint8_t* At(uint32_t index) { return memory_.get() + index * bytes_; }

  /// A buffer to fill, or kNone.
  uint32_t Take() {
    if (free_.empty()) return kNone;
    const uint32_t index = free_.back();
    free_.pop_back();
    return index;
  }
  /// Gives back a taken buffer that was not lent.
  void Give(uint32_t index) { free_.push_back(index); }

  /// Lends a taken buffer's bytes as a frame, until Release.
  void Lend(uint32_t index, size_t offset, uint32_t length, InFrame* frame) {
    lent_[index] = true;
    pieces_[index] = {At(index) + offset, length};
    frame->pieces = {&pieces_[index], 1};
    frame->length = length;
    frame->token = index + 1;
    frame->peer_down = false;
    frame->peer = {};
  }
  /// Takes a lent frame back; anything else is ignored.
  void Release(const InFrame& frame) {
    if (frame.token == 0 || frame.token > lent_.size() || !lent_[frame.token - 1]) return;
    lent_[frame.token - 1] = false;
    Give(static_cast<uint32_t>(frame.token - 1));
  }

 private:
  const size_t bytes_;
  const std::unique_ptr<uint8_t[]> memory_;
  std::vector<iovec> pieces_;
  std::vector<bool> lent_;
  std::vector<uint32_t> free_;
};

}  // namespace qpip::wire
