// The udp: wire: what the kernel refuses to send, and what paths and hosts answer.
#include <sched.h>

#include <cerrno>
#include <cstdlib>
#include <thread>

#include "protocols/common/byte_order.h"
#include "protocols/icmpv6/message.h"
#include "sim/wire/udp_failures.h"
#include "wire_udp_support.h"

namespace qpip::wire::test {
namespace {

TEST(UdpWire, GivenNoRouteToThePeerWhenSendingThenThatIsToldAndTheNextHasNoRoute) {
  std::thread([] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "run this test as root";
    UdpOptions options = UdpAt(2);
    options.host.clear();
    options.peers = {{{}, "192.0.2.1", 4791}};
    auto wire = OpenUdpWire(options);
    std::vector<abi::Trouble> troubles;
    wire->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
    Give(wire.get(), FrameFrom(2, 1, 60, 1));
    ASSERT_EQ(troubles.size(), 1u);
    EXPECT_EQ(troubles[0].code, ENETUNREACH);
    EXPECT_EQ(troubles[0].peer, Address(1));
    EXPECT_FALSE(troubles[0].fatal) << "a route may come";
    EXPECT_NE(troubles[0].what.find("192.0.2.1:4791"), std::string::npos) << troubles[0].what;
    EXPECT_EQ(SendBytes(wire.get(), FrameFrom(2, 1, 60, 1)), SendResult::kNoRoute);
  }).join();
}

/// The next frame, which is to be an ICMPv6 error from the peer about `packet`.
icmpv6::Header TakeIcmpError(Wire* wire, const Bytes& packet) {
  InFrame frame;
  icmpv6::Header header;
  if (!ReceiveWithin(wire, &frame)) return header;
  EXPECT_TRUE(frame.checksum_vouched);
  const Bytes bytes = Content(frame);
  wire->Release(frame);
  if (bytes.size() < 48 + 48) return header;
  EXPECT_EQ(bytes[6], ipv6::kIcmpv6);
  EXPECT_TRUE(std::equal(&bytes[8], &bytes[24], &packet[24])) << "from whom the packet was for";
  EXPECT_TRUE(std::equal(&bytes[24], &bytes[40], &packet[8])) << "to its sender";
  EXPECT_TRUE(std::equal(&bytes[48], &bytes[96], packet.begin())) << "quoted";
  icmpv6::Parse(std::span(bytes).subspan(40), &header);
  return header;
}

TEST(UdpWire, GivenAClosedPortWhenSentToThenTheFirmwareHearsOfItAndOneLineIsTold) {
  for (const char* host : {"127.0.0.1", "::1", ""}) {
    UdpOptions options = UdpAt(2);
    options.host = host;
    {
      UdpOptions gone = UdpAt(1);
      gone.host = host;
      options.peers = {{{}, host[0] == 0 ? "127.0.0.1" : host, PortOf(*OpenUdpWire(gone))}};
    }
    auto wire = OpenUdpWire(options);
    std::vector<abi::Trouble> troubles;
    wire->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
    for (int i = 0; i < 3; ++i) {
      const Bytes packet = FrameFrom(2, 1, 60, 1);
      Give(wire.get(), packet);
      const icmpv6::Header error = TakeIcmpError(wire.get(), packet);
      EXPECT_EQ(error.type, icmpv6::kDestinationUnreachable) << host;
      EXPECT_EQ(error.code, icmpv6::kRejectRoute);
    }
    ASSERT_EQ(troubles.size(), 1u) << host;
    EXPECT_EQ(troubles[0].code, ECONNREFUSED);
    EXPECT_EQ(troubles[0].peer, Address(1));
    EXPECT_NE(troubles[0].what.find("nobody listens at"), std::string::npos) << troubles[0].what;
    EXPECT_EQ(Counter(*wire, "send_errors"), 0u);
  }
}

TEST(UdpWire, GivenALearnedPeerThatHasGoneWhenSentToThenTheFirmwareHearsOfItAndNobodyElse) {
  auto server = OpenUdpWire(UdpAt(1));
  std::vector<abi::Trouble> troubles;
  server->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
  Pass(OpenClient(*server, UdpAt(2)).get(), server.get(), FrameFrom(2, 1, 60, 1));
  const Bytes packet = FrameFrom(1, 2, 60, 1);
  Give(server.get(), packet);
  EXPECT_EQ(TakeIcmpError(server.get(), packet).code, icmpv6::kRejectRoute);
  EXPECT_TRUE(troubles.empty());
}

TEST(UdpWire, GivenALinkWhenOpenedWithoutAnMtuThenPacketsAreAsLongAsItTakes) {
  std::thread([] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "run this test as root";
    ASSERT_EQ(std::system("ip link set lo up mtu 9000"), 0);
    UdpOptions options = UdpAt(2, 0);
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 28);
    options.host = "::1";
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 48);
    options.host.clear();
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 48) << "peers of either family";
    options.peers = {{{}, "127.0.0.1", 4791}};
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 28);
    options.peers = {{{}, "192.0.2.1", 4791}};
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 48) << "no route yet";
  }).join();
}

