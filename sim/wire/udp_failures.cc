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
    uint32_t i = 0;
    while (i < count_ && !(entries_[i].where == where)) ++i;
    if (i == count_ && count_ < entries_.size()) ++count_;
    if (i == entries_.size()) i = next_++ % entries_.size();
    entries_[i] = {where, MonotonicNs()};
  }
  return abi::Trouble{.code = error,
                      .peer = peer,
                      .what = "udp wire: cannot send " + std::to_string(bytes) + " bytes to " +
                              SocketText(where) + ": " + std::strerror(error) + ": " +
                              Advice(error)};
}

bool UdpFailures::Refused(const SocketAddress& where, uint64_t now_ns) {
  for (uint32_t i = 0; i < count_; ++i) {
    if (!(entries_[i].where == where)) continue;
    if (now_ns - entries_[i].noted_ns < kMomentNs) return true;
    entries_[i] = entries_[--count_];
    return false;
  }
  return false;
}

}  // namespace qpip::wire
