// What a UDP socket's path says about datagrams that it could not carry.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/wire/udp_peers.h"

namespace qpip::wire {

/// Bytes in front of a datagram's content: UDP and the outer IP header.
uint32_t OuterBytes(const SocketAddress& to);

/// Bytes of the largest IP packet that the kernel believes to pass towards `to`: its route's, or
/// what routers have said since. 0: it has no route.
uint32_t PathMtu(const SocketAddress& to);

/// Bytes of the largest IP packet on any interface that a socket bound to `local` can be reached
/// by; 0: none is up.
uint32_t InterfaceMtu(const SocketAddress& local);

/// Has a socket keep errors that routers and hosts send back (IP_RECVERR), and its datagrams whole
/// on their way. What the kernel does not know it does without.
void AskForErrors(int socket, int family);

/// Has the kernel cut datagrams that a path does not take whole (RFC 8200 section 5: below IPv6,
/// where not even its least MTU passes).
void AllowFragments(int socket, int family);

/// What AskForErrors brings.
struct PathError {
  int error = 0;       ///< errno: ECONNREFUSED is a closed port
  SocketAddress to;    ///< where the datagram had been sent
  uint32_t mtu = 0;    ///< EMSGSIZE: bytes of the largest IP packet that passes
  bool local = false;  ///< this machine's finding, which the send call has returned as well
  std::vector<uint8_t> packet;  ///< the datagram's content, as far as it has come back
};

/// The oldest error that a socket keeps; nullopt: it keeps none.
std::optional<PathError> NextPathError(int socket);

/// What a look at a socket's errors has come to.
struct ErrorsTaken {
  bool others = false;  ///< there was one that no send call has returned
  bool more = false;    ///< the socket may keep more: a look takes some dozens at the most
};
/// Takes the errors that a socket keeps; `use` is given those that no send call has returned.
ErrorsTaken TakePathErrors(int socket, const std::function<void(const PathError&)>& use);

/// The ICMPv6 error by which a router on an IPv6 path would have told a packet's sender the same:
/// from the packet's destination, which is all that is known of the path. Empty: there is none, or
/// of the packet too little is there. `mtu` is of IPv6 packets inside of datagrams.
std::vector<uint8_t> IcmpErrorAbout(std::span<const uint8_t> packet, int error, uint32_t mtu);

}  // namespace qpip::wire
