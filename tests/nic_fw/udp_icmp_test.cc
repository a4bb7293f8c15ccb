// UDP queue pairs, ICMPv6, and frames that are not for anybody.
#include <map>
#include <utility>

#include "nic_fw/platform.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/header.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

struct UdpPair : ::testing::Test {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  QpSpec spec{.type = abi::QpType::kUdp};
  std::unique_ptr<TestCq> cq_a = a.CreateCq(), cq_b = b.CreateCq();
  std::unique_ptr<TestQp> qp_a = a.CreateQp(*cq_a, spec), qp_b = b.CreateQp(*cq_b, spec);
  HostMemory source{a.hardware, 65536}, sink{b.hardware, 65536};
  uint32_t source_key = a.Register(source, 0), sink_key = b.Register(sink);

  void SetUp() override {
    FillPattern(source);
    ASSERT_EQ(a.Bind(*qp_a, 1000).status, 0);
    ASSERT_EQ(b.Bind(*qp_b, 2000).status, 0);
  }
};

TEST_F(UdpPair, GivenPostedReceiveWhenDatagramSentThenItArrivesWithItsSource) {
  b.PostRecv(*qp_b, {SgeOf(sink, sink_key, 0, 2000)});
  a.PostSend(*qp_a, {SgeOf(source, source_key, 3, 1001)}, true, 2, 2000);
  cable.Run();
  const auto sent = a.Poll(*cq_a);
  ASSERT_EQ(sent.size(), 1u);  // completes when it has left
  const auto received = b.Poll(*cq_b);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].byte_length, 1001u);
  EXPECT_EQ(received[0].peer_port, 1000);
  EXPECT_EQ(received[0].peer_address, Address(1));
  EXPECT_EQ(std::memcmp(sink.data(), source.data() + 3, 1001), 0);
}

TEST_F(UdpPair, GivenReceivesWhoseDoorbellsNobodyHasTakenWhenDatagramsComeThenTheyAreUsed) {
  for (int i = 0; i < 2; ++i) b.PostRecv(*qp_b, {SgeOf(sink, sink_key, 0, 2000)});
  const auto late = std::exchange(b.hardware.doorbells, {});
  const auto send = [&] {
    a.PostInline(*qp_a, "x", 2, 2000);
    cable.Run();
  };
  for (int i = 0; i < 2; ++i) send();
  EXPECT_EQ(b.Poll(*cq_b).size(), 2u);
  send();  // there is none for this one
  EXPECT_EQ(b.Dropped(abi::DropReason::kNoReceivePosted), 1u);
  b.hardware.doorbells = late;  // and they say nothing new
  cable.Run();
  b.PostRecv(*qp_b, {SgeOf(sink, sink_key, 0, 2000)});
  send();
  EXPECT_EQ(b.Poll(*cq_b).size(), 1u);
}

TEST_F(UdpPair, GivenADestinationThatIsNoOtherNodesWhenSentThenNothingLeavesAndTheSendCompletes) {
  ipv6::Address loopback;
  loopback.bytes[15] = 1;
  uint64_t dropped = 0;
  for (const ipv6::Address& nobody : {loopback, ipv6::Address{}}) {
    for (const uint32_t bytes : {0u, 1000u, 20000u}) {  // the last in fragments
      const uint32_t slot = qp_a->send_producer;
      a.PostSend(*qp_a, {SgeOf(source, source_key, 0, bytes)}, false, 2, 2000);
      auto* wqe = reinterpret_cast<abi::SendWqe*>(qp_a->send_ring->data() + size_t{slot} * 128);
      std::memcpy(wqe->peer_address.bytes, nobody.bytes, sizeof(nobody.bytes));
      a.RingSend(*qp_a);
      cable.Run();
      const auto sent = a.Poll(*cq_a);
      ASSERT_EQ(sent.size(), 1u) << bytes;
      EXPECT_EQ(sent[0].status, static_cast<uint8_t>(abi::CompletionStatus::kSuccess));
      EXPECT_EQ(a.Counter(abi::NicCounter::kFramesSent), 0u) << bytes;
      EXPECT_GT(a.Dropped(abi::DropReason::kNoRoute), dropped) << bytes;
      EXPECT_EQ(a.hardware.payloads_held(), 0u) << bytes;
      dropped = a.Dropped(abi::DropReason::kNoRoute);
    }
  }
}

