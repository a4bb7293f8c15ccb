#include "sim/wire/udp_peers.h"

#include <netdb.h>
#include <sys/random.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>

namespace qpip::wire {
namespace {

constexpr uint32_t kMostLearned = 4096;

}  // namespace

bool SocketAddress::any() const {
  return base.sa_family == AF_INET ? v4.sin_addr.s_addr == htonl(INADDR_ANY)
                                   : IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr) != 0;
}

bool SocketAddress::operator==(const SocketAddress& other) const {
  if (base.sa_family != other.base.sa_family) return false;
  if (base.sa_family == AF_INET) {
    return v4.sin_port == other.v4.sin_port && v4.sin_addr.s_addr == other.v4.sin_addr.s_addr;
  }
  return v6.sin6_port == other.v6.sin6_port && v6.sin6_scope_id == other.v6.sin6_scope_id &&
         std::memcmp(&v6.sin6_addr, &other.v6.sin6_addr, sizeof v6.sin6_addr) == 0;
}

SocketAddress ResolveSocketAddress(const std::string& host, uint16_t port, int family) {
  SocketAddress address;
  if (host.empty()) {
    address.v6 = {};
    address.v6.sin6_family = AF_INET6;  // the unspecified address; IPv4 is mapped into it
    address.v6.sin6_port = htons(port);
    return address;
  }
  addrinfo hints = {};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_DGRAM;
  // A socket for both families names IPv4 hosts by mapped addresses.
  hints.ai_flags = AI_NUMERICSERV | (family == AF_INET6 ? AI_V4MAPPED | AI_ALL : 0);
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    throw std::runtime_error("udp wire: cannot find host \"" + host + "\": " +
                             (error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)) +
                             "; give an address of the local socket's family, as 192.0.2.1 or "
                             "[2001:db8::1]");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::memcpy(&address.v6, found->ai_addr,
              found->ai_addrlen < sizeof address.v6 ? found->ai_addrlen : sizeof address.v6);
  return address;
}

UdpPeers::UdpPeers(uint32_t static_count)
    : mask_(std::bit_ceil(2 * (kMostLearned + static_count)) - 1), entries_(mask_ + 1) {
  // Not guessable, so that nobody can choose addresses that share a window.
  if (::getrandom(&key_, sizeof key_, 0) != sizeof key_) {
    throw std::system_error(errno, std::generic_category(), "cannot get random bytes");
  }
}

uint32_t UdpPeers::Start(const abi::Ip6Address& address) const {
  return static_cast<uint32_t>(SipHash24(key_, address.bytes)) & mask_;
}

const UdpPeers::Entry* UdpPeers::Lookup(const abi::Ip6Address& address) const {
  const uint32_t start = Start(address);
  for (uint32_t i = 0; i < kWindow; ++i) {
    const Entry& entry = entries_[(start + i) & mask_];
    if (entry.address == address) return &entry;
  }
  return nullptr;
}

bool UdpPeers::Fix(const abi::Ip6Address& address, const SocketAddress& where) {
  if (Lookup(address) != nullptr) return false;
  const uint32_t start = Start(address);
  for (uint32_t i = 0; i < kWindow; ++i) {
    Entry& entry = entries_[(start + i) & mask_];
    if (!(entry.address == abi::Ip6Address{})) continue;
    entry.address = address;
    entry.fixed = true;
    entry.where = where;
    return true;
  }
  // The window is full of static entries, which less than half a table of them hardly makes: a
  // larger table keeps them apart.
  std::vector<Entry> old = std::move(entries_);
  mask_ = 2 * mask_ + 1;
  entries_.assign(mask_ + 1, Entry{});
  for (const Entry& entry : old) {
    if (entry.fixed) Fix(entry.address, entry.where);
  }
  return Fix(address, where);
}

UdpPeers::Judgement UdpPeers::Judge(const abi::Ip6Address& address,
                                    const SocketAddress& from) const {
  const Entry* entry = Lookup(address);
  if (entry == nullptr || !entry->fixed) return Judgement::kUnknown;
  return entry->where == from ? Judgement::kFixed : Judgement::kNotItsOwn;
}

void UdpPeers::Learn(const abi::Ip6Address& address, const SocketAddress& from) {
  ++tick_;
  const uint32_t start = Start(address);
  Entry* place = nullptr;
  for (uint32_t i = 0; i < kWindow; ++i) {
    Entry& entry = entries_[(start + i) & mask_];
    if (entry.address == address) {
      if (entry.fixed) return;
      place = &entry;
      break;
    }
    if (!entry.fixed && (place == nullptr || entry.heard < place->heard)) place = &entry;
  }
  if (place == nullptr) return;
  if (!(place->address == address) || !(place->where == from)) ++learned_;
  place->address = address;
  place->heard = tick_;
  place->where = from;
}

}  // namespace qpip::wire
