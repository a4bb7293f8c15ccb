#include "sim/wire/udp_errors.h"

#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <ifaddrs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/header.h"
#include "sim/wire/descriptor.h"

namespace qpip::wire {
namespace {

constexpr uint32_t kUdpBytes = 8;
constexpr uint32_t kIpv4Bytes = 20;
/// Of a refused packet, with the headers of the error message: RFC 4443 2.4 (c).
constexpr size_t kMostQuoted = ipv6::kMinMtu - ipv6::kHeaderBytes - icmpv6::kHeaderBytes;

bool IsIpv4(const SocketAddress& address) {
  return address.base.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr);
}

// A mapped address as the plain one.
SocketAddress Plain(const SocketAddress& address) {
  if (address.base.sa_family == AF_INET || !IsIpv4(address)) return address;
  SocketAddress plain;
  plain.v4 = {};
  plain.v4.sin_family = AF_INET;
  plain.v4.sin_port = address.v6.sin6_port;
  std::memcpy(&plain.v4.sin_addr, &address.v6.sin6_addr.s6_addr[12], 4);
  return plain;
}

bool SameHost(const sockaddr& interface, const SocketAddress& address) {
  if (interface.sa_family != address.base.sa_family) return false;
  if (interface.sa_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(interface).sin_addr.s_addr ==
           address.v4.sin_addr.s_addr;
  }
  return std::memcmp(&reinterpret_cast<const sockaddr_in6&>(interface).sin6_addr,
                     &address.v6.sin6_addr, sizeof(in6_addr)) == 0;
}

bool IsUnspecified(const SocketAddress& address) {
  return address.base.sa_family == AF_INET ? address.v4.sin_addr.s_addr == INADDR_ANY
                                           : IN6_IS_ADDR_UNSPECIFIED(&address.v6.sin6_addr);
}

uint32_t MtuOf(int socket, const char* interface) {
  ifreq request = {};
  std::strncpy(request.ifr_name, interface, sizeof request.ifr_name - 1);
  return ::ioctl(socket, SIOCGIFMTU, &request) == 0 ? static_cast<uint32_t>(request.ifr_mtu) : 0;
}

}  // namespace

uint32_t OuterBytes(const SocketAddress& to) {
  return kUdpBytes + (IsIpv4(to) ? kIpv4Bytes : static_cast<uint32_t>(ipv6::kHeaderBytes));
}

uint32_t PathMtu(const SocketAddress& to) {
  const SocketAddress plain = Plain(to);
  const int family = plain.base.sa_family;
  const Descriptor probe(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP));
  if (!probe.valid() || ::connect(probe.get(), &plain.base, plain.length()) != 0) return 0;
  int mtu = 0;
  socklen_t length = sizeof mtu;
  const bool v4 = family == AF_INET;
  if (::getsockopt(probe.get(), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu,
                   &length) != 0) {
    return 0;
  }
  return static_cast<uint32_t>(std::max(mtu, 0));
}

uint32_t InterfaceMtu(const SocketAddress& local) {
  const SocketAddress address = Plain(local);
  const bool any = IsUnspecified(address);
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return 0;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint32_t outside = 0;
  uint32_t loopback = 0;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if ((one->ifa_flags & IFF_UP) == 0 || one->ifa_addr == nullptr) continue;
    if (!any && !SameHost(*one->ifa_addr, address)) continue;
    uint32_t& mtu = (one->ifa_flags & IFF_LOOPBACK) != 0 ? loopback : outside;
    mtu = std::max(mtu, MtuOf(socket.get(), one->ifa_name));
  }
  return outside != 0 ? outside : loopback;
}