TEST_F(UdpPair, GivenZeroLengthDatagramWhenSentThenItIsOneMessage) {
  b.PostRecv(*qp_b, {SgeOf(sink, sink_key, 0, 10)});
  b.PostRecv(*qp_b, {SgeOf(sink, sink_key, 0, 10)});
  a.PostSend(*qp_a, {}, true, 2, 2000);
  a.PostInline(*qp_a, "x", 2, 2000);
  cable.Run();
  const auto received = b.Poll(*cq_b);
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(received[0].byte_length, 0u);
  EXPECT_EQ(received[1].byte_length, 1u);
}

TEST_F(UdpPair, GivenADatagramBeingFetchedWhenAnInlineOneFollowsThenBothCompleteInOrder) {
  a.hardware.DmaTakesTime();
  for (int i = 0; i < 3; ++i) {
    a.PostSend(*qp_a, {SgeOf(source, source_key, 0, 100)}, false, 2, 2000);
    a.PostInline(*qp_a, "inline", 2, 2000);
  }
  a.PostSend(*qp_a, {}, true, 2, 2000);
  while (a.hardware.payloads_held() == 0) {
    qpip_fw_step(a.arena.data(), &a.hardware.platform(), a.now, 1);
  }
  a.hardware.hold_dma = true;
  a.Run();
  a.hardware.hold_dma = false;
  a.Run();
  const auto sent = a.Poll(*cq_a);
  ASSERT_EQ(sent.size(), 7u);
  for (uint32_t i = 0; i < sent.size(); ++i) EXPECT_EQ(sent[i].wqe_index, i);
  const size_t lengths[] = {148, 54, 148, 54, 148, 54, 48};
  for (size_t i = 0; i < 7; ++i) EXPECT_EQ(a.hardware.outgoing[i].size(), lengths[i]);
}

TEST_F(UdpPair, GivenAFullWireWhenADatagramIsInlineThenNobodySpinsAndItLeavesWhenThereIsRoom) {
  a.hardware.wire_full = true;
  a.PostInline(*qp_a, "x", 2, 2000);
  a.Run();
  const uint64_t tried = a.Counter(abi::NicCounter::kWireBusy);
  EXPECT_LE(tried, 10u) << "tried again when time has passed, not at once";
  a.hardware.wire_full = false;
  a.Advance(10 * kMs);
  EXPECT_EQ(a.hardware.outgoing.size(), 1u);
  EXPECT_EQ(a.Counter(abi::NicCounter::kUdpDatagramsSent), 1u);
}

// ---------------------------------------------------------------- a peer that is stopped

/// Sends to three peers in turn, whole and in fragments, and answers whom packets have reached.
std::map<uint8_t, int> SendToThree(UdpPair& pair) {
  for (uint32_t i = 0; i < 12; ++i) {
    const auto peer = static_cast<uint8_t>(2 + i % 3);
    pair.a.PostSend(*pair.qp_a, {SgeOf(pair.source, pair.source_key, 0, i % 2 == 0 ? 900 : 3000)},
                    true, peer, 2000);
    pair.a.Run();
  }
  std::map<uint8_t, int> reached;
  for (const Frame& frame : pair.a.hardware.outgoing) ++reached[frame[39]];
  return reached;
}

TEST_F(UdpPair, GivenAPeerThatHasStoppedReadingWhenDatagramsGoToManyThenOnlyItsAreLost) {
  a.hardware.refused[3] = kSendStopped;
  const auto reached = SendToThree(*this);
  EXPECT_EQ(reached.count(3), 0u);
  EXPECT_EQ(reached.at(2), 2 * 1 + 2 * 3);
  EXPECT_EQ(reached.at(4), 2 * 1 + 2 * 3);
  EXPECT_EQ(a.Poll(*cq_a).size(), 12u);
  EXPECT_EQ(a.hardware.payloads_held(), 0u);
  EXPECT_EQ(a.Dropped(abi::DropReason::kWireFull), 2u * 1u + 2u * 3u);
}

