// TCP text that leaves in packets of several segments, which the link engine cuts.
#include <set>

#include "packets.h"
#include "protocols/tcp/header.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

constexpr uint32_t kLimit = 65535;
constexpr uint32_t kSize = 1 << 20;

NicConfig SegmentingConfig() {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.segmentation_limit = kLimit;
  config.tcp.hystart = false;
  return config;
}

struct SegmentationTest : ::testing::Test {
  ConnectedPair pair{{.framing = abi::Framing::kSegment}, SegmentingConfig()};
  HostMemory source{pair.a.hardware, kSize}, sink{pair.b.hardware, kSize};
  uint32_t source_key = pair.a.Register(source, 0), sink_key = pair.b.Register(sink);

  void SetUp() override { FillPattern(source); }
  void PostSend(uint32_t offset, uint32_t length) {
    pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, offset, length)});
  }
  void PostRecv(uint32_t offset, uint32_t length) {
    pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, offset, length)});
  }
  void Settle() {
    pair.b.Run();
    pair.cable.Run();
  }
};

TEST_F(SegmentationTest, GivenALongMessageWhenSentThenFewPacketsBecomeManySegments) {
  PostRecv(0, kSize);
  Settle();
  const uint64_t before = pair.a.Counter(abi::NicCounter::kFramesSent);
  PostSend(0, kSize);
  pair.cable.Run();
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), kSize), 0);
  EXPECT_EQ(pair.a.Poll(*pair.cq_a).size(), 1u);
  EXPECT_GE(pair.a.hardware.largest_cut, 14280u);  // the initial window
  const uint64_t packets = pair.a.Counter(abi::NicCounter::kFramesSent) - before;
  EXPECT_LT(packets, kSize / 1428 / 3);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissions), 0u);
}

TEST_F(SegmentationTest, GivenALossInsideAPacketWhenRepeatedThenThatSegmentOnly) {
  PostRecv(0, kSize);
  Settle();
  uint32_t segments = 0;
  pair.cable.filter = [&](Frame& frame, bool from_a) {
    return !(from_a && frame.size() > 1000 && ++segments == 15);
  };
  PostSend(0, kSize);
  pair.cable.Advance(1000 * kMs);
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), kSize), 0);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissions), 1u);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissionTimeouts), 0u);
}

TEST_F(SegmentationTest, GivenThePathsMtuFallsMeanwhileWhenAPacketLeavesThenInSmallerSegments) {
  PostRecv(0, kSize);
  Settle();
  std::vector<Frame> refused;
  size_t largest = 0;
  bool narrow = true;
  pair.cable.filter = [&](Frame& frame, bool from_a) {
    if (!from_a) return true;
    if (narrow && frame.size() > 1300) {
      if (refused.empty()) refused.push_back(frame);
      return false;
    }
    if (!refused.empty()) largest = std::max(largest, frame.size());
    return true;
  };
  PostSend(0, kSize);
  pair.cable.Run();
  ASSERT_EQ(refused.size(), 1u);
  Arrive(pair.a, TooBig(refused[0], 1300));
  pair.cable.Advance(2000 * kMs);
  EXPECT_EQ(largest, 1300u);
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), kSize), 0);
}

TEST_F(SegmentationTest, GivenAPacketThatTheWireRefusedWhenTheMtuFallsThenItIsCutAnew) {
  PostRecv(0, 4096);
  PostRecv(4096, 65536);
  Settle();
  PostSend(0, 1000);
  pair.a.Run();
  const Frame sent = pair.a.hardware.outgoing.back();  // quoted as if it had been large
  pair.a.hardware.outgoing.pop_back();
  pair.a.hardware.wire_full = true;
  PostSend(1000, 10000);
  pair.a.Run();
  Frame quoted = sent;
  quoted.resize(1500);
  StoreBe16(&quoted[4], 1460);
  Arrive(pair.a, TooBig(quoted, 1300));
  pair.a.hardware.wire_full = false;
  pair.a.Run();
  ASSERT_FALSE(pair.a.hardware.outgoing.empty());
  EXPECT_GT(pair.a.hardware.packets_cut, 0u);
  pair.cable.filter = [](Frame& frame, bool from_a) {
    EXPECT_TRUE(!from_a || frame.size() <= 1300);
    return true;
  };
  pair.cable.Advance(2000 * kMs);
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 2u);
  EXPECT_EQ(std::memcmp(sink.data() + 4096, source.data() + 1000, 10000), 0);
}

