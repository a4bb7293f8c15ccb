// For tests of the tun: and tap: wires: a network namespace of each test's own, and packets by
// hand.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/extension.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "protocols/udp/header.h"
#include "sim/wire/descriptor.h"
#include "wire_test_support.h"

namespace qpip::wire::test {

inline constexpr uint8_t kNic = 1;     // fd00::1, ours
inline constexpr uint8_t kKernel = 2;  // fd00::2, the kernel's

/// Runs `body` on a thread with a network namespace of its own.
inline void InNamespace(const std::function<void()>& body) {
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) {
      ADD_FAILURE() << "cannot make a network namespace: " << std::strerror(errno)
                    << "; run this test as root";
      return;
    }
    try {
      body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }).join();
}

inline KernelWireOptions TunOptions(bool offload = true) {
  KernelWireOptions options;
  options.interface = "qpiptest";
  options.address = Address(kNic);
  options.host = HostPrefix{Address(kKernel), 64};
  options.offload = offload;
  return options;
}

inline constexpr LinkAddress kNicLink = {2, 0, 0, 0, 0, 0x01};
inline constexpr LinkAddress kKernelLink = {2, 0, 0, 0, 0, 0x99};

/// A TAP device whose both ends know each other's link address.
inline std::unique_ptr<Wire> OpenTap() {
  KernelWireOptions options = TunOptions();
  options.ethernet = true;
  options.mac = kNicLink;
  auto wire = OpenKernelWire(options);
  EXPECT_EQ(std::system("ip link set qpiptest address 02:00:00:00:00:99 && "
                        "ip neigh replace fd00::1 lladdr 02:00:00:00:00:01 dev qpiptest"),
            0);
  return wire;
}

inline std::string Refusal(const KernelWireOptions& options) {
  try {
    OpenKernelWire(options);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "(opened)";
}

inline sockaddr_in6 SocketAddressOf(uint8_t last, uint16_t port) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  std::memcpy(&address.sin6_addr, Address(last).bytes, 16);
  return address;
}

inline Descriptor KernelSocket(int type, uint16_t port) {
  Descriptor fd(::socket(AF_INET6, type, 0));
  const sockaddr_in6 address = SocketAddressOf(kKernel, port);
  const timeval patience = {20, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::system_error(errno, std::generic_category(), "bind");
  }
  return fd;
}

inline ipv6::Address ProtocolAddress(uint8_t last) {
  ipv6::Address address;
  std::memcpy(address.bytes, Address(last).bytes, 16);
  return address;
}

/// An IPv6 packet from the NIC to the kernel around `upper`, which starts at the transport header.
inline Bytes Packet(uint8_t protocol, const Bytes& upper) {
  Bytes bytes(40);
  ipv6::Header ip;
  ip.next_header = protocol;
  ip.payload_length = static_cast<uint16_t>(upper.size());
  ip.source = ProtocolAddress(kNic);
  ip.destination = ProtocolAddress(kKernel);
  ipv6::Emit(ip, std::span<uint8_t, 40>(bytes.data(), 40));
  bytes.insert(bytes.end(), upper.begin(), upper.end());
  return bytes;
}

/// A UDP datagram without a checksum.
inline Bytes Datagram(uint16_t from, uint16_t to, const Bytes& text) {
  Bytes bytes(8);
  udp::Header header;
  header.source_port = from;
  header.destination_port = to;
  header.length = static_cast<uint16_t>(8 + text.size());
  udp::Emit(header, std::span<uint8_t, 8>(bytes.data(), 8));
  bytes.insert(bytes.end(), text.begin(), text.end());
  return bytes;
}

struct Seen {
  Bytes bytes;
  bool vouched = false;
  ipv6::Header ip;
  ipv6::UpperLayer upper;
  Bytes Text(size_t header) const {
    return {bytes.begin() + static_cast<long>(upper.offset + header), bytes.end()};
  }
};

/// The next frame of `protocol`: the kernel also sends router solicitations and the like.
inline Seen TakeFrame(Wire* wire, uint8_t protocol) {
  Seen seen;
  InFrame frame;
  while (ReceiveWithin(wire, &frame)) {
    seen.bytes = Content(frame);
    seen.vouched = frame.checksum_vouched;
    wire->Release(frame);
    if (ipv6::Parse(seen.bytes, static_cast<uint32_t>(seen.bytes.size()), &seen.ip) ==
            ipv6::ParseError::kNone &&
        ipv6::FindUpperLayer(seen.bytes, seen.ip, &seen.upper) == ipv6::ParseError::kNone &&
        seen.upper.protocol == protocol) {
      return seen;
    }
  }
  throw std::runtime_error("no such frame came");
}

inline bool SumIsRight(const Seen& seen) {
  return ChecksumAdd(std::span<const uint8_t>(seen.bytes).subspan(seen.upper.offset),
                     PseudoHeaderSum(seen.ip.source, seen.ip.destination, seen.upper.length,
                                     seen.upper.protocol)) == 0xffff;
}

}  // namespace qpip::wire::test
