#include "sim/wire/wg_endpoint.h"

#include <netinet/in.h>

#include <cstring>

namespace qpip::wire {
namespace {

constexpr size_t kMappedOffset = 12;  ///< of the IPv4 address in a mapped one (RFC 4291 2.5.5.2)

}  // namespace

wireguard::Endpoint ToEndpoint(const SocketAddress& address) {
  wireguard::Endpoint endpoint;
  endpoint.port = address.port();
  if (address.base.sa_family == AF_INET) {
    endpoint.family = wireguard::Endpoint::Family::kIpv4;
    std::memcpy(endpoint.address.data(), &address.v4.sin_addr, sizeof address.v4.sin_addr);
  } else if (IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr)) {
    endpoint.family = wireguard::Endpoint::Family::kIpv4;
    std::memcpy(endpoint.address.data(), &address.v6.sin6_addr.s6_addr[kMappedOffset], 4);
  } else {
    endpoint.family = wireguard::Endpoint::Family::kIpv6;
    std::memcpy(endpoint.address.data(), &address.v6.sin6_addr, sizeof address.v6.sin6_addr);
    endpoint.scope = address.v6.sin6_scope_id;
  }
  return endpoint;
}

SocketAddress ToSocketAddress(const wireguard::Endpoint& endpoint, int family) {
  SocketAddress address;
  if (family == AF_INET) {
    address.v4 = {};
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(endpoint.port);
    std::memcpy(&address.v4.sin_addr, endpoint.address.data(), sizeof address.v4.sin_addr);
    return address;
  }
  address.v6 = {};
  address.v6.sin6_family = AF_INET6;
  address.v6.sin6_port = htons(endpoint.port);
  address.v6.sin6_scope_id = endpoint.scope;
  uint8_t* bytes = address.v6.sin6_addr.s6_addr;
  if (endpoint.family == wireguard::Endpoint::Family::kIpv4) {
    bytes[kMappedOffset - 2] = bytes[kMappedOffset - 1] = 0xff;
    std::memcpy(bytes + kMappedOffset, endpoint.address.data(), 4);
  } else {
    std::memcpy(bytes, endpoint.address.data(), endpoint.address.size());
  }
  return address;
}

}  // namespace qpip::wire
