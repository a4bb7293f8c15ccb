// An IPv6 address in network byte order (RFC 4291).
#pragma once

#include <cstdint>

namespace qpip::ipv6 {

struct Address {
  uint8_t bytes[16] = {};
  constexpr bool operator==(const Address&) const = default;
  constexpr bool IsUnspecified() const { return *this == Address{}; }
  constexpr bool IsMulticast() const { return bytes[0] == 0xff; }
  constexpr bool IsLoopback() const {
    Address one;
    one.bytes[15] = 1;
    return *this == one;
  }
};
static_assert(sizeof(Address) == 16);

}  // namespace qpip::ipv6
