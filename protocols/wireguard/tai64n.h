// TAI64N (https://cr.yp.to/libtai/tai64.html): a time as twelve bytes that sort as the times do.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "protocols/common/byte_order.h"

namespace qpip::wireguard {

inline constexpr size_t kTai64nBytes = 12;

/// Big-endian: seconds since 1970 TAI plus 2^62, nanoseconds.
using Tai64n = std::array<uint8_t, kTai64nBytes>;

/// How coarse a timestamp is that leaves this machine, in nanoseconds: a precise one tells of the
/// sender's load. A power of two close to the 20 ms within which no second handshake is taken.
inline constexpr uint32_t kTimestampStepNs = 1u << 24;

/// Of a time since 1970 UTC, rounded down. UTC is taken to be TAI less ten seconds, as everybody
/// who speaks WireGuard does: what counts is that it grows.
constexpr Tai64n ToTai64n(uint64_t unix_ns) {
  constexpr uint64_t kSecond = 1'000'000'000;
  Tai64n out = {};
  StoreBe64(out.data(), 0x400000000000000a + unix_ns / kSecond);
  const auto nanoseconds = static_cast<uint32_t>(unix_ns % kSecond);
  StoreBe32(out.data() + 8, nanoseconds / kTimestampStepNs * kTimestampStepNs);
  return out;
}

}  // namespace qpip::wireguard
