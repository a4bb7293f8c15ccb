// TCP sequence numbers: modulo-2^32 arithmetic as a type (RFC 9293 section 3.4).
#pragma once

#include <cstdint>

namespace qpip::tcp {

/// A point in the 32-bit sequence space. Ordering is only meaningful between numbers less than
/// 2^31 apart, so there is no operator<: use Before / After, which say so.
class SequenceNumber {
 public:
  constexpr SequenceNumber() = default;
  constexpr explicit SequenceNumber(uint32_t value) : value_(value) {}

  constexpr uint32_t value() const { return value_; }
  constexpr bool Before(SequenceNumber other) const {
    return static_cast<int32_t>(value_ - other.value_) < 0;
  }
  constexpr bool After(SequenceNumber other) const { return other.Before(*this); }
  constexpr bool AtOrBefore(SequenceNumber other) const { return !After(other); }
  constexpr bool AtOrAfter(SequenceNumber other) const { return !Before(other); }
  /// True when this number lies in [start, start + size).
  constexpr bool InWindow(SequenceNumber start, uint32_t size) const {
    return value_ - start.value_ < size;
  }
  /// Bytes from here forward to `other`, modulo 2^32.
  constexpr uint32_t DistanceTo(SequenceNumber other) const { return other.value_ - value_; }

  constexpr SequenceNumber operator+(uint32_t bytes) const {
    return SequenceNumber(value_ + bytes);
  }
  constexpr SequenceNumber operator-(uint32_t bytes) const {
    return SequenceNumber(value_ - bytes);
  }
  constexpr SequenceNumber& operator+=(uint32_t bytes) {
    value_ += bytes;
    return *this;
  }
  constexpr bool operator==(const SequenceNumber&) const = default;

 private:
  uint32_t value_ = 0;
};

constexpr SequenceNumber Max(SequenceNumber a, SequenceNumber b) { return a.Before(b) ? b : a; }

}  // namespace qpip::tcp
