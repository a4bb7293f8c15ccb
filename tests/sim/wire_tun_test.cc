// The tun: and tap: wires, against the kernel's stack in a network namespace of each test's own.
// Needs root (or user namespaces' capabilities) and /dev/net/tun; fails without.
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
namespace {

constexpr uint8_t kNic = 1;     // fd00::1, ours
constexpr uint8_t kKernel = 2;  // fd00::2, the kernel's

/// Runs `body` on a thread with a network namespace of its own.
void InNamespace(const std::function<void()>& body) {
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

KernelWireOptions TunOptions(bool offload = true) {
  KernelWireOptions options;
  options.interface = "qpiptest";
  options.address = Address(kNic);
  options.host = HostPrefix{Address(kKernel), 64};
  options.offload = offload;
  return options;
}

constexpr LinkAddress kNicLink = {2, 0, 0, 0, 0, 0x01};
constexpr LinkAddress kKernelLink = {2, 0, 0, 0, 0, 0x99};

/// A TAP device whose both ends know each other's link address.
std::unique_ptr<Wire> OpenTap() {
  KernelWireOptions options = TunOptions();
  options.ethernet = true;
  options.mac = kNicLink;
  auto wire = OpenKernelWire(options);
  EXPECT_EQ(std::system("ip link set qpiptest address 02:00:00:00:00:99 && "
                        "ip neigh replace fd00::1 lladdr 02:00:00:00:00:01 dev qpiptest"),
            0);
  return wire;
}

std::string Refusal(const KernelWireOptions& options) {
  try {
    OpenKernelWire(options);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "(opened)";
}

sockaddr_in6 SocketAddressOf(uint8_t last, uint16_t port) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  std::memcpy(&address.sin6_addr, Address(last).bytes, 16);
  return address;
}

Descriptor KernelSocket(int type, uint16_t port) {
  Descriptor fd(::socket(AF_INET6, type, 0));
  const sockaddr_in6 address = SocketAddressOf(kKernel, port);
  const timeval patience = {20, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::system_error(errno, std::generic_category(), "bind");
  }
  return fd;
}

ipv6::Address ProtocolAddress(uint8_t last) {
  ipv6::Address address;
  std::memcpy(address.bytes, Address(last).bytes, 16);
  return address;
}

/// An IPv6 packet from the NIC to the kernel around `upper`, which starts at the transport header.
Bytes Packet(uint8_t protocol, const Bytes& upper) {
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
Bytes Datagram(uint16_t from, uint16_t to, const Bytes& text) {
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
Seen TakeFrame(Wire* wire, uint8_t protocol) {
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

bool SumIsRight(const Seen& seen) {
  return ChecksumAdd(std::span<const uint8_t>(seen.bytes).subspan(seen.upper.offset),
                     PseudoHeaderSum(seen.ip.source, seen.ip.destination, seen.upper.length,
                                     seen.upper.protocol)) == 0xffff;
}

TEST(TunWire, GivenOneCommandsOptionsWhenOpenedThenTheKernelsSideIsUpWithItsAddressAndMtu) {
  InNamespace([] {
    KernelWireOptions options = TunOptions();
    options.mtu = 9000;
    auto wire = OpenKernelWire(options);
    EXPECT_EQ(wire->mtu(), 9000u);
    EXPECT_EQ(std::system("ip link show dev qpiptest | grep -q 'UP.*mtu 9000'"), 0);
    EXPECT_EQ(std::system("ip -6 addr show dev qpiptest | grep -q 'fd00::2/64.*nodad'"), 0);
    EXPECT_EQ(std::system("ip -6 addr show dev qpiptest | grep 'fd00::2' | grep -q tentative"),
              256);
    wire.reset();
    EXPECT_EQ(::if_nametoindex("qpiptest"), 0u) << "a device made here goes with its wire";
  });
}

TEST(TunWire, GivenNoMtuWhenOpenedThenItIsTheDevices) {
  InNamespace([] {
    ASSERT_EQ(std::system("ip tuntap add dev qpiptest mode tun vnet_hdr && "
                          "ip link set qpiptest mtu 4000"),
              0);
    EXPECT_EQ(OpenKernelWire(TunOptions())->mtu(), 4000u);
    EXPECT_NE(::if_nametoindex("qpiptest"), 0u) << "a device made by others stays";
    EXPECT_EQ(OpenKernelWire(TunOptions())->mtu(), 4000u) << "and can be attached to again";
  });
}

TEST(TunWire, GivenOffloadWhenTheKernelSendsThenItsChecksumIsLeftOutAndVouchedFor) {
  for (const bool offload : {true, false}) {
    InNamespace([&] {
      auto wire = OpenKernelWire(TunOptions(offload));
      EXPECT_EQ(wire->trusted(), offload);
      EXPECT_EQ(wire->segmentation_limit(), offload ? 65535u : 0u);
      const Descriptor socket = KernelSocket(SOCK_DGRAM, 700);
      const sockaddr_in6 to = SocketAddressOf(kNic, 900);
      const Bytes text(1001, 0x5a);
      ASSERT_EQ(::sendto(socket.get(), text.data(), text.size(), 0,
                         reinterpret_cast<const sockaddr*>(&to), sizeof to),
                static_cast<ssize_t>(text.size()));
      const Seen seen = TakeFrame(wire.get(), ipv6::kUdp);
      EXPECT_EQ(seen.Text(8), text);
      EXPECT_EQ(seen.vouched, offload);
      EXPECT_EQ(SumIsRight(seen), !offload);
    });
  }
}

TEST(TunWire, GivenOffloadWhenAnIcmpMessageComesThenItIsToBeVerified) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    // Nobody listens there: the kernel says so.
    ASSERT_EQ(SendBytes(wire.get(), Packet(ipv6::kUdp, Datagram(900, 701, {1, 2, 3}))),
              SendResult::kSent);
    for (;;) {
      const Seen seen = TakeFrame(wire.get(), ipv6::kIcmpv6);
      EXPECT_FALSE(seen.vouched);
      EXPECT_TRUE(SumIsRight(seen));
      if (seen.Text(0)[0] == 1) break;  // destination unreachable
    }
  });
}

TEST(TunWire, GivenADatagramWithoutChecksumWhenSentWithOffloadThenTheKernelDeliversIt) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    const Descriptor socket = KernelSocket(SOCK_DGRAM, 700);
    const auto receives = [&](const Bytes& text) {
      Bytes got(2000);
      const ssize_t bytes = ::recv(socket.get(), got.data(), got.size(), 0);
      got.resize(bytes < 0 ? 0 : static_cast<size_t>(bytes));
      EXPECT_EQ(got, text);
    };
    EXPECT_EQ(SendBytes(wire.get(), Packet(ipv6::kUdp, Datagram(900, 700, {'o', 'n', 'e'}))),
              SendResult::kSent);
    receives({'o', 'n', 'e'});
    // Behind an extension header (destination options: PadN).
    Bytes behind = {ipv6::kUdp, 0, 1, 4, 0, 0, 0, 0};
    const Bytes datagram = Datagram(900, 700, {'t', 'w', 'o'});
    behind.insert(behind.end(), datagram.begin(), datagram.end());
    EXPECT_EQ(SendBytes(wire.get(), Packet(ipv6::kDestinationOptions, behind)), SendResult::kSent);
    receives({'t', 'w', 'o'});
    // Header and payload in pieces.
    Bytes header = Packet(ipv6::kUdp, Datagram(900, 700, Bytes(1000)));
    header.resize(48);
    Bytes half(500, 0x77);
    const iovec pieces[2] = {{half.data(), half.size()}, {half.data(), half.size()}};
    uint64_t lease = 1;
    EXPECT_EQ(wire->Send({header, pieces, true}, &lease), SendResult::kSent);
    EXPECT_EQ(lease, 0u) << "nothing is referred to";
    receives(Bytes(1000, 0x77));
  });
}

