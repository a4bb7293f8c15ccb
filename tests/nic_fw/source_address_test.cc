// Packets from addresses that nobody may send from (RFC 4291 2.5.2, 2.5.3 and 2.7), and from the
// NIC's own: no answer, no delivery.
#include "packets.h"
#include "protocols/tcp/header.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

constexpr uint16_t kPort = 2000;

/// One packet to the NIC with address 2, its checksum right.
Frame From(const ipv6::Address& source, uint8_t protocol, Bytes upper, size_t checksum_at) {
  Frame frame = MakePacket(protocol, upper);
  std::memcpy(frame.data() + ipv6::offset::kSource, source.bytes, 16);
  StoreBe16(frame.data() + 40 + checksum_at, 0);
  StoreBe16(frame.data() + 40 + checksum_at, static_cast<uint16_t>(~TransportSum(frame, protocol)));
  return frame;
}

Frame Datagram(const ipv6::Address& source, uint16_t to_port) {
  const Frame like = MakeDatagram(kPort, to_port, Pattern(32));
  return From(source, ipv6::kUdp, Bytes(like.begin() + 40, like.end()), udp::offset::kChecksum);
}

Frame Segment(const ipv6::Address& source, uint8_t flags) {
  tcp::Header header;
  header.source_port = 1000;
  header.destination_port = 7;
  header.flags = flags;
  header.window = 65535;
  Bytes bytes(tcp::EmitSize(header));
  tcp::Emit(header, bytes);
  return From(source, ipv6::kTcp, bytes, tcp::offset::kChecksum);
}

Frame Echo(const ipv6::Address& source) {
  Bytes bytes(16);
  bytes[0] = icmpv6::kEchoRequest;
  return From(source, ipv6::kIcmpv6, bytes, 2);
}

/// The first of two fragments.
Frame Fragment(const ipv6::Address& source) {
  Bytes bytes(8 + 64);
  bytes[0] = ipv6::kUdp;
  bytes[3] = 1;  // more
  Frame frame = MakePacket(ipv6::kFragment, bytes);
  std::memcpy(frame.data() + ipv6::offset::kSource, source.bytes, 16);
  return frame;
}

Frame UnknownProtocol(const ipv6::Address& source) {
  Frame frame = MakePacket(200, Bytes(32));
  std::memcpy(frame.data() + ipv6::offset::kSource, source.bytes, 16);
  return frame;
}

ipv6::Address Loopback() {
  ipv6::Address address;
  address.bytes[15] = 1;
  return address;
}

ipv6::Address Multicast() {
  ipv6::Address address;
  address.bytes[0] = 0xff;
  address.bytes[1] = 2;
  address.bytes[15] = 1;
  return address;
}

struct SourceAddress : ::testing::TestWithParam<ipv6::Address> {
  FirmwareBench nic{2};
  std::unique_ptr<TestCq> cq = nic.CreateCq();
  std::unique_ptr<TestQp> qp = nic.CreateQp(*cq, {.type = abi::QpType::kUdp});
  HostMemory sink{nic.hardware, 4096};
  uint32_t key = nic.Register(sink);

  void SetUp() override {
    ASSERT_EQ(nic.Bind(*qp, kPort).status, 0);
    nic.PostRecv(*qp, {SgeOf(sink, key, 0, 4096)});
    const uint32_t listener = nic.Listen(7).result[0];
    auto offered = nic.CreateQp(*cq);
    ASSERT_EQ(nic.Offer(listener, *offered).status, 0);
    nic.Run();
  }
  void ExpectIgnored(const Frame& frame) {
    const uint64_t before = nic.Dropped(abi::DropReason::kBadSourceAddress);
    Arrive(nic, frame);
    nic.Advance(2000 * kMs);
    EXPECT_EQ(nic.hardware.outgoing.size(), 0u);
    EXPECT_EQ(nic.Poll(*cq).size(), 0u);
    EXPECT_EQ(nic.Dropped(abi::DropReason::kBadSourceAddress), before + 1);
  }
};

TEST_P(SourceAddress, GivenDatagramForABoundPortWhenItArrivesThenNobodyGetsIt) {
  ExpectIgnored(Datagram(GetParam(), kPort));
}

TEST_P(SourceAddress, GivenDatagramForNobodyWhenItArrivesThenNoError) {
  ExpectIgnored(Datagram(GetParam(), 999));
}

TEST_P(SourceAddress, GivenSynWhenItArrivesThenNoHandshake) {
  ExpectIgnored(Segment(GetParam(), tcp::kSyn));
}

TEST_P(SourceAddress, GivenAckOfNothingWhenItArrivesThenNoReset) {
  ExpectIgnored(Segment(GetParam(), tcp::kAck));
}

TEST_P(SourceAddress, GivenEchoRequestWhenItArrivesThenNoReply) { ExpectIgnored(Echo(GetParam())); }

TEST_P(SourceAddress, GivenFragmentWhenItArrivesThenItIsNotKept) {
  ExpectIgnored(Fragment(GetParam()));
  EXPECT_EQ(nic.Counter(abi::NicCounter::kFragmentsReceived), 0u);
}

TEST_P(SourceAddress, GivenUnknownProtocolWhenItArrivesThenNoError) {
  ExpectIgnored(UnknownProtocol(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Nobodys, SourceAddress,
                         ::testing::Values(ProtocolAddress(2), ipv6::Address{}, Loopback(),
                                           Multicast()));

TEST(OwnSourceAddress, GivenAWireThatLoopsBackWhenTheNicSendsToItselfThenItArrives) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.link.loops_back = 1;
  FirmwareBench nic{2, config};
  auto cq = nic.CreateCq();
  auto qp = nic.CreateQp(*cq, {.type = abi::QpType::kUdp});
  ASSERT_EQ(nic.Bind(*qp, kPort).status, 0);
  HostMemory sink{nic.hardware, 4096};
  nic.PostRecv(*qp, {SgeOf(sink, nic.Register(sink), 0, 4096)});
  nic.Run();
  Arrive(nic, Datagram(ProtocolAddress(2), kPort));
  EXPECT_EQ(nic.Poll(*cq).size(), 1u);
}

}  // namespace
}  // namespace qpip::fw::test
