// Fragmented packets on their way in: RFC 8200 section 4.5, RFC 5722, 6946, 6980, 7112.
#include <algorithm>
#include <random>

#include "packets.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

constexpr uint64_t kSecond = 1000 * kMs;

struct FragmentTest : ::testing::Test {
  FirmwareBench nic{2};
  std::unique_ptr<TestCq> cq = nic.CreateCq();
  QpSpec spec{.type = abi::QpType::kUdp};
  std::unique_ptr<TestQp> qp = nic.CreateQp(*cq, spec);
  HostMemory sink{nic.hardware, 1 << 17};
  uint32_t key = nic.Register(sink);

  void SetUp() override { ASSERT_EQ(nic.Bind(*qp, 2000).status, 0); }
  void PostRecv() { nic.PostRecv(*qp, {SgeOf(sink, key, 0, 65536)}); }
  void Arrive(const std::vector<Frame>& frames) {
    for (const Frame& frame : frames) nic.hardware.incoming.push_back(frame);
    nic.Run();
  }
  void ExpectDelivered(const Bytes& data) {
    const auto all = nic.Poll(*cq);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].byte_length, data.size());
    EXPECT_EQ(all[0].peer_port, 1000);
    EXPECT_EQ(all[0].peer_address, Address(1));
    EXPECT_EQ(std::memcmp(sink.data(), data.data(), data.size()), 0);
  }
  const Frame& OnlyAnswer() {
    EXPECT_EQ(nic.hardware.outgoing.size(), 1u);
    static const Frame kEmpty(64);
    return nic.hardware.outgoing.empty() ? kEmpty : nic.hardware.outgoing.front();
  }
};

TEST_F(FragmentTest, GivenTheLargestDatagramWhenFragmentsArriveInAnyOrderThenItIsDelivered) {
  std::mt19937 random(3);
  for (const size_t size : {65527u, 60000u, 1441u, 2889u}) {
    for (int order = 0; order < 3; ++order) {
      const Bytes data = Pattern(size, static_cast<uint32_t>(order));
      auto fragments = Fragments(MakeDatagram(1000, 2000, data), 1448);
      if (order == 1) std::reverse(fragments.begin(), fragments.end());
      if (order == 2) std::shuffle(fragments.begin(), fragments.end(), random);
      PostRecv();
      Arrive(fragments);
      ExpectDelivered(data);
    }
  }
  EXPECT_EQ(nic.Counter(abi::NicCounter::kPacketsReassembled), 12u);
  EXPECT_EQ(nic.AllDrops(), 0u);
  EXPECT_EQ(nic.hardware.frames_borrowed(), 0u);
  EXPECT_EQ(nic.hardware.illegal_accesses, 0u);
  nic.Advance(61 * kSecond);
  EXPECT_EQ(qpip_fw_next_deadline(nic.arena.data()), UINT64_MAX);  // no slot waits
  EXPECT_EQ(nic.AllDrops(), 0u);
}

TEST_F(FragmentTest, GivenTransfersUnderWayWhenTheLastFragmentArrivesThenDeliveryAwaitsThem) {
  const Bytes data = Pattern(4000);
  PostRecv();
  nic.hardware.hold_dma = true;
  Arrive(Fragments(MakeDatagram(1000, 2000, data), 1448));
  EXPECT_TRUE(nic.Poll(*cq).empty());
  nic.hardware.hold_dma = false;
  nic.Run();
  ExpectDelivered(data);
}

TEST_F(FragmentTest, GivenDuplicatesWhenTheyAreExactThenTheyAreIgnored) {
  const Bytes data = Pattern(5000);
  auto fragments = Fragments(MakeDatagram(1000, 2000, data), 1448);
  PostRecv();
  Arrive({fragments[0], fragments[0], fragments[2], fragments[3], fragments[2], fragments[3],
          fragments[1]});
  ExpectDelivered(data);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kFragmentDuplicate), 3u);
}