TEST(TunWire, GivenADatagramWithAWrongChecksumWhenSentWithoutOffloadThenTheKernelDropsIt) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions(false));
    const Descriptor socket = KernelSocket(SOCK_DGRAM, 700);
    Bytes wrong = Packet(ipv6::kUdp, Datagram(900, 700, {'b', 'a', 'd'}));
    wrong[46] = wrong[47] = 1;
    EXPECT_EQ(SendBytes(wire.get(), wrong), SendResult::kSent);
    Bytes right = Packet(ipv6::kUdp, Datagram(900, 700, {'g', 'o', 'o', 'd'}));
    const uint16_t sum =
        ChecksumAdd(std::span<const uint8_t>(right).subspan(40),
                    PseudoHeaderSum(ProtocolAddress(kNic), ProtocolAddress(kKernel), 12, 17));
    StoreBe16(&right[46], udp::FinishChecksum(sum));
    EXPECT_EQ(SendBytes(wire.get(), right), SendResult::kSent);
    char text[8] = {};
    EXPECT_EQ(::recv(socket.get(), text, sizeof text, 0), 4);
    EXPECT_STREQ(text, "good");
  });
}

/// A TCP peer of the kernel's, as little of one as will do: in order, no loss.
class TinyTcp {
 public:
  TinyTcp(Wire* wire, uint16_t port) : wire_(wire), port_(port) {
    Send(tcp::kSyn, {}, 0);
    for (;;) {
      const Seen seen = Take();
      if (header_.Has(tcp::kSyn) && header_.Has(tcp::kAck)) break;
    }
    sequence_ += 1;
    acknowledged_ = header_.sequence + 1;
    Send(tcp::kAck, {}, 0);
  }
  Seen Take() {
    const Seen seen = TakeFrame(wire_, ipv6::kTcp);
    EXPECT_EQ(tcp::Parse(std::span(seen.bytes).subspan(40), &header_, &header_bytes_),
              tcp::ParseError::kNone);
    return seen;
  }
  /// Sends text as one frame that the wire is to cut.
  void Send(uint8_t flags, const Bytes& text, uint32_t segment_size) {
    tcp::Header header;
    header.source_port = 900;
    header.destination_port = port_;
    header.sequence = sequence_;
    header.acknowledgement = acknowledged_;
    header.flags = flags;
    header.window = 65535;
    Bytes bytes(60);
    bytes.resize(tcp::Emit(header, bytes));
    const size_t header_bytes = bytes.size();
    bytes.insert(bytes.end(), text.begin(), text.end());
    const Bytes packet = Packet(ipv6::kTcp, bytes);
    const iovec payload = {const_cast<uint8_t*>(packet.data()) + 40 + header_bytes, text.size()};
    OutFrame frame;
    frame.header = std::span(packet).first(40 + header_bytes);
    if (!text.empty()) frame.payload = {&payload, 1};
    frame.segment_size = segment_size;
    frame.link_address = kKernelLink;  // counts on a TAP device
    uint64_t lease = 0;
    EXPECT_EQ(wire_->Send(frame, &lease), SendResult::kSent);
    sequence_ += static_cast<uint32_t>(text.size());
  }
  /// Takes text until there are so many bytes. Returns the longest frame's length.
  size_t Receive(Bytes* text, size_t bytes) {
    size_t longest = 0;
    while (text->size() < bytes) {
      const Seen seen = Take();
      if (!(header_.sequence == acknowledged_)) continue;
      EXPECT_TRUE(seen.vouched);
      const Bytes more = seen.Text(header_bytes_);
      text->insert(text->end(), more.begin(), more.end());
      acknowledged_ = acknowledged_ + static_cast<uint32_t>(more.size());
      longest = std::max(longest, seen.bytes.size());
      Send(tcp::kAck, {}, 0);
    }
    return longest;
  }

