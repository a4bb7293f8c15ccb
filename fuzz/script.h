// The fuzzer's bytes, read as a script: what to do next, and with which numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qpip::fuzz {

/// Ends silently: bytes beyond the end are zero.
class Script {
 public:
  Script(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool done() const { return size_ == 0; }
  uint8_t Byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  uint16_t Word() {
    const uint8_t high = Byte();
    return static_cast<uint16_t>(high << 8 | Byte());
  }
  /// At most `count` bytes.
  std::vector<uint8_t> Bytes(size_t count) {
    if (count > size_) count = size_;
    std::vector<uint8_t> out(data_, data_ + count);
    data_ += count;
    size_ -= count;
    return out;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

}  // namespace qpip::fuzz