TEST_F(UdpPair, GivenAPeerThatIsSlowWhenItStopsThenWhatHasWaitedForItIsLostAndTheRestGoesOn) {
  a.hardware.refused[3] = kSendBusy;
  EXPECT_EQ(SendToThree(*this).count(4), 0u) << "in order, while it may yet read";
  a.hardware.refused[3] = kSendStopped;
  a.Advance(20 * kMs);
  EXPECT_EQ(a.Poll(*cq_a).size(), 12u);
  EXPECT_EQ(a.hardware.payloads_held(), 0u);
}

TEST_F(UdpPair, GivenPeersThatAreSlowWhenManyWaitForThemThenWhoWaitsForAnotherDoesNotWaitLonger) {
  a.hardware.refused[2] = a.hardware.refused[3] = kSendBusy;
  std::vector<std::unique_ptr<TestQp>> held;
  for (uint16_t i = 0; i < 8; ++i) {
    held.push_back(a.CreateQp(*cq_a, spec));
    ASSERT_EQ(a.Bind(*held.back(), static_cast<uint16_t>(1100 + i)).status, 0);
    a.PostInline(*held.back(), "held", 3, 2000);
    a.Run();
  }
  a.PostInline(*qp_a, "short", 2, 2000);
  a.Run();
  a.hardware.refused.erase(2);
  a.Run();
  ASSERT_EQ(a.hardware.outgoing.size(), 1u);
  EXPECT_EQ(a.hardware.outgoing[0][39], 2);
  a.hardware.refused.clear();
  a.Run();
  EXPECT_EQ(a.hardware.outgoing.size(), 9u);
}

TEST_F(UdpPair, GivenNoReceivePostedWhenDatagramArrivesThenDroppedAndCounted) {
  a.PostInline(*qp_a, "lost", 2, 2000);
  cable.Run();
  EXPECT_EQ(b.Dropped(abi::DropReason::kNoReceivePosted), 1u);
  EXPECT_EQ(a.Poll(*cq_a).size(), 1u);
}

TEST_F(UdpPair, GivenShortReceiveWhenLongDatagramThenDroppedAndReceiveStays) {
  b.PostRecv(*qp_b, {SgeOf(sink, sink_key, 0, 3)});
  a.PostInline(*qp_a, "long", 2, 2000);
  a.PostInline(*qp_a, "ok", 2, 2000);
  cable.Run();
  EXPECT_EQ(b.Dropped(abi::DropReason::kDatagramTooLong), 1u);
  const auto received = b.Poll(*cq_b);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].byte_length, 2u);
}

TEST_F(UdpPair, GivenBadKeyWhenSentThenErrorCompletionFlushAndQpError) {
  a.PostRecv(*qp_a, {SgeOf(source, source_key, 0, 10)});
  a.PostSend(*qp_a, {{source.address(), 10, 0xbad00}}, true, 2, 2000);
  a.Run();
  const auto all = a.Poll(*cq_a);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(Status(all[0]), Status(abi::CompletionStatus::kLocalProtectionError));
  EXPECT_EQ(Status(all[1]), Status(abi::CompletionStatus::kFlushed));
  const auto events = EventsOf(a, abi::EventKind::kQpError);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].object, qp_a->handle);
}

TEST_F(UdpPair, GivenPortTakenWhenBindThenAddressInUse) {
  auto other = a.CreateQp(*cq_a, spec);
  EXPECT_EQ(a.Bind(*other, 1000).status, static_cast<uint8_t>(abi::CommandStatus::kAddressInUse));
}