 private:
  Wire* wire_;
  uint16_t port_;
  tcp::SequenceNumber sequence_{1000};
  tcp::SequenceNumber acknowledged_{0};
  tcp::Header header_;
  size_t header_bytes_ = 0;
};

void ExchangeLongText(std::unique_ptr<Wire> (*open)()) {
  InNamespace([open] {
    auto wire = open();
    const Descriptor listener = KernelSocket(SOCK_STREAM, 700);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    TinyTcp tcp(wire.get(), 700);
    const Descriptor kernel(::accept(listener.get(), nullptr, nullptr));
    ASSERT_TRUE(kernel.valid());
    // Out: 40,000 bytes in one frame.
    Bytes text(40000);
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<uint8_t>(i * 7 + i / 251);
    tcp.Send(tcp::kAck | tcp::kPsh, text, 1400);
    Bytes got(text.size());
    EXPECT_EQ(::recv(kernel.get(), got.data(), got.size(), MSG_WAITALL),
              static_cast<ssize_t>(text.size()));
    EXPECT_EQ(got, text);
    EXPECT_EQ(Counter(*wire, "frames_sent_to_be_segmented"), 1u);
    // In: the kernel sends its initial window in as few frames.
    ASSERT_EQ(::send(kernel.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    Bytes back;
    EXPECT_GT(tcp.Receive(&back, text.size()), 1500u);
    EXPECT_EQ(back, text);
    EXPECT_GT(Counter(*wire, "frames_received_unsegmented"), 0u);
  });
}

TEST(TunWire, GivenOffloadWhenTcpTextIsLongThenItGoesOverInOnePieceBothWays) {
  ExchangeLongText([] { return OpenKernelWire(TunOptions()); });
}

TEST(TapWire, GivenOffloadWhenTcpTextIsLongThenItGoesOverInOnePieceBothWays) {
  ExchangeLongText(OpenTap);
}

TEST(TapWire, GivenAnEthernetLinkWhenFramesPassThenTheWireWritesAndTakesOffTheirHeader) {
  InNamespace([] {
    auto wire = OpenTap();
    ASSERT_TRUE(wire->link_address().has_value());
    EXPECT_EQ(*wire->link_address(), kNicLink);
    const Descriptor socket = KernelSocket(SOCK_DGRAM, 700);
    OutFrame frame;
    const Bytes packet = Packet(ipv6::kUdp, Datagram(900, 700, {'h', 'i'}));
    frame.header = packet;
    uint64_t lease = 0;
    EXPECT_EQ(wire->Send(frame, &lease), SendResult::kSent) << "to nobody on the link";
    frame.link_address = kKernelLink;
    EXPECT_EQ(wire->Send(frame, &lease), SendResult::kSent);
    char text[8] = {};
    EXPECT_EQ(::recv(socket.get(), text, sizeof text, 0), 2);
    EXPECT_EQ(::recv(socket.get(), text, sizeof text, MSG_DONTWAIT), -1);
    const sockaddr_in6 to = SocketAddressOf(kNic, 900);
    ASSERT_EQ(::sendto(socket.get(), "yo", 2, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to),
              2);
    EXPECT_EQ(TakeFrame(wire.get(), ipv6::kUdp).Text(8), (Bytes{'y', 'o'}));
  });
}

TEST(TapWire, GivenFramesOfOtherPortsWhenReceivedThenTheyAreFilteredAsByAMac) {
  InNamespace([] {
    auto wire = OpenTap();
    const Descriptor socket = KernelSocket(SOCK_DGRAM, 700);
    const sockaddr_in6 to = SocketAddressOf(kNic, 900);
    const auto send = [&](const char* text) {
      ASSERT_EQ(
          ::sendto(socket.get(), text, 2, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 2);
    };
    const auto neighbour = [](const char* link) {
      ASSERT_EQ(std::system(
                    (std::string("ip neigh replace fd00::1 dev qpiptest lladdr ") + link).c_str()),
                0);
    };
    neighbour("02:00:00:00:00:77");
    send("no");
    neighbour("33:33:00:00:00:01");  // a group's, around a packet for one: RFC 4443 2.4 (e.4)
    send("no");
    neighbour("02:00:00:00:00:01");
    send("ok");
    EXPECT_EQ(TakeFrame(wire.get(), ipv6::kUdp).Text(8), (Bytes{'o', 'k'}));
    EXPECT_GE(Counter(*wire, "foreign_dropped"), 2u);
  });
}

TEST(TunWire, GivenAFlowsCrowdWhenAnotherSendsThenItIsServedInItsTurn) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    const Descriptor crowd = KernelSocket(SOCK_DGRAM, 700);
    const sockaddr_in6 to = SocketAddressOf(kNic, 900);
    const auto send = [&](const Descriptor& socket) {
      ASSERT_EQ(
          ::sendto(socket.get(), "ab", 2, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 2);
    };
    for (int i = 0; i < 200; ++i) send(crowd);
    // Two of 256 turns may be one: of eight others one at the most is unlucky.
    std::vector<Descriptor> others;
    for (uint16_t i = 0; i < 8; ++i) {
      others.push_back(KernelSocket(SOCK_DGRAM, static_cast<uint16_t>(701 + i)));
      send(others.back());
    }
    uint32_t served = 0;
    for (int i = 0; i < 40; ++i) {
      const Seen seen = TakeFrame(wire.get(), ipv6::kUdp);
      served += LoadBe16(seen.bytes.data() + 40) != 700;
    }
    EXPECT_GE(served, 6u);
  });
}

TEST(TunWire, GivenFramesThatMakeNoSenseWhenSentThenTheyAreRefused) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    EXPECT_EQ(SendBytes(wire.get(), Bytes(39, 0x60)), SendResult::kNoRoute);
    EXPECT_EQ(SendBytes(wire.get(), Bytes(60, 0x45)), SendResult::kNoRoute);
    EXPECT_EQ(SendBytes(wire.get(), Packet(ipv6::kUdp, Bytes(2000))), SendResult::kNoRoute)
        << "longer than the MTU";
    EXPECT_EQ(SendBytes(wire.get(), Packet(ipv6::kTcp, Bytes(10))), SendResult::kNoRoute)
        << "no room for a checksum";
    EXPECT_EQ(Counter(*wire, "sends_refused"), 4u);
  });
}

