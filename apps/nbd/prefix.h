// Which clients may see an export: prefixes of addresses.
#pragma once

#include <netinet/in.h>

#include <optional>
#include <string>

namespace qpip::nbd {

/// Of IPv6 addresses; IPv4's are those of ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
struct Prefix {
  in6_addr address = {};
  unsigned bits = 128;  ///< of it that count

  bool Contains(const in6_addr& other) const;
};

/// "fd00::/8", "192.0.2.0/24", or an address alone. Throws apps::UsageError: not such, or bits
/// behind the prefix that are not zero.
Prefix ParsePrefix(const std::string& text);

/// nullopt: a program on this machine, which has none.
using ClientAddress = std::optional<in6_addr>;

/// The IPv6 address that stands for an IPv4 one.
in6_addr MappedAddress(const in_addr& four);

}  // namespace qpip::nbd