TEST(UdpWire, GivenAPathThatShrinksWhenSentToThenTheFirmwareHearsWhatPasses) {
  std::thread([] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "run this test as root";
    ASSERT_EQ(std::system("ip link set lo up mtu 9000"), 0);
    auto server = OpenUdpWire(UdpAt(1, 0));
    auto client = OpenClient(*server, UdpAt(2, 0));
    Bytes packet = TcpPacket(2, 1, 20000, kAckPush);
    uint64_t lease = 0;
    ASSERT_EQ(SendTrain(client.get(), packet, 8000, true, &lease), SendResult::kSent);
    client->Flush();
    EXPECT_EQ(TakeText(server.get(), 20000).frames, 1u);
    ASSERT_EQ(std::system("ip link set lo mtu 1500"), 0);
    ASSERT_EQ(SendTrain(client.get(), packet, 8000, true, &lease), SendResult::kSent);
    client->Flush();
    EXPECT_FALSE(client->LeasePending(lease));
    packet[53] = 0x10;  // the first segment
    packet[4] = 8032 >> 8;
    packet[5] = 8032 & 0xff;
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(client.get(), &frame));
    const Bytes error = Content(frame);
    client->Release(frame);
    EXPECT_EQ(error[40], icmpv6::kPacketTooBig);
    EXPECT_EQ(LoadBe32(&error[44]), 1500u - 28);
    EXPECT_EQ(Bytes(&error[48], &error[48 + 56]), Bytes(packet.begin(), packet.begin() + 56));
    packet = TcpPacket(2, 1, 20000, kAckPush);
    ASSERT_EQ(SendTrain(client.get(), packet, 1400, true, &lease), SendResult::kSent);
    client->Flush();
    EXPECT_EQ(TakeText(server.get(), 20000).text.size(), 20000u);
    EXPECT_EQ(Counter(*client, "trains_given_up"), 0u) << "trains were not what was wrong";
    EXPECT_EQ(Counter(*client, "train_errors"), 1u);
  }).join();
}

TEST(UdpFailures, GivenAnAnswerThatRepeatsWhenNotedThenItIsToldOnceAMoment) {
  UdpFailures failures;
  SocketAddress where;
  where.v4.sin_family = AF_INET;
  where.v4.sin_port = htons(4791);
  ASSERT_TRUE(failures.NoteAnswer(ECONNREFUSED, Address(1), where).has_value());
  EXPECT_FALSE(failures.NoteAnswer(ECONNREFUSED, Address(1), where).has_value());
  EXPECT_FALSE(failures.NoteAnswer(EMSGSIZE, Address(1), where).has_value());
  EXPECT_FALSE(failures.Refused(where, MonotonicNs())) << "anybody may say so";
}

TEST(UdpFailures, GivenARefusalOfLongAgoWhenAskedThenItIsForgotten) {
  UdpFailures failures;
  const SocketAddress where = ResolveSocketAddress("192.0.2.1", 4791, AF_INET);
  const SocketAddress other = ResolveSocketAddress("192.0.2.2", 4791, AF_INET);
  ASSERT_TRUE(failures.Note(EHOSTUNREACH, 60, Address(1), where));
  const uint64_t now_ns = MonotonicNs();
  EXPECT_TRUE(failures.Refused(where, now_ns));
  EXPECT_FALSE(failures.Refused(other, now_ns));
  EXPECT_FALSE(failures.Refused(where, now_ns + 2'000'000'000));
  EXPECT_FALSE(failures.any());
}

TEST(UdpFailures, GivenADatagramThatIsTooLargeWhenNotedThenSmallerOnesAreNotRefused) {
  UdpFailures failures;
  const SocketAddress where = ResolveSocketAddress("2001:db8::1", 4791, AF_INET6);
  const auto trouble = failures.Note(EMSGSIZE, 9000, Address(1), where);
  ASSERT_TRUE(trouble);
  EXPECT_NE(trouble->what.find("9000 bytes to [2001:db8::1]:4791"), std::string::npos);
  EXPECT_NE(trouble->what.find("mtu"), std::string::npos);
  EXPECT_FALSE(failures.Refused(where, MonotonicNs()));
}

TEST(UdpFailures, GivenMoreRefusalsThanAreKeptWhenAskedThenTheLatestIsKnown) {
  UdpFailures failures;
  for (uint16_t port = 1; port <= 100; ++port) {
    const SocketAddress where = ResolveSocketAddress("192.0.2.1", port, AF_INET);
    failures.Note(ENETUNREACH, 60, Address(1), where);
    EXPECT_TRUE(failures.Refused(where, MonotonicNs()));
  }
}

TEST(UdpFailures, GivenAFullQueueWhenNotedThenThereIsNothingToTell) {
  UdpFailures failures;
  const SocketAddress where = ResolveSocketAddress("192.0.2.1", 1, AF_INET);
  EXPECT_FALSE(failures.Note(ENOBUFS, 60, Address(1), where));
  EXPECT_FALSE(failures.any());
}

}  // namespace
}  // namespace qpip::wire::test