TEST(TunWire, GivenASleepingPortWhenTheKernelSendsOrItIsWokenThenItIsAwake) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    const Descriptor socket = KernelSocket(SOCK_DGRAM, 700);
    const sockaddr_in6 to = SocketAddressOf(kNic, 900);
    for (uint8_t i = 0; i < 50; ++i) {
      std::thread sender([&] {
        EXPECT_EQ(
            ::sendto(socket.get(), &i, 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 1);
      });
      EXPECT_EQ(TakeFrame(wire.get(), ipv6::kUdp).Text(8), Bytes{i});
      sender.join();
      wire->PrepareSleep();
      wire->Wake();
      wire->Sleep(UINT64_MAX);
    }
  });
}

TEST(TunWire, GivenADeviceThatIsDeletedWhenUsedThenThatIsToldOnceAndTheWireGoesQuiet) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    std::vector<abi::Trouble> troubles;
    wire->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
    ASSERT_EQ(std::system("ip link del qpiptest"), 0);
    InFrame frame;
    uint32_t link_events = 0;
    while (wire->Receive(&frame)) {
      if (frame.peer_down) {
        ++link_events;
        EXPECT_EQ(frame.peer, abi::Ip6Address{}) << "it is everybody that is down";
        EXPECT_EQ(troubles.size(), 1u) << "the reason comes first";
      } else {
        wire->Release(frame);
      }
    }
    EXPECT_EQ(link_events, 1u);
    ASSERT_EQ(troubles.size(), 1u);
    EXPECT_TRUE(troubles[0].fatal);
    EXPECT_EQ(troubles[0].code, ENETDOWN);
    EXPECT_NE(troubles[0].what.find("qpiptest has been deleted"), std::string::npos);
    EXPECT_EQ(SendBytes(wire.get(), Packet(ipv6::kUdp, Datagram(1, 2, {}))), SendResult::kNoRoute);
    wire->PrepareSleep();
    wire->Sleep(MonotonicNs() + 1'000'000);
    const uint64_t deadline = MonotonicNs() + 2'000'000;
    wire->PrepareSleep();
    wire->Sleep(deadline);
    EXPECT_GE(MonotonicNs(), deadline) << "an error on the descriptor does not keep it awake";
    EXPECT_EQ(Counter(*wire, "device_gone"), 1u);
  });
}

