// Packets: what is built is what is parsed, and what is wrong was asked for.
#include <gmock/gmock.h>

#include "qpip/testbench/packet.h"

namespace qpip::testbench {
namespace {

const in6_addr kA = ParseAddress("fd00::a");
const in6_addr kB = ParseAddress("fd00::b");

TcpSegment EveryOption() {
  TcpSegment segment;
  segment.source_port = 1;
  segment.destination_port = 65535;
  segment.sequence = 0xfffffffe;
  segment.acknowledgement = 7;
  segment.flags = kSyn | kAck | kUrg | kEce;
  segment.window = 1234;
  segment.urgent_pointer = 9;
  segment.reserved = 5;
  segment.mss = 1440;
  segment.window_scale = 7;
  segment.sack_permitted = true;
  segment.timestamps = {0x01020304, 0x05060708};
  segment.payload = Pattern(33, 3);
  return segment;
}

TEST(PacketTest, GivenTcpSegmentWhenBuiltThenParsingGivesItBack) {
  const TcpSegment segment = EveryOption();
  const Packet packet = ParsePacket(
      BuildPacket({.source = kA, .destination = kB, .hop_limit = 3, .traffic_class = 0x2e},
                  segment),
      Time(5));
  ASSERT_TRUE(packet.tcp) << packet.error;
  EXPECT_TRUE(packet.checksum_ok);
  EXPECT_EQ(packet.time, Time(5));
  EXPECT_EQ(packet.ip.hop_limit, 3);
  EXPECT_EQ(packet.ip.traffic_class, 0x2e);
  EXPECT_EQ(AddressToString(packet.ip.destination), "fd00::b");
  EXPECT_EQ(packet.tcp->sequence, segment.sequence);
  EXPECT_EQ(packet.tcp->flags, segment.flags);
  EXPECT_EQ(packet.tcp->reserved, 5);
  EXPECT_EQ(packet.tcp->mss, segment.mss);
  EXPECT_EQ(packet.tcp->window_scale, segment.window_scale);
  EXPECT_TRUE(packet.tcp->sack_permitted);
  EXPECT_EQ(packet.tcp->timestamps, segment.timestamps);
  EXPECT_EQ(packet.tcp->urgent_pointer, 9);
  EXPECT_EQ(packet.tcp->payload, segment.payload);
  EXPECT_EQ(packet.tcp->SequenceLength(), 34u);
  EXPECT_EQ(ToString(*packet.tcp),
            "SUE. 4294967294:31(33) ack 7 win 1234 urg 9 "
            "<mss 1440,sackOK,TS val 16909060 ecr 84281096,wscale 7>");
}

TEST(PacketTest, GivenSackRangesWhenBuiltThenParsingGivesThemBack) {
  TcpSegment segment;
  segment.flags = kAck;
  segment.sack = {{10, 20}, {30, 40}};
  const Packet packet = ParsePacket(BuildPacket({.source = kA, .destination = kB}, segment));
  ASSERT_TRUE(packet.tcp);
  EXPECT_EQ(packet.tcp->sack, segment.sack);
  EXPECT_EQ(ToString(*packet.tcp), ". 0:0(0) ack 0 win 65535 <sack 10:20 30:40>");
}

TEST(PacketTest, GivenWrongFieldsAskedForWhenBuiltThenTheyAreThere) {
  TcpSegment segment;
  segment.checksum = 0xdead;
  Packet packet = ParsePacket(BuildPacket({.source = kA, .destination = kB}, segment));
  EXPECT_EQ(packet.tcp->checksum, 0xdead);
  EXPECT_FALSE(packet.checksum_ok);

  segment.checksum.reset();
  segment.data_offset = 4;
  packet = ParsePacket(BuildPacket({.source = kA, .destination = kB}, segment));
  EXPECT_FALSE(packet.tcp);
  EXPECT_FALSE(packet.error.empty());

  UdpDatagram datagram{.source_port = 1, .destination_port = 2, .payload = {1, 2, 3}};
  datagram.length = 4;
  packet = ParsePacket(BuildPacket({.source = kA, .destination = kB}, datagram));
  EXPECT_EQ(packet.udp->length, 4);
  packet = ParsePacket(
      BuildPacket({.source = kA, .destination = kB, .payload_length = uint16_t{99}}, datagram));
  EXPECT_EQ(packet.ip.payload_length, 99);
}

TEST(PacketTest, GivenRawOptionsWhenBuiltThenTheyArePaddedAndKept) {
  TcpSegment segment;
  segment.mss = 500;
  segment.raw_options = {253, 3, 1};
  const Packet packet = ParsePacket(BuildPacket({.source = kA, .destination = kB}, segment));
  ASSERT_TRUE(packet.tcp);
  EXPECT_EQ(packet.tcp->raw_options, (Bytes{2, 4, 1, 0xf4, 253, 3, 1, 0}));
  segment.raw_options.resize(40, 1);
  EXPECT_THROW(BuildPacket({.source = kA, .destination = kB}, segment), std::invalid_argument);
  segment.raw_options.clear();
  segment.sack.resize(5);
  EXPECT_THROW(BuildPacket({.source = kA, .destination = kB}, segment), std::invalid_argument);
}

TEST(PacketTest, GivenExtensionHeadersWhenBuiltThenTheChainIsParsed) {
  const Ipv6Header ip{.source = kA,
                      .destination = kB,
                      .extensions = {{0, {0, 1, 4, 0, 0, 0, 0}}, {44, {0, 0, 0, 1, 2, 3, 4}}}};
  const Packet packet =
      ParsePacket(BuildPacket(ip, Icmpv6Message{.type = 128, .body = 0x10002, .payload = {7}}));
  ASSERT_TRUE(packet.icmp) << packet.error;
  EXPECT_TRUE(packet.checksum_ok);
  ASSERT_EQ(packet.ip.extensions.size(), 2u);
  EXPECT_EQ(packet.ip.extensions[1].type, 44);
  EXPECT_EQ(packet.ip.extensions[1].body, (Bytes{0, 0, 0, 1, 2, 3, 4}));
  EXPECT_EQ(packet.icmp->body, 0x10002u);
  EXPECT_EQ(packet.icmp->payload, Bytes{7});
}

TEST(PacketTest, GivenUdpWhenBuiltThenParsingGivesItBack) {
  const Packet packet =
      ParsePacket(BuildPacket({.source = kA, .destination = kB},
                              UdpDatagram{.source_port = 5, .destination_port = 6, .payload = {}}));
  ASSERT_TRUE(packet.udp);
  EXPECT_TRUE(packet.checksum_ok);
  EXPECT_EQ(packet.udp->length, 8);
  EXPECT_EQ(ToString(packet), "0.000000 [fd00::a]:5 > [fd00::b]:6 udp (0)");
}

TEST(PacketTest, GivenAnyBytesWhenParsedThenNothingIsThrown) {
  const Bytes whole = BuildPacket({.source = kA, .destination = kB}, EveryOption());
  for (size_t length = 0; length < whole.size(); ++length) {
    const Packet packet = ParsePacket(std::span(whole).first(length));
    EXPECT_FALSE(packet.checksum_ok) << length;
  }
  EXPECT_TRUE(ParsePacket(Bytes(60, 0x60)).error.empty());
}

}  // namespace
}  // namespace qpip::testbench