TEST_F(UdpPair, GivenNoSuchPortWhenDatagramArrivesThenPortUnreachableCarriesThePacket) {
  a.PostInline(*qp_a, "anyone?", 2, 4444);
  a.Run();
  ASSERT_EQ(a.hardware.outgoing.size(), 1u);
  const Frame original = a.hardware.outgoing.front();
  b.hardware.incoming.push_back(original);
  b.Run();
  ASSERT_EQ(b.hardware.outgoing.size(), 1u);
  const Frame& error = b.hardware.outgoing.front();
  EXPECT_EQ(error[40], icmpv6::kDestinationUnreachable);
  EXPECT_EQ(error[41], icmpv6::kPort);
  ASSERT_EQ(error.size(), 48 + original.size());
  EXPECT_EQ(std::memcmp(error.data() + 48, original.data(), original.size()), 0);
  EXPECT_EQ(b.Dropped(abi::DropReason::kNoUdpQueuePair), 1u);
}

TEST_F(UdpPair, GivenFloodToClosedPortWhenErrorsAreDueThenTheirRateIsBounded) {
  for (int i = 0; i < 60; ++i) a.PostInline(*qp_a, "x", 2, 4444);
  a.Run();
  const Frame packet = a.hardware.outgoing.front();
  for (int i = 0; i < 1000; ++i) b.hardware.incoming.push_back(packet);
  b.Run();
  EXPECT_LE(b.hardware.outgoing.size(), 20u);
  EXPECT_GT(b.Dropped(abi::DropReason::kRateLimited), 900u);
}

TEST_F(UdpPair, GivenTwoBindingsWhenUnequalLoadsThenBothProgress) {
  auto other = a.CreateQp(*cq_a, spec);
  a.Bind(*other, 1001);
  for (int i = 0; i < 60; ++i) {
    a.PostSend(*qp_a, {SgeOf(source, source_key, 0, 1400)}, false, 2, 2000);
  }
  a.RingSend(*qp_a);
  for (int i = 0; i < 10; ++i) a.PostInline(*other, "y", 2, 2000);
  a.Run();
  // Byte-fair: the small queue's datagrams are not behind all the large ones.
  size_t position = 0;
  size_t last_small = 0;
  for (const Frame& frame : a.hardware.outgoing) {
    if (frame.size() < 100) last_small = position;
    ++position;
  }
  EXPECT_EQ(position, 70u);
  EXPECT_LT(last_small, 20u);
}

Frame EchoRequest(std::string_view data) {
  Frame frame(48 + data.size());
  ipv6::Header ip;
  ip.next_header = ipv6::kIcmpv6;
  ip.payload_length = static_cast<uint16_t>(8 + data.size());
  std::memcpy(ip.source.bytes, Address(1).bytes, 16);
  std::memcpy(ip.destination.bytes, Address(2).bytes, 16);
  ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
  frame[40] = icmpv6::kEchoRequest;
  StoreBe32(frame.data() + 44, 0x12340007);
  std::memcpy(frame.data() + 48, data.data(), data.size());
  const uint16_t sum =
      ChecksumAdd(std::span<const uint8_t>(frame).subspan(40),
                  PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, ipv6::kIcmpv6));
  StoreBe16(frame.data() + 42, static_cast<uint16_t>(~sum));
  return frame;
}

TEST(Icmp, GivenEchoRequestWhenReceivedThenReplyHasSameDataAndValidChecksum) {
  FirmwareBench b{2};
  b.hardware.incoming.push_back(EchoRequest("ping of odd length!"));
  b.Run();
  ASSERT_EQ(b.hardware.outgoing.size(), 1u);
  const Frame& reply = b.hardware.outgoing.front();
  EXPECT_EQ(reply[40], icmpv6::kEchoReply);
  EXPECT_EQ(LoadBe32(reply.data() + 44), 0x12340007u);
  EXPECT_EQ(std::memcmp(reply.data() + 48, "ping of odd length!", 19), 0);
  ipv6::Header ip;
  ASSERT_EQ(ipv6::Parse(reply, static_cast<uint32_t>(reply.size()), &ip), ipv6::ParseError::kNone);
  EXPECT_EQ(
      ChecksumAdd(std::span<const uint8_t>(reply).subspan(40),
                  PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, ipv6::kIcmpv6)),
      0xffff);
}