void AskForErrors(int socket, int family) {
  const int on = 1;
  const int whole4 = IP_PMTUDISC_DO;
  const int whole6 = IPV6_PMTUDISC_DO;
  ::setsockopt(socket, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  ::setsockopt(socket, IPPROTO_IP, IP_MTU_DISCOVER, &whole4, sizeof whole4);
  if (family != AF_INET6) return;
  ::setsockopt(socket, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
  ::setsockopt(socket, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &whole6, sizeof whole6);
}

void AllowFragments(int socket, int family) {
  const int cut4 = IP_PMTUDISC_DONT;
  const int cut6 = IPV6_PMTUDISC_DONT;
  ::setsockopt(socket, IPPROTO_IP, IP_MTU_DISCOVER, &cut4, sizeof cut4);
  if (family != AF_INET6) return;
  ::setsockopt(socket, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &cut6, sizeof cut6);
}

std::optional<PathError> NextPathError(int socket) {
  PathError found;
  found.packet.resize(kMostQuoted);
  iovec piece = {found.packet.data(), found.packet.size()};
  alignas(cmsghdr) std::array<uint8_t, 512> control;
  msghdr message = {};
  message.msg_name = &found.to.base;
  message.msg_namelen = sizeof found.to.v6;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (got < 0) return std::nullopt;
  found.packet.resize(static_cast<size_t>(got));
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    const bool v4 = one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_RECVERR;
    const bool v6 = one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_RECVERR;
    if (!v4 && !v6) continue;
    sock_extended_err error;
    std::memcpy(&error, CMSG_DATA(one), sizeof error);
    found.error = static_cast<int>(error.ee_errno);
    found.local = error.ee_origin == SO_EE_ORIGIN_LOCAL;
    if (found.error == EMSGSIZE) found.mtu = error.ee_info;
  }
  return found;
}

ErrorsTaken TakePathErrors(int socket, const std::function<void(const PathError&)>& use) {
  constexpr uint32_t kMostAtATime = 64;
  ErrorsTaken taken;
  for (uint32_t i = 0; i < kMostAtATime; ++i) {
    const auto error = NextPathError(socket);
    if (!error.has_value()) return taken;
    if (error->local) continue;
    taken.others = true;
    use(*error);
  }
  taken.more = true;
  return taken;
}

std::vector<uint8_t> IcmpErrorAbout(std::span<const uint8_t> packet, int error, uint32_t mtu) {
  icmpv6::Header header;
  header.type = icmpv6::kDestinationUnreachable;
  switch (error) {
    case ECONNREFUSED:
      // Of the packet's port nothing is known: its host is not there. A hard error, as that would
      // be.
      header.code = icmpv6::kRejectRoute;
      break;
    case EMSGSIZE:
      if (mtu < ipv6::kMinMtu) return {};
      header.type = icmpv6::kPacketTooBig;
      header.body = mtu;
      break;
    case EHOSTUNREACH:
    case ENETUNREACH:
      header.code = icmpv6::kNoRoute;
      break;
    default:
      return {};
  }
  if (packet.size() < ipv6::kHeaderBytes || packet[0] >> 4 != 6) return {};
  packet = packet.first(std::min(packet.size(), kMostQuoted));
  ipv6::Header ip;
  ip.next_header = ipv6::kIcmpv6;
  ip.payload_length = static_cast<uint16_t>(icmpv6::kHeaderBytes + packet.size());
  std::memcpy(ip.source.bytes, &packet[ipv6::offset::kDestination], sizeof ip.source.bytes);
  std::memcpy(ip.destination.bytes, &packet[ipv6::offset::kSource], sizeof ip.destination.bytes);
  std::vector<uint8_t> frame(ipv6::kHeaderBytes + icmpv6::kHeaderBytes);
  const std::span<uint8_t> bytes(frame);
  ipv6::Emit(ip, bytes.first<ipv6::kHeaderBytes>());
  icmpv6::Emit(header, bytes.subspan<ipv6::kHeaderBytes, icmpv6::kHeaderBytes>());
  frame.insert(frame.end(), packet.begin(), packet.end());
  const uint16_t sum =
      ChecksumAdd(std::span(frame).subspan(ipv6::kHeaderBytes),
                  PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, ipv6::kIcmpv6));
  StoreBe16(&frame[ipv6::kHeaderBytes + 2], static_cast<uint16_t>(~sum));
  return frame;
}

}  // namespace qpip::wire
