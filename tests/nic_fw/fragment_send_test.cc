// Datagrams that are larger than the path (RFC 8200 section 4.5).
#include <set>

#include "packets.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

struct FragmentSendTest : ::testing::Test {
  explicit FragmentSendTest(NicConfig config = FirmwareBench::DefaultConfig())
      : a{1, config}, b{2, config} {}
  FirmwareBench a, b;
  Cable cable{a, b, {}};
  QpSpec spec{.type = abi::QpType::kUdp};
  std::unique_ptr<TestCq> cq_a = a.CreateCq(), cq_b = b.CreateCq();
  std::unique_ptr<TestQp> qp_a = a.CreateQp(*cq_a, spec), qp_b = b.CreateQp(*cq_b, spec);
  HostMemory source{a.hardware, 1 << 17}, sink{b.hardware, 1 << 17};
  uint32_t source_key = a.Register(source, 0), sink_key = b.Register(sink);

  void SetUp() override {
    FillPattern(source);
    ASSERT_EQ(a.Bind(*qp_a, 1000).status, 0);
    ASSERT_EQ(b.Bind(*qp_b, 2000).status, 0);
  }
  void PostSend(uint32_t offset, uint32_t length) {
    a.PostSend(*qp_a, {SgeOf(source, source_key, offset, length)}, true, 2, 2000);
  }
  void PostRecv(uint32_t offset) { b.PostRecv(*qp_b, {SgeOf(sink, sink_key, offset, 65536)}); }
};

TEST_F(FragmentSendTest, GivenDatagramsOverTheMtuWhenSentThenFragmentsStandForThem) {
  for (const uint32_t length : {1453u, 2888u, 60000u, 65527u}) {
    PostSend(5, length);
    a.Run();
    const auto sent = a.Poll(*cq_a);
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].byte_length, length);
    for (const Frame& fragment : a.hardware.outgoing) EXPECT_LE(fragment.size(), 1500u);
    const Frame packet = Reassemble(a.hardware.outgoing);
    ASSERT_EQ(packet.size(), 48u + length);
    EXPECT_EQ(packet[6], ipv6::kUdp);
    EXPECT_EQ(LoadBe16(packet.data() + 44), 8 + length);
    EXPECT_EQ(TransportSum(packet, ipv6::kUdp), 0xffff);
    EXPECT_EQ(std::memcmp(packet.data() + 48, source.data() + 5, length), 0);
    a.hardware.outgoing.clear();
  }
  EXPECT_EQ(a.Counter(abi::NicCounter::kPacketsFragmented), 4u);
  EXPECT_EQ(a.Counter(abi::NicCounter::kUdpDatagramsSent), 4u);
  EXPECT_EQ(a.hardware.payloads_held(), 0u);
}

TEST_F(FragmentSendTest, GivenTheMtuWhenDatagramsAreAtItsEdgeThenOnlyTheLargerIsCut) {
  PostSend(0, 1452);
  a.Run();
  EXPECT_EQ(a.hardware.outgoing.size(), 1u);
  PostSend(0, 1453);
  a.Run();
  EXPECT_EQ(a.hardware.outgoing.size(), 3u);
}

TEST_F(FragmentSendTest, GivenLargeAndSmallDatagramsWhenSentThenAllArrive) {
  const uint32_t lengths[] = {60000, 10, 3000, 1452, 65527, 0};
  for (const uint32_t length : lengths) {
    PostRecv(0);
    PostSend(0, length);
  }
  cable.Run();
  const auto received = b.Poll(*cq_b);
  ASSERT_EQ(received.size(), std::size(lengths));
  // A small one may overtake: what arrives in fragments is delivered a transfer later.
  std::multiset<uint32_t> seen;
  for (const abi::Cqe& cqe : received) seen.insert(cqe.byte_length);
  EXPECT_EQ(seen, std::multiset<uint32_t>(std::begin(lengths), std::end(lengths)));
  EXPECT_EQ(a.Poll(*cq_a).size(), std::size(lengths));
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), 65527), 0);
  EXPECT_EQ(b.AllDrops(), 0u);
}

TEST_F(FragmentSendTest, GivenSeveralPiecesWhenSentThenFragmentsCrossThem) {
  PostRecv(0);
  a.PostSend(*qp_a,
             {SgeOf(source, source_key, 0, 1001), SgeOf(source, source_key, 1001, 3),
              SgeOf(source, source_key, 1004, 5000)},
             true, 2, 2000);
  cable.Run();
  ASSERT_EQ(b.Poll(*cq_b).size(), 1u);
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), 6004), 0);
}