TEST(Icmp, GivenCorruptEchoWhenReceivedThenDroppedByChecksum) {
  for (const bool engine_sums : {true, false}) {
    FirmwareBench b{2};
    b.hardware.engine_sums = engine_sums;
    Frame frame = EchoRequest("data");
    frame.back() ^= 1;
    b.hardware.incoming.push_back(frame);
    b.Run();
    EXPECT_TRUE(b.hardware.outgoing.empty());
    EXPECT_EQ(b.Dropped(abi::DropReason::kBadIcmpChecksum), 1u);
  }
}

/// A packet from fd00::1 to `destination`: what follows the IPv6 header is given.
Frame PacketOf(uint8_t next_header, const std::vector<uint8_t>& payload,
               const abi::Ip6Address& destination = Address(2)) {
  Frame frame(40 + payload.size());
  ipv6::Header ip;
  ip.next_header = next_header;
  ip.payload_length = static_cast<uint16_t>(payload.size());
  std::memcpy(ip.source.bytes, Address(1).bytes, 16);
  std::memcpy(ip.destination.bytes, destination.bytes, 16);
  ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
  std::memcpy(frame.data() + 40, payload.data(), payload.size());
  return frame;
}

TEST(Icmp, GivenUnknownNextHeaderWhenReceivedThenTheByteThatNamesItIsPointedAt) {
  for (const int number : {int{ipv6::kEsp}, int{ipv6::kAuthentication}, 132}) {
    const auto protocol = static_cast<uint8_t>(number);
    FirmwareBench b{2};
    b.hardware.incoming.push_back(PacketOf(protocol, {1, 2, 3, 4, 5, 6, 7, 8}));
    b.hardware.incoming.push_back(PacketOf(
        ipv6::kDestinationOptions, {protocol, 0, 1, 4, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}));
    b.Run();
    ASSERT_EQ(b.hardware.outgoing.size(), 2u);
    const uint32_t pointers[] = {6, 40};
    for (size_t i = 0; i < 2; ++i) {
      const Frame& error = b.hardware.outgoing[i];
      EXPECT_EQ(error[40], icmpv6::kParameterProblem);
      EXPECT_EQ(error[41], icmpv6::kUnknownNextHeader);
      EXPECT_EQ(LoadBe32(error.data() + 44), pointers[i]);
    }
    EXPECT_EQ(b.Dropped(abi::DropReason::kUnknownNextHeader), 2u);
  }
}

TEST(Icmp, GivenWhatMayNotBeAnsweredWhenItIsWrongThenItIsDroppedInSilence) {
  // RFC 4443 2.4(e): an ICMPv6 error whose destination options are refused, and a bad option of a
  // packet from nobody.
  FirmwareBench b{2};
  b.hardware.incoming.push_back(
      PacketOf(ipv6::kDestinationOptions, {ipv6::kIcmpv6, 0, 0x9e, 4, 0, 0, 0, 0, 1, 4, 0, 0}));
  Frame nobody = PacketOf(ipv6::kDestinationOptions, {ipv6::kUdp, 0, 0x9e, 4, 0, 0, 0, 0});
  std::memset(nobody.data() + 8, 0, 16);
  b.hardware.incoming.push_back(nobody);
  b.Run();
  EXPECT_TRUE(b.hardware.outgoing.empty());
  EXPECT_EQ(b.Dropped(abi::DropReason::kUnknownOption), 1u);
  EXPECT_EQ(b.Dropped(abi::DropReason::kBadSourceAddress), 1u);
  // An echo request with the same option is no error, so it may be answered.
  b.hardware.incoming.push_back(
      PacketOf(ipv6::kDestinationOptions, {ipv6::kIcmpv6, 0, 0x9e, 4, 0, 0, 0, 0, 128, 0, 0, 0}));
  b.Run();
  ASSERT_EQ(b.hardware.outgoing.size(), 1u);
  EXPECT_EQ(b.hardware.outgoing[0][41], icmpv6::kUnknownOption);
}