TEST_F(FragmentTest, GivenAnOverlapWhenTheRestArrivesThenAllOfThePacketIsDiscardedInSilence) {
  const Frame packet = MakeDatagram(1000, 2000, Pattern(3000));
  auto fragments = Fragments(packet, 1448);
  PostRecv();
  Arrive({fragments[0], MakeFragment(packet, 1440, 1448, true), fragments[1], fragments[2]});
  EXPECT_TRUE(nic.Poll(*cq).empty());
  EXPECT_TRUE(nic.hardware.outgoing.empty());
  EXPECT_EQ(nic.Dropped(abi::DropReason::kFragmentOverlap), 3u);
  // When its time is over the identification may be used again.
  nic.Advance(61 * kSecond);
  EXPECT_TRUE(nic.hardware.outgoing.empty());
  Arrive(fragments);
  ExpectDelivered(Pattern(3000));
}

TEST_F(FragmentTest, GivenSeveralPacketsAtATimeWhenInterleavedThenEachIsPutTogether) {
  const Bytes data = Pattern(3000);
  const Frame packet = MakeDatagram(1000, 2000, data);
  std::vector<std::vector<Frame>> sets;
  for (uint32_t id = 0; id < 3; ++id) sets.push_back(Fragments(packet, 1448, id));
  Frame other = packet;  // the same identification from another source
  other[23] = 9;
  auto others = Fragments(other, 1448, 0);
  for (int i = 0; i < 3; ++i) PostRecv();
  for (size_t i = 0; i < 3; ++i) {
    Arrive({sets[0][i], others[i], sets[1][i], sets[2][i]});
  }
  EXPECT_EQ(nic.Poll(*cq).size(), 3u);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kBadUdpChecksum), 1u);  // the other's is for fd00::1
}

TEST_F(FragmentTest, GivenAnAtomicFragmentWhenAPacketOfItsNameIsInTheMakingThenBothArrive) {
  const Bytes data = Pattern(2000);
  auto fragments = Fragments(MakeDatagram(1000, 2000, data), 1448);
  const Frame small = MakeDatagram(1000, 2000, Pattern(10));
  PostRecv();
  PostRecv();
  Arrive({fragments[0], MakeFragment(small, 0, 18, false)});
  const auto first = nic.Poll(*cq);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].byte_length, 10u);
  Arrive({fragments[1]});
  ExpectDelivered(data);
}

TEST_F(FragmentTest,
       GivenMissingFragmentsWhenSixtySecondsHavePassedThenTimeExceededIfTheFirstCame) {
  const Frame packet = MakeDatagram(1000, 2000, Pattern(5000));
  auto fragments = Fragments(packet, 1448);
  Arrive({fragments[1], fragments[0], fragments[2]});
  nic.Advance(59 * kSecond);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kReassemblyTimeout), 0u);
  nic.Advance(2 * kSecond);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kReassemblyTimeout), 1u);
  const Frame& error = OnlyAnswer();
  EXPECT_EQ(error[40], icmpv6::kTimeExceeded);
  EXPECT_EQ(error[41], icmpv6::kReassemblyTime);
  ASSERT_EQ(error.size(), 1280u);
  EXPECT_EQ(std::memcmp(error.data() + 48, fragments[0].data(), 1232), 0);
  EXPECT_EQ(TransportSum(error, ipv6::kIcmpv6), 0xffff);
  // Without the first there is nobody to tell.
  nic.hardware.outgoing.clear();
  Arrive({fragments[1]});
  nic.Advance(61 * kSecond);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kReassemblyTimeout), 2u);
  EXPECT_TRUE(nic.hardware.outgoing.empty());
  // A first fragment that is wholly in its headers.
  Arrive({MakeFragment(packet, 0, 64, true)});
  nic.Advance(61 * kSecond);
  ASSERT_EQ(OnlyAnswer().size(), 48u + 48u + 64u);
  EXPECT_EQ(TransportSum(OnlyAnswer(), ipv6::kIcmpv6), 0xffff);
}