TEST(TunWire, GivenAnInterfaceNamedByOddBytesWhenItIsReportedThenTheReportIsJsonAndUtf8) {
  InNamespace([] {
    KernelWireOptions options = TunOptions();
    options.interface = "a\"\\\xff";
    const std::string json = OpenKernelWire(options)->StatisticsJson();
    EXPECT_NE(json.find(R"("interface": "a\"\\\u00ff")"), std::string::npos) << json;
  });
}

/// What a wire warns of when it is opened.
std::vector<std::string> Warnings(const KernelWireOptions& options) {
  std::vector<std::string> warnings;
  const auto wire = OpenKernelWire(options);
  wire->ReportTo([&](const abi::Trouble& trouble) {
    EXPECT_FALSE(trouble.fatal);
    warnings.push_back(trouble.what);
  });
  return warnings;
}

TEST(TunWire, GivenAHostWithARouteToThePrefixWhenOpenedThenItWarnsAndNamesTheInterface) {
  InNamespace([] {
    ASSERT_EQ(std::system("ip tuntap add dev other mode tun && ip link set other up && "
                          "ip addr add fd00::9/64 dev other nodad"),
              0);
    const auto warnings = Warnings(TunOptions());
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_NE(warnings[0].find("a route to fd00::1 already, by other"), std::string::npos);
    EXPECT_NE(warnings[0].find("another prefix, as fd"), std::string::npos) << warnings[0];
  });
}

TEST(TunWire, GivenAHostThatHasTheNicsAddressItselfWhenOpenedThenItWarns) {
  InNamespace([] {
    ASSERT_EQ(std::system("ip link set lo up && ip addr add fd00::1/128 dev lo nodad"), 0);
    EXPECT_EQ(Warnings(TunOptions()).size(), 1u);
  });
}

TEST(TunWire, GivenOnlyADefaultRouteOrThisDevicesOwnWhenOpenedThenThereIsNoWarning) {
  InNamespace([] {
    ASSERT_EQ(std::system("ip tuntap add dev other mode tun && ip link set other up && "
                          "ip -6 route add default dev other && "
                          "ip tuntap add dev qpiptest mode tun vnet_hdr && "
                          "ip link set qpiptest up && ip addr add fd00::2/64 dev qpiptest nodad"),
              0);
    EXPECT_TRUE(Warnings(TunOptions()).empty());
  });
}

TEST(TunWire, GivenANamespaceByPathWhenOpenedFromOutsideThenTheDeviceIsInThere) {
  InNamespace([] {
    const std::string path = "/proc/self/task/" + std::to_string(::gettid()) + "/ns/net";
    std::unique_ptr<Wire> wire;
    // Whoever opens the wire is somewhere else.
    std::thread([&] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
      KernelWireOptions options = TunOptions();
      options.netns = path;
      wire = OpenKernelWire(options);
      EXPECT_EQ(::if_nametoindex("qpiptest"), 0u);
    }).join();
    EXPECT_NE(::if_nametoindex("qpiptest"), 0u);
  });
}