TEST_F(FragmentSendTest, GivenAWireThatIsFullWhenRoomAppearsThenTheFragmentsGoInOrder) {
  PostRecv(0);
  a.hardware.wire_full = true;
  PostSend(0, 10000);
  a.Run();
  EXPECT_TRUE(a.Poll(*cq_a).empty());
  a.hardware.wire_full = false;
  a.Advance(kMs);
  cable.Run();
  ASSERT_EQ(b.Poll(*cq_b).size(), 1u);
  EXPECT_EQ(a.Poll(*cq_a).size(), 1u);
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), 10000), 0);
}

TEST_F(FragmentSendTest, GivenFewPacketBuffersWhenALargeDatagramIsSentThenTheySuffice) {
  a.hardware.payload_buffers = 1;
  PostRecv(0);
  PostSend(0, 65527);
  for (int i = 0; i < 200; ++i) cable.Advance(kMs);
  ASSERT_EQ(b.Poll(*cq_b).size(), 1u);
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), 65527), 0);
}

TEST_F(FragmentSendTest, GivenADatagramUnderWayWhenTheQueuePairIsDestroyedThenNothingIsLeft) {
  a.hardware.hold_dma = true;
  PostSend(0, 10000);
  a.Run();
  a.hardware.hold_dma = false;
  EXPECT_EQ(a.QpCommand(abi::CommandOpcode::kDestroyQp, *qp_a).status, 0);
  a.Run();
  EXPECT_EQ(a.hardware.payloads_held(), 0u);
  EXPECT_EQ(a.hardware.dma_pending(), 0u);
}

TEST_F(FragmentSendTest, GivenALengthNoPacketHoldsWhenSentThenItIsRefused) {
  PostSend(0, 65528);
  a.Run();
  const auto all = a.Poll(*cq_a);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(Status(all[0]), Status(abi::CompletionStatus::kLocalLengthError));
}

TEST_F(FragmentSendTest, GivenMemoryThatGoesAwayWhenALaterPartIsDueThenTheQueuePairFails) {
  a.PostSend(*qp_a,
             {SgeOf(source, source_key, 0, 3000), {source.address(), 3000, source_key ^ 0x100}},
             true, 2, 2000);
  a.Run();
  const auto all = a.Poll(*cq_a);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(Status(all[0]), Status(abi::CompletionStatus::kLocalProtectionError));
  EXPECT_EQ(a.hardware.payloads_held(), 0u);
}

struct TrustedWireTest : FragmentSendTest {
  static NicConfig Trusted() {
    NicConfig config = FirmwareBench::DefaultConfig();
    config.wire_trusted = 1;
    return config;
  }
  TrustedWireTest() : FragmentSendTest(Trusted()) {}
};

TEST_F(TrustedWireTest, GivenFragmentsWhenSentThenTheyCarryTheirChecksumAllTheSame) {
  PostSend(0, 5000);
  a.Run();
  EXPECT_EQ(TransportSum(Reassemble(a.hardware.outgoing), ipv6::kUdp), 0xffff);
}

struct FewContextsTest : FragmentSendTest {
  static NicConfig Few() {
    NicConfig config = FirmwareBench::DefaultConfig();
    config.transmit_contexts = 4;
    return config;
  }
  FewContextsTest() : FragmentSendTest(Few()) {}
};

TEST_F(FewContextsTest, GivenDatagramsThatAreLostToAFullWireWhenGivenUpThenEachSendCompletes) {
  a.hardware.DmaTakesTime();
  a.hardware.wire_full = true;
  for (int i = 0; i < 8; ++i) PostSend(0, 100);
  PostSend(0, 5000);
  // All contexts are to be in use when the wire refuses the first frame.
  while (a.hardware.payloads_held() == 0) {
    qpip_fw_step(a.arena.data(), &a.hardware.platform(), a.now, 1);
  }
  a.hardware.hold_dma = true;
  a.Run();
  a.hardware.hold_dma = false;
  a.Advance(10 * kMs);
  a.hardware.wire_full = false;
  a.Advance(10 * kMs);
  EXPECT_EQ(a.Poll(*cq_a).size(), 9u);
  EXPECT_GT(a.Dropped(abi::DropReason::kWireFull), 0u);
}

}  // namespace
}  // namespace qpip::fw::test