TEST(UrgentSegmentation, GivenAPacketThatTheWireRefusedWhenUrgentTextFollowsThenItHasNoPointer) {
  NicConfig config = SegmentingConfig();
  config.wqe_prefetch = 1;
  ConnectedPair pair({.framing = abi::Framing::kStream}, config);
  HostMemory source{pair.a.hardware, kSize}, sink{pair.b.hardware, kSize};
  const uint32_t key = pair.a.Register(source, 0), sink_key = pair.b.Register(sink);
  for (uint32_t i = 0; i < 2; ++i)
    pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, i << 16, 1 << 16)});
  pair.b.Run();
  pair.cable.Run();
  pair.a.hardware.wire_full = true;
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, key, 0, 10000)}, false);
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, key, 10000, 100)}, false);
  abi::SendWqe* urgent = reinterpret_cast<abi::SendWqe*>(pair.qp_a->send_ring->data() + 128);
  urgent->flags |= abi::kSendUrgent;
  pair.a.hardware.hold_dma = true;
  pair.a.RingSend(*pair.qp_a);
  pair.a.Run();  // the first request is on its way
  pair.a.hardware.hold_dma = false;
  qpip_fw_step(pair.a.arena.data(), &pair.a.hardware.platform(), pair.a.now, 1);
  pair.a.hardware.hold_dma = true;
  pair.a.Run();  // its text, and the urgent request behind it
  pair.a.hardware.hold_dma = false;
  pair.a.Run();
  pair.a.hardware.wire_full = false;
  // What a segment with URG points to is the byte behind the urgent message, and nothing else.
  std::set<uint32_t> ends;
  pair.cable.filter = [&](Frame& frame, bool from_a) {
    if (from_a && (frame[40 + 13] & tcp::kUrg) != 0) {
      ends.insert(LoadBe32(&frame[44]) + LoadBe16(&frame[40 + 18]));
    }
    return true;
  };
  pair.cable.Run();
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), 10100), 0);
  EXPECT_GT(pair.a.hardware.packets_cut, 0u);
  EXPECT_EQ(ends.size(), 1u);
}

TEST(SegmentationQuantum, GivenAQuantumBelowAPacketWhenSentThenTheWholeMessageArrives) {
  NicConfig config = SegmentingConfig();
  config.scheduler_quantum = 1000;
  ConnectedPair pair({.framing = abi::Framing::kSegment}, config);
  HostMemory source{pair.a.hardware, kSize}, sink{pair.b.hardware, kSize};
  FillPattern(source);
  pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, pair.b.Register(sink), 0, kSize)});
  pair.b.Run();
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, pair.a.Register(source, 0), 0, kSize)});
  pair.cable.Run();
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), kSize), 0);
}

TEST_F(SegmentationTest, GivenMessagesWhenSentTogetherThenNoneIsMergedOrCutShort) {
  const uint32_t lengths[] = {5000, 1, 60000, 1428, 1429, 2856, 100000, 7};
  uint32_t at = 0;
  for (uint32_t i = 0; i < std::size(lengths); ++i) PostRecv(i << 17, 1 << 17);
  Settle();
  for (const uint32_t length : lengths) {
    PostSend(at, length);
    at += length;
  }
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), std::size(lengths));
  at = 0;
  for (uint32_t i = 0; i < std::size(lengths); ++i) {
    EXPECT_EQ(received[i].byte_length, lengths[i]);
    EXPECT_EQ(std::memcmp(sink.data() + (i << 17), source.data() + at, lengths[i]), 0);
    at += lengths[i];
  }
  EXPECT_GT(pair.a.hardware.packets_cut, 3u);
}

}  // namespace
}  // namespace qpip::fw::test