TEST(TunWire, GivenOptionsThatCannotWorkWhenOpenedThenOneLineSaysWhatToDo) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    EXPECT_NE(Refusal(TunOptions()).find("another process has the device open"), std::string::npos);
    KernelWireOptions options = TunOptions();
    options.interface = "lo";
    EXPECT_NE(Refusal(options).find("exists and is no tun device"), std::string::npos);
    options = TunOptions();
    options.netns = "nosuchspace";
    EXPECT_NE(Refusal(options).find("no network namespace /run/netns/nosuchspace"),
              std::string::npos);
    EXPECT_NE(Refusal(options).find("ip netns add nosuchspace"), std::string::npos);
    ASSERT_EQ(std::system("ip tuntap add dev small mode tun && ip link set small mtu 1000"), 0);
    options = TunOptions();
    options.interface = "small";
    options.host.reset();
    EXPECT_NE(Refusal(options).find("the MTU of small is 1000"), std::string::npos);
  });
}

TEST(TunWire, GivenNoPrivilegeWhenOpenedThenOneLineSaysHowRootMayPrepareTheDevice) {
  InNamespace([] {
    // Of this thread only: the system call, not glibc's function, which changes them all.
    ASSERT_EQ(::syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    const std::string why = Refusal(TunOptions());
    EXPECT_NE(why.find("run as root, or let root make the device once: ip tuntap add dev qpiptest "
                       "mode tun user YOU vnet_hdr"),
              std::string::npos)
        << why;
    EXPECT_EQ(why.find('\n'), std::string::npos);
  });
}

}  // namespace
}  // namespace qpip::wire::test
