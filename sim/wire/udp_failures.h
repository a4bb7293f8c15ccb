// Destinations that the kernel refuses to send to: no route, a filter, a datagram too large.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "host_lib/port/host_port.h"
#include "sim/wire/udp_peers.h"

namespace qpip::wire {

/// "192.0.2.1:4791" or "[2001:db8::1]:4791".
std::string SocketText(const SocketAddress& address);

class UdpFailures {
 public:
  /// The kernel would not take a datagram of `bytes` to `where`, meant for `peer`. Returns what to
  /// tell; nullopt for what passes by itself, as a full queue.
  std::optional<abi::Trouble> Note(int error, uint32_t bytes, const abi::Ip6Address& peer,
                                   const SocketAddress& where);
  /// Somebody on the way, or `where` itself, has answered a datagram for `peer` by an error.
  /// Returns what to tell, once a moment for each socket. Nothing is refused on its account: what
  /// answers may be a liar.
  std::optional<abi::Trouble> NoteAnswer(int error, const abi::Ip6Address& peer,
                                         const SocketAddress& where);
  bool any() const { return refused_.count != 0; }
  /// Was the latest attempt refused, a moment ago? Then another would be too. An attempt to connect
  /// ends by that, as it does where nobody has the address; what is established goes on trying.
  bool Refused(const SocketAddress& where, uint64_t now_ns);

 private:
  struct Entry {
    SocketAddress where;
    uint64_t noted_ns = 0;
  };
  /// The latest of a kind.
  struct Table {
    std::array<Entry, 8> entries;  ///< the first `count` are in use
    uint32_t count = 0;
    uint32_t next = 0;  ///< whose place a further one takes
    void Note(const SocketAddress& where);
    /// Within the last moment; older ones are forgotten.
    bool Lately(const SocketAddress& where, uint64_t now_ns);
  };
  Table refused_;
  Table answered_;
};

}  // namespace qpip::wire