TEST_F(FragmentTest, GivenMalformedFragmentsWhenReceivedThenParameterProblemsPointAtThem) {
  const Frame packet = MakeDatagram(1000, 2000, Pattern(3000));
  Frame too_far = MakeFragment(packet, 0, 1448, false);
  StoreBe16(too_far.data() + 42, 65528 - 1440);
  const struct {
    Frame fragment;
    uint8_t code;
    uint32_t pointer;
  } cases[] = {
      {MakeFragment(packet, 0, 1001, true), icmpv6::kErroneousField, 4},
      {MakeFragment(packet, 8, 0, true), icmpv6::kErroneousField, 4},
      {MakeFragment(packet, 8, 0, false), icmpv6::kErroneousField, 4},
      {too_far, icmpv6::kErroneousField, 42},
  };
  for (const auto& c : cases) {
    nic.hardware.outgoing.clear();
    Arrive({c.fragment});
    const Frame& error = OnlyAnswer();
    EXPECT_EQ(error[40], icmpv6::kParameterProblem);
    EXPECT_EQ(error[41], c.code);
    EXPECT_EQ(LoadBe32(error.data() + 44), c.pointer);
  }
  EXPECT_EQ(nic.Dropped(abi::DropReason::kBadFragment), 4u);
}

TEST_F(FragmentTest, GivenAFirstFragmentWithoutAllHeadersWhenReceivedThenCode3) {
  Bytes options(24);
  options[0] = ipv6::kUdp;
  options[1] = 1;  // 16 bytes: PadN
  options[2] = 1;
  options[3] = 12;
  const Frame packet = MakePacket(ipv6::kDestinationOptions, options);
  Arrive({MakeFragment(packet, 0, 16, true)});
  EXPECT_EQ(OnlyAnswer()[41], icmpv6::kIncompleteHeaderChain);
  EXPECT_EQ(LoadBe32(OnlyAnswer().data() + 44), 0u);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kBadFragment), 1u);
}

TEST_F(FragmentTest, GivenMorePacketsThanSlotsWhenTheyArriveThenTheOldestIsGivenUp) {
  const Bytes data = Pattern(2000);
  const Frame packet = MakeDatagram(1000, 2000, data);
  PostRecv();
  PostRecv();
  for (uint32_t id = 0; id <= nic.config.reassembly_slots; ++id) {
    Arrive({Fragments(packet, 1448, id)[0]});
    nic.now += kMs;
  }
  EXPECT_EQ(nic.Dropped(abi::DropReason::kReassemblyFull), 1u);
  Arrive({Fragments(packet, 1448, 1)[1]});
  EXPECT_EQ(nic.Poll(*cq).size(), 1u);
  Arrive({Fragments(packet, 1448, 0)[1]});
  EXPECT_TRUE(nic.Poll(*cq).empty());
}

TEST_F(FragmentTest,
       GivenPacketsOfAnotherNetworkThatNeverEndWhenTheSlotsAreFullThenTheyTakeTheirOwn) {
  const Bytes data = Pattern(3000);
  const Frame packet = MakeDatagram(1000, 2000, data);
  const auto fragments = Fragments(packet, 1448);
  Frame elsewhere = packet;
  elsewhere[8 + 7] = 5;
  PostRecv();
  Arrive({fragments[0]});
  for (uint32_t id = 100; id < 200; ++id) {
    elsewhere[23] = static_cast<uint8_t>(id);  // a host has many addresses
    Arrive({Fragments(elsewhere, 1448, id)[0]});
  }
  Arrive({fragments[1], fragments[2]});
  ExpectDelivered(data);
}

TEST_F(FragmentTest, GivenADamagedFragmentWhenThePacketIsWholeThenTheChecksumSaysSo) {
  for (const bool engine : {true, false}) {
    nic.hardware.engine_sums = engine;
    auto fragments = Fragments(MakeDatagram(1000, 2000, Pattern(3000)), 1448);
    fragments[1][100] ^= 4;
    Arrive(fragments);
  }
  EXPECT_EQ(nic.Dropped(abi::DropReason::kBadUdpChecksum), 2u);
  EXPECT_EQ(nic.hardware.frames_borrowed(), 0u);
}

TEST_F(FragmentTest, GivenAWireThatVouchesWhenFragmentsArriveThenTheyAreSummedAllTheSame) {
  // What is vouched for is a whole packet's checksum: a fragment has none.
  nic.hardware.trusted = true;
  auto fragments = Fragments(MakeDatagram(1000, 2000, Pattern(3000)), 1448);
  PostRecv();
  Arrive(fragments);
  ExpectDelivered(Pattern(3000));
  fragments[1][100] ^= 4;
  Arrive(fragments);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kBadUdpChecksum), 1u);
}