TEST(Icmp, GivenLinkPaddingAndLongPacketsWhenReportedThenOnlyThePacketUpTo1280IsQuoted) {
  FirmwareBench b{2};
  Frame padded = PacketOf(99, {1, 2, 3, 4, 5, 6, 7, 8});
  padded.resize(60);
  b.hardware.incoming.push_back(padded);
  b.hardware.incoming.push_back(PacketOf(99, std::vector<uint8_t>(1460)));
  b.Run();
  ASSERT_EQ(b.hardware.outgoing.size(), 2u);
  EXPECT_EQ(b.hardware.outgoing[0].size(), 48u + 48u);
  EXPECT_EQ(b.hardware.outgoing[1].size(), 1280u);
}

TEST(Frames, GivenRefusedHeadersWhenReceivedThenEachHasItsReason) {
  FirmwareBench b{2};
  b.hardware.incoming.push_back(PacketOf(ipv6::kRouting, {ipv6::kUdp, 0, 2, 1, 0, 0, 0, 0}));
  b.hardware.incoming.push_back(PacketOf(ipv6::kHopByHop, {ipv6::kUdp, 0, 0x40, 4, 0, 0, 0, 0}));
  b.hardware.incoming.push_back(PacketOf(ipv6::kHopByHop, {ipv6::kUdp, 9, 1, 4, 0, 0, 0, 0}));
  std::vector<uint8_t> chain;
  for (int i = 0; i < 9; ++i) chain.insert(chain.end(), {60, 0, 1, 4, 0, 0, 0, 0});
  b.hardware.incoming.push_back(PacketOf(ipv6::kDestinationOptions, chain));
  b.Run();
  EXPECT_EQ(b.Dropped(abi::DropReason::kRoutingHeader), 1u);
  EXPECT_EQ(b.Dropped(abi::DropReason::kUnknownOption), 1u);
  EXPECT_EQ(b.Dropped(abi::DropReason::kBadExtensionHeader), 1u);
  EXPECT_EQ(b.Dropped(abi::DropReason::kHeaderChainTooLong), 1u);
  EXPECT_EQ(b.hardware.outgoing.size(), 2u);  // the routing type and the length are pointed at
}

TEST(Frames, GivenOtherDestinationWhenReceivedThenDropped) {
  FirmwareBench c{3};
  c.hardware.incoming.push_back(EchoRequest("not mine"));
  c.Run();
  EXPECT_EQ(c.Dropped(abi::DropReason::kNotOurAddress), 1u);
}

TEST(Frames, GivenRandomBytesWhenReceivedThenEachIsProcessedOrCountedAndReleased) {
  FirmwareBench b{2};
  b.Listen(7);
  std::mt19937 random(1);
  const Frame echo = EchoRequest("seed");
  for (int i = 0; i < 200000; ++i) {
    Frame frame = echo;
    if (i % 3 == 0) frame.resize(17 + random() % 1600);
    const int changes = 1 + static_cast<int>(random() % 8);
    for (int k = 0; k < changes; ++k) {
      // Mostly in the headers: that is where the decisions are.
      frame[random() % std::min<size_t>(frame.size(), 100)] = static_cast<uint8_t>(random());
    }
    if (random() % 2 != 0 && frame.size() >= 40) {
      std::memcpy(frame.data() + 24, Address(2).bytes, 16);
      frame[0] = 0x60;
      StoreBe16(frame.data() + 4, static_cast<uint16_t>(frame.size() - 40));
      const uint8_t protocols[] = {0, 6, 17, 43, 44, 58, 59, 60, 99};
      frame[6] = protocols[random() % sizeof(protocols)];
    }
    b.hardware.trusted = random() % 2 != 0;
    b.hardware.incoming.push_back(std::move(frame));
    b.Run();
    b.hardware.outgoing.clear();
    b.now += kMs;
    ASSERT_EQ(b.hardware.frames_borrowed(), 0u);
  }
  EXPECT_EQ(b.hardware.illegal_accesses, 0u);
  EXPECT_GT(b.AllDrops(), 100000u);
}

}  // namespace
}  // namespace qpip::fw::test
