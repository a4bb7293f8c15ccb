#include "sim/wire/udp_failures.h"

#include <arpa/inet.h>

#include <cerrno>
#include <cstring>

#include "sim/wire/futex.h"

namespace qpip::wire {
namespace {

/// Longer than the first retransmission of a SYN takes (RFC 6298 2.1), so that the second attempt
/// finds it.
constexpr uint64_t kMomentNs = 1'500'000'000;

const char* Advice(int error) {
  switch (error) {
    case EMSGSIZE:
      return "give a smaller mtu";
    case EACCES:
    case EPERM:
      return "a filter of this machine forbids it (nft list ruleset)";
    default:
      return "see ip route get";
  }
}

}  // namespace

std::string SocketText(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = {};
  const bool v4 = address.base.sa_family == AF_INET;
  const void* bytes = v4 ? static_cast<const void*>(&address.v4.sin_addr)
                         : static_cast<const void*>(&address.v6.sin6_addr);
  if (!v4 && IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr)) {
    ::inet_ntop(AF_INET, &address.v6.sin6_addr.s6_addr[12], text, sizeof text);
    return std::string(text) + ":" + std::to_string(address.port());
  }
  ::inet_ntop(address.base.sa_family, bytes, text, sizeof text);
  return (v4 ? text : "[" + std::string(text) + "]") + ":" + std::to_string(address.port());
}

std::optional<abi::Trouble> UdpFailures::Note(int error, uint32_t bytes,
                                              const abi::Ip6Address& peer,
                                              const SocketAddress& where) {
  if (error == ENOBUFS || error == ENOMEM || error == ECONNREFUSED) return std::nullopt;
  if (error != EMSGSIZE) {  // smaller datagrams may well pass
    refused_.Note(where);
  }
  return abi::Trouble{.code = error,
                      .peer = peer,
                      .what = "udp wire: cannot send " + std::to_string(bytes) + " bytes to " +
                              SocketText(where) + ": " + std::strerror(error) + ": " +
                              Advice(error)};
}

std::optional<abi::Trouble> UdpFailures::NoteAnswer(int error, const abi::Ip6Address& peer,
                                                    const SocketAddress& where) {
  if (error == EMSGSIZE || answered_.Lately(where, MonotonicNs())) return std::nullopt;
  answered_.Note(where);
  const bool closed = error == ECONNREFUSED;
  return abi::Trouble{
      .code = error,
      .peer = peer,
      .what = closed ? "udp wire: nobody listens at " + SocketText(where) +
                           " (port closed): start the peer, or correct the port of peer="
                     : "udp wire: no way to " + SocketText(where) + ": " + std::strerror(error) +
                           ": a router on the way says so"};
}

bool UdpFailures::Refused(const SocketAddress& where, uint64_t now_ns) {
  return refused_.Lately(where, now_ns);
}

void UdpFailures::Table::Note(const SocketAddress& where) {
  uint32_t i = 0;
  while (i < count && !(entries[i].where == where)) ++i;
  if (i == count && count < entries.size()) ++count;
  if (i == entries.size()) i = next++ % entries.size();
  entries[i] = {where, MonotonicNs()};
}

bool UdpFailures::Table::Lately(const SocketAddress& where, uint64_t now_ns) {
  for (uint32_t i = 0; i < count; ++i) {
    if (!(entries[i].where == where)) continue;
    if (now_ns - entries[i].noted_ns < kMomentNs) return true;
    entries[i] = entries[--count];
    return false;
  }
  return false;
}

}  // namespace qpip::wire
