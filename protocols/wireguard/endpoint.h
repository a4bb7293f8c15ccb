// Where a peer's datagrams come from: an outer address and port.
#pragma once

#include <array>
#include <cstdint>

namespace qpip::wireguard {

struct Endpoint {
  enum class Family : uint8_t { kNone = 0, kIpv4 = 4, kIpv6 = 6 };
  Family family = Family::kNone;
  std::array<uint8_t, 16> address = {};  ///< network byte order; IPv4: the first four, then zeroes
  uint16_t port = 0;                     ///< host byte order
  uint32_t scope = 0;                    ///< interface of a link-local IPv6 address; or 0

  bool known() const { return family != Family::kNone; }
  bool operator==(const Endpoint&) const = default;
};

}  // namespace qpip::wireguard
