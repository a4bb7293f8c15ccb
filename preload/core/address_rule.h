// Which addresses are QPIP's: all others stay the kernel's.
//
//   QPIP_SOCKETS          the NIC's URI (docs/uri.md)
//   QPIP_SOCKETS_PREFIX   prefixes with commas between, PREFIX/LENGTH in IPv6 or IPv4 notation,
//   whose
//                         addresses are reached through the NIC. Without it: the /64 around the
//                         NIC's address, or for ::ffff:a.b.c.d the /24 around a.b.c.d
//   QPIP_SOCKETS_ANY      "nic" (the default) or "kernel": whose a socket is that is bound to the
//                         unspecified address
//
// A URI without an address takes one out of the first prefix, by the process's number.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qpip/types.h"

namespace qpip::preload {

/// The text of `address` if it is AF_INET6, or AF_INET (as ::ffff:a.b.c.d); nullopt for others and
/// for what is too short.
std::optional<Endpoint> ToEndpoint(const sockaddr* address, socklen_t length);
/// Writes `endpoint` as an address of `family` (AF_INET or AF_INET6), cut off where `*length` says,
/// as accept(2) does; `*length` becomes the whole length.
void FromEndpoint(const Endpoint& endpoint, int family, sockaddr* out, socklen_t* length);
bool IsUnspecified(const in6_addr& address);  ///< "::" or ::ffff:0.0.0.0
bool IsMapped(const in6_addr& address);       ///< ::ffff:a.b.c.d

/// A value; thread-safe once made.
class AddressRule {
 public:
  /// `prefixes` and `any` as the variables above have them; `process`: a number that stands for it.
  /// Throws ParseError.
  AddressRule(std::string_view uri, std::string_view prefixes, std::string_view any, int process);

  const std::string& uri() const { return uri_; }  ///< to open, with an address
  const in6_addr& address() const { return address_; }
  /// Whether a connection to `peer` of a socket of `family` goes through the NIC.
  bool Reaches(const in6_addr& peer, int family) const;
  /// Whether a socket of `family` that is bound to `local` is the NIC's.
  bool Binds(const in6_addr& local, int family) const;

 private:
  struct Prefix {
    in6_addr address;
    int length;
  };
  static Prefix ParsePrefix(std::string_view text);
  /// IPv4 sockets have IPv4 peers, which answer to an IPv4 address only.
  bool Speaks(int family) const { return family == AF_INET6 || IsMapped(address_); }

  std::string uri_;
  in6_addr address_ = {};
  std::vector<Prefix> prefixes_;
  bool any_ = true;
};

}  // namespace qpip::preload