TEST_F(FragmentTest, GivenExtensionHeadersOnBothSidesWhenReassembledThenTheDatagramIsFound) {
  const Bytes data = Pattern(3000);
  const Frame datagram = MakeDatagram(1000, 2000, data);
  Bytes inner = {ipv6::kUdp, 0, 1, 4, 0, 0, 0, 0};
  inner.insert(inner.end(), datagram.begin() + 40, datagram.end());
  const Frame packet = MakePacket(ipv6::kDestinationOptions, inner);
  std::vector<Frame> fragments;
  for (const Frame& fragment : Fragments(packet, 1440)) {
    Bytes outer = {ipv6::kFragment, 0, 1, 4, 0, 0, 0, 0};
    outer.insert(outer.end(), fragment.begin() + 40, fragment.end());
    fragments.push_back(MakePacket(ipv6::kHopByHop, outer));
  }
  PostRecv();
  Arrive(fragments);
  ExpectDelivered(data);
}

TEST_F(FragmentTest, GivenNoSlotsWhenAFragmentArrivesThenItIsDropped) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.reassembly_slots = 0;
  FirmwareBench bare{2, config};
  bare.hardware.incoming.push_back(Fragments(MakeDatagram(1000, 2000, Pattern(3000)), 1448)[0]);
  bare.Run();
  EXPECT_EQ(bare.Dropped(abi::DropReason::kFragment), 1u);
}

TEST_F(FragmentTest, GivenAClosedPortWhenAFragmentedDatagramArrivesThenItsStartIsQuoted) {
  const Frame packet = MakeDatagram(1000, 4444, Pattern(3000));
  Arrive(Fragments(packet, 1448));
  const Frame& error = OnlyAnswer();
  EXPECT_EQ(error[40], icmpv6::kDestinationUnreachable);
  EXPECT_EQ(error[41], icmpv6::kPort);
  ASSERT_EQ(error.size(), 1280u);
  EXPECT_EQ(std::memcmp(error.data() + 48, packet.data(), 1232), 0);
  EXPECT_EQ(TransportSum(error, ipv6::kIcmpv6), 0xffff);
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
}

TEST_F(FragmentTest, GivenAFragmentedEchoWhenReceivedThenTheReplyIsFragmentedToo) {
  for (const size_t size : {1453u, 3000u, 60000u, 65507u}) {
    nic.hardware.outgoing.clear();
    const Bytes data = Pattern(size);
    Arrive(Fragments(MakeEcho(data), 1448));
    const Frame reply = Reassemble(nic.hardware.outgoing);
    for (const Frame& fragment : nic.hardware.outgoing) EXPECT_LE(fragment.size(), 1500u);
    ASSERT_EQ(reply.size(), 48 + size);
    EXPECT_EQ(reply[40], icmpv6::kEchoReply);
    EXPECT_EQ(LoadBe32(reply.data() + 44), 0x12340007u);
    EXPECT_EQ(std::memcmp(reply.data() + 48, data.data(), size), 0);
    EXPECT_EQ(TransportSum(reply, ipv6::kIcmpv6), 0xffff);
  }
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
  EXPECT_EQ(nic.Counter(abi::NicCounter::kPacketsFragmented), 4u);
}

TEST_F(FragmentTest, GivenASmallEchoInFragmentsWhenReceivedThenTheReplyIsWhole) {
  const Bytes data = Pattern(1001);
  Arrive(Fragments(MakeEcho(data), 504));
  const Frame& reply = OnlyAnswer();
  ASSERT_EQ(reply.size(), 48u + 1001u);
  EXPECT_EQ(std::memcmp(reply.data() + 48, data.data(), data.size()), 0);
  EXPECT_EQ(TransportSum(reply, ipv6::kIcmpv6), 0xffff);
}

TEST_F(FragmentTest, GivenAnEchoLargerThanTheMtuInOneFrameWhenReceivedThenTheReplyIsFragmented) {
  const Bytes data = Pattern(3333);
  Arrive({MakeEcho(data)});
  const Frame reply = Reassemble(nic.hardware.outgoing);
  ASSERT_EQ(reply.size(), 48u + 3333u);
  EXPECT_EQ(std::memcmp(reply.data() + 48, data.data(), data.size()), 0);
  EXPECT_EQ(TransportSum(reply, ipv6::kIcmpv6), 0xffff);
}

