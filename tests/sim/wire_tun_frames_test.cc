// The tun: and tap: wires, against the kernel's stack in a network namespace of each test's own:
// frames both ways. Needs root (or user namespaces' capabilities) and /dev/net/tun; fails without.
#include "wire_tun_support.h"

namespace qpip::wire::test {
namespace {

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

}  // namespace
}  // namespace qpip::wire::test
