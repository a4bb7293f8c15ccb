// The machine's endpoints and the socket's addresses.
#pragma once

#include "protocols/wireguard/endpoint.h"
#include "sim/wire/udp_peers.h"

namespace qpip::wire {

/// An IPv4 address mapped into IPv6 is an IPv4 endpoint.
wireguard::Endpoint ToEndpoint(const SocketAddress& address);
/// For a socket of `family`: one of AF_INET6 names IPv4 hosts by mapped addresses.
SocketAddress ToSocketAddress(const wireguard::Endpoint& endpoint, int family);

}  // namespace qpip::wire
