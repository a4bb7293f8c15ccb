// An IPv6 address in network byte order (RFC 4291).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace qpip::ipv6 {

struct Address {
  uint8_t bytes[16] = {};
  /// Once a packet and more: two words, where a loop over bytes would be most of the work.
  constexpr bool operator==(const Address& other) const {
    if (std::is_constant_evaluated()) {
      for (uint32_t i = 0; i < sizeof(bytes); ++i) {
        if (bytes[i] != other.bytes[i]) return false;
      }
      return true;
    }
    return std::memcmp(bytes, other.bytes, sizeof(bytes)) == 0;
  }
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
