// Where the kernel's contenders meet.
#pragma once

#include <netinet/in.h>

#include <cstdint>

namespace qpip::bench {

/// [::1]:`port`, in host byte order.
inline sockaddr_in6 Loopback(uint32_t port) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  address.sin6_port = htons(static_cast<uint16_t>(port));
  return address;
}

}  // namespace qpip::bench