TEST_F(FragmentTest, GivenAFullWireWhenAFragmentedEchoIsAnsweredThenNothingIsLeftBehind) {
  nic.hardware.wire_full = true;
  Arrive(Fragments(MakeEcho(Pattern(3000)), 1448));
  nic.hardware.wire_full = false;
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
  Arrive(Fragments(MakeEcho(Pattern(3000)), 1448));
  EXPECT_EQ(nic.hardware.outgoing.size(), 3u);
}

void SetEcn(Frame& packet, uint8_t codepoint) {
  packet[1] = static_cast<uint8_t>((packet[1] & 0xcf) | codepoint << 4);
}

TEST_F(FragmentTest, GivenMarksOnSomeFragmentsWhenReassembledThenThePacketIsMarked) {
  const Frame packet = MakeDatagram(1000, 4444, Pattern(3000));
  for (const uint8_t other : {1, 2, 3}) {
    for (size_t marked = 0; marked < 3; ++marked) {
      nic.hardware.outgoing.clear();
      auto fragments = Fragments(packet, 1448);
      for (Frame& fragment : fragments) SetEcn(fragment, other);
      SetEcn(fragments[marked], 3);
      Arrive({fragments[2], fragments[0], fragments[1]});
      // Quoted by a port unreachable.
      EXPECT_EQ((OnlyAnswer()[48 + 1] >> 4) & 3, 3) << int{other} << " " << marked;
    }
  }
  EXPECT_EQ(nic.Dropped(abi::DropReason::kFragmentMarks), 0u);
}

TEST_F(FragmentTest, GivenOneCodepointWhenReassembledThenThePacketHasIt) {
  const Frame packet = MakeDatagram(1000, 4444, Pattern(3000));
  for (const uint8_t codepoint : {0, 1, 2, 3}) {
    nic.hardware.outgoing.clear();
    auto fragments = Fragments(packet, 1448);
    for (Frame& fragment : fragments) SetEcn(fragment, codepoint);
    Arrive(fragments);
    EXPECT_EQ((OnlyAnswer()[48 + 1] >> 4) & 3, codepoint);
  }
}

TEST_F(FragmentTest, GivenAMarkBesidesNotEctWhenAllHaveArrivedThenThePacketIsDropped) {
  const Bytes data = Pattern(3000);
  const Frame packet = MakeDatagram(1000, 2000, data);
  PostRecv();
  for (size_t marked = 0; marked < 3; ++marked) {
    auto fragments = Fragments(packet, 1448);
    SetEcn(fragments[marked], 3);
    Arrive(fragments);
    EXPECT_TRUE(nic.Poll(*cq).empty());
    EXPECT_EQ(nic.Dropped(abi::DropReason::kFragmentMarks), marked + 1);
  }
  EXPECT_EQ(nic.hardware.frames_borrowed(), 0u);
  // Nothing of them is left to the next packet of their name.
  Arrive(Fragments(packet, 1448));
  ExpectDelivered(data);
}

TEST(FragmentedTcp, GivenASegmentInFragmentsWhenReassembledThenItsTextIsDelivered) {
  ConnectedPair pair;
  HostMemory source(pair.a.hardware, 4096), sink(pair.b.hardware, 4096);
  FillPattern(source);
  const uint32_t source_key = pair.a.Register(source, 0), sink_key = pair.b.Register(sink);
  pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, 0, 4096)});
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, 0, 1400)});
  pair.a.Run();
  ASSERT_EQ(pair.a.hardware.outgoing.size(), 1u);
  const Frame segment = pair.a.hardware.outgoing.front();
  pair.a.hardware.outgoing.clear();
  for (const Frame& fragment : Fragments(segment, 512)) {
    pair.b.hardware.incoming.push_back(fragment);
  }
  pair.cable.Run();
  const auto received = Only(pair.b.Poll(*pair.cq_b), true);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].byte_length, 1400u);
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), 1400), 0);
}

}  // namespace
}  // namespace qpip::fw::test
