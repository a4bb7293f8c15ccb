// Who is behind which socket address: the static table of a `udp:` wire, and what it has learned.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <vector>

#include "nic_fw/abi/work_queue.h"
#include "protocols/common/siphash.h"

namespace qpip::wire {

/// An IPv4 or IPv6 socket address.
struct SocketAddress {
  union {
    sockaddr base;
    sockaddr_in v4;
    sockaddr_in6 v6 = {};
  };
  bool operator==(const SocketAddress& other) const;
  socklen_t length() const { return base.sa_family == AF_INET ? sizeof v4 : sizeof v6; }
  /// Every address of this machine.
  bool any() const;
  uint16_t port() const { return ntohs(base.sa_family == AF_INET ? v4.sin_port : v6.sin6_port); }
};

/// The address that `host` and `port` name, for a socket of `family` (AF_UNSPEC: whichever comes
/// first). An empty host is every address of this machine. Throws std::runtime_error.
SocketAddress ResolveSocketAddress(const std::string& host, uint16_t port, int family);

/// IPv6 address of a NIC -> socket address. A table with windows of eight entries: what is learned
/// takes a free place in its window or the one least recently heard of, so that senders who make
/// addresses up cannot make it grow, and static entries are never driven out.
class UdpPeers {
 public:
  /// `static_count`: entries that Fix will be called for.
  explicit UdpPeers(uint32_t static_count);

  /// A static entry. Returns false when the address has one already.
  bool Fix(const abi::Ip6Address& address, const SocketAddress& where);
  /// nullptr: not known.
  const SocketAddress* Find(const abi::Ip6Address& address) const {
    const Entry* entry = Lookup(address);
    return entry == nullptr ? nullptr : &entry->where;
  }
  /// What to think of a frame that says it is from `address` and came from `from`.
  enum class Judgement : uint8_t {
    kFixed,      ///< a static entry, and it agrees
    kNotItsOwn,  ///< a static entry that names another socket
    kUnknown,    ///< no static entry
  };
  Judgement Judge(const abi::Ip6Address& address, const SocketAddress& from) const;
  /// Remembers where `address` was heard from last. Not for static entries.
  void Learn(const abi::Ip6Address& address, const SocketAddress& from);
  uint64_t learned() const { return learned_; }

 private:
  static constexpr uint32_t kWindow = 8;
  struct Entry {
    abi::Ip6Address address = {};  ///< unspecified: free
    bool fixed = false;
    uint64_t heard = 0;  ///< tick of the last Learn
    SocketAddress where;
  };
  uint32_t Start(const abi::Ip6Address& address) const;
  const Entry* Lookup(const abi::Ip6Address& address) const;

  SipHashKey key_;
  uint32_t mask_;
  std::vector<Entry> entries_;
  uint64_t tick_ = 0;
  uint64_t learned_ = 0;  ///< addresses that were new or had moved
};

}  // namespace qpip::wire
