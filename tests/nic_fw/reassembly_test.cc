// Segments ahead of their turn: where their text waits, and how it reaches posted receives.
#include <random>

#include "test_support.h"

namespace qpip::fw::test {
namespace {

constexpr uint32_t kFullSegment = 1500 - 40 - 20 - 12;
constexpr uint32_t kFrameWithoutText = 40 + 20 + 12 + 12 + 16;  // headers, time-stamps, SACK

QpSpec SpecWith(abi::Framing framing) {
  QpSpec spec;
  spec.framing = framing;
  spec.overflow_bytes = 65536;
  return spec;
}

/// Without SACK, so that the sender waits for duplicates or its timer and the receiver can be
/// looked at in between.
NicConfig WithSack(bool sack) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.tcp.sack = sack;
  return config;
}

struct Reassembly : ::testing::TestWithParam<abi::Framing> {
  ConnectedPair pair{SpecWith(GetParam()), WithSack(false)};
  HostMemory source{pair.a.hardware, 1 << 20};
  HostMemory sink{pair.b.hardware, 1 << 20};
  uint32_t source_key = pair.a.Register(source, 0);
  uint32_t sink_key = pair.b.Register(sink);
  std::vector<uint8_t> received;
  std::vector<uint32_t> lengths;
  uint32_t receive_bytes = 4096;

  void SetUp() override { FillPattern(source); }

  void PostRecv(uint32_t index) {
    pair.b.PostRecv(*pair.qp_b,
                    {SgeOf(sink, sink_key, uint64_t{index % 64} * receive_bytes, receive_bytes)});
  }
  void Send(uint64_t offset, uint32_t length) {
    pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, offset, length)});
  }
  /// Loses the n-th frame with text that `a` sends from now on (0: the first).
  void LoseDataFrame(uint32_t n) {
    pair.cable.filter = [n, seen = 0u](Frame& frame, bool from_a) mutable {
      return !from_a || frame.size() <= kFrameWithoutText || seen++ != n;
    };
  }
  void Collect() {
    for (const abi::Cqe& cqe : pair.b.Poll(*pair.cq_b)) {
      ASSERT_EQ(cqe.status, 0);
      const uint8_t* at = sink.data() + uint64_t{cqe.wqe_index % 64} * receive_bytes;
      received.insert(received.end(), at, at + cqe.byte_length);
      lengths.push_back(cqe.byte_length);
    }
  }
  void ExpectReceived(uint32_t bytes) {
    ASSERT_EQ(received.size(), bytes);
    EXPECT_EQ(std::memcmp(received.data(), source.data(), bytes), 0);
  }
  bool segments() const { return GetParam() == abi::Framing::kSegment; }
};
INSTANTIATE_TEST_SUITE_P(Framings, Reassembly,
                         ::testing::Values(abi::Framing::kSegment, abi::Framing::kStream),
                         [](const auto& test) {
                           return test.param == abi::Framing::kSegment ? "Segment" : "Stream";
                         });

TEST_P(Reassembly, GivenFirstOfThreeLostWhenRepeatedThenTheOthersNeedNotBe) {
  for (uint32_t i = 0; i < 8; ++i) PostRecv(i);
  LoseDataFrame(0);
  for (uint32_t i = 0; i < 3; ++i) Send(i * kFullSegment, kFullSegment);
  pair.cable.Run();
  EXPECT_EQ(pair.b.Counter(abi::NicCounter::kTcpSegmentsHeld), 2u);
  EXPECT_TRUE(pair.b.Poll(*pair.cq_b).empty()) << "nothing is delivered out of order";
  pair.cable.Advance(1000 * kMs);
  Collect();
  ExpectReceived(3 * kFullSegment);
  if (segments()) {
    EXPECT_EQ(lengths, std::vector<uint32_t>(3, kFullSegment));
  }
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissions), 1u);
  EXPECT_EQ(pair.a.Poll(*pair.cq_a).size(), 3u);
  EXPECT_EQ(pair.b.AllDrops(), 0u);
}

TEST_P(Reassembly, GivenSegmentOfLongMessageLostWhenRepeatedThenMessageIsWhole) {
  receive_bytes = 16384;
  for (uint32_t i = 0; i < 4; ++i) PostRecv(i);
  LoseDataFrame(2);
  Send(0, 12000);
  pair.cable.Run();
  pair.cable.Advance(2000 * kMs);
  Collect();
  ExpectReceived(12000);
  if (segments()) {
    EXPECT_EQ(lengths, (std::vector<uint32_t>{12000}));
  }
  EXPECT_GT(pair.b.Counter(abi::NicCounter::kTcpSegmentsHeld), 3u);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissions), 1u);
}

TEST_P(Reassembly, GivenShortMessagesUseReceivesUpWhenGapClosesThenHeldTextWaitsForReceives) {
  // Two receives admit a window of many short messages: most of these wait in the pool, some of
  // them behind a gap.
  receive_bytes = 16384;
  PostRecv(0);
  PostRecv(1);
  pair.cable.Run();
  LoseDataFrame(3);
  for (uint32_t i = 0; i < 10; ++i) {
    Send(i * 100, 100);
    pair.a.Run();  // on its own: a stream's segments hold what there is
  }
  pair.cable.Run();
  EXPECT_EQ(pair.b.Counter(abi::NicCounter::kTcpSegmentsHeld), 6u);
  Collect();
  pair.cable.Advance(1000 * kMs);
  Collect();
  for (uint32_t i = 2; i < 12; ++i) PostRecv(i);
  pair.cable.Run();
  Collect();
  ExpectReceived(1000);
  if (segments()) {
    EXPECT_EQ(lengths, std::vector<uint32_t>(10, 100));
  }
}

TEST_P(Reassembly, GivenFinBehindGapWhenGapClosesThenDataComesBeforeTheEnd) {
  for (uint32_t i = 0; i < 8; ++i) PostRecv(i);
  LoseDataFrame(0);
  Send(0, 1000);
  Send(1000, 1000);
  pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a);
  pair.cable.Run();
  EXPECT_TRUE(EventsOf(pair.b, abi::EventKind::kPeerClosed).empty());
  pair.cable.Advance(1000 * kMs);
  const auto completions = pair.b.Poll(*pair.cq_b);
  ASSERT_GE(completions.size(), 3u);
  uint32_t bytes = 0;
  size_t i = 0;
  for (; i < completions.size() && (completions[i].flags & abi::kCqeEndOfStream) == 0; ++i) {
    EXPECT_EQ(completions[i].status, 0);
    bytes += completions[i].byte_length;
  }
  EXPECT_EQ(bytes, 2000u);
  ASSERT_LT(i, completions.size());
  EXPECT_EQ(completions[i].status, 0);
}

TEST_P(Reassembly, GivenHeldTextWhenConnectionIsResetThenAllIsGivenBack) {
  for (uint32_t i = 0; i < 8; ++i) PostRecv(i);
  LoseDataFrame(0);
  for (uint32_t i = 0; i < 2; ++i) Send(i * 1000, 1000);
  pair.cable.Run();
  pair.b.hardware.hold_dma = true;  // one more is on its way to its place
  Send(2000, 1000);
  pair.cable.Run();
  pair.a.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_a);
  pair.cable.Run();
  EXPECT_TRUE(pair.b.Poll(*pair.cq_b).empty()) << "memory is in use until the transfer ends";
  pair.b.hardware.hold_dma = false;
  pair.cable.Run();
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 8u);
  EXPECT_EQ(pair.b.hardware.frames_borrowed(), 0u);
  // The same memory serves a new queue pair.
  EXPECT_EQ(pair.b.QpCommand(abi::CommandOpcode::kDestroyQp, *pair.qp_b).status, 0);
}

class ReassemblyStorm : public ::testing::TestWithParam<std::tuple<abi::Framing, uint32_t>> {};
INSTANTIATE_TEST_SUITE_P(Seeds, ReassemblyStorm,
                         ::testing::Combine(::testing::Values(abi::Framing::kSegment,
                                                              abi::Framing::kStream),
                                            ::testing::Range(0u, 8u)));

TEST_P(ReassemblyStorm, GivenBadNetworkAndLateReceivesWhenMessagesOfAllSizesThenEveryByteIsRight) {
  const auto [framing, seed] = GetParam();
  std::mt19937 random(seed);
  ConnectedPair pair(SpecWith(framing), WithSack(seed % 4 != 0));
  HostMemory source(pair.a.hardware, 1 << 20);
  HostMemory sink(pair.b.hardware, 1 << 20);
  FillPattern(source, seed);
  const uint32_t source_key = pair.a.Register(source, 0);
  const uint32_t sink_key = pair.b.Register(sink);
  std::vector<Frame> late;
  pair.cable.filter = [&](Frame& frame, bool from_a) {
    if (random() % 100 < 6) return false;
    if (from_a && random() % 100 < 10) {  // overtaken by those behind it
      late.push_back(frame);
      return false;
    }
    return true;
  };
  constexpr uint32_t kMessages = 150;
  std::vector<uint32_t> sizes;
  for (uint32_t i = 0; i < kMessages; ++i) sizes.push_back(1 + random() % 6000);
  uint32_t posted = 0, sent = 0, completed = 0;
  uint64_t sent_bytes = 0, got_bytes = 0;
  std::vector<uint32_t> lengths;
  const auto total = std::accumulate(sizes.begin(), sizes.end(), uint64_t{0});
  for (int guard = 0; got_bytes < total; ++guard) {
    ASSERT_LT(guard, 100000) << "seed " << seed << ": stalled at " << got_bytes;
    while (sent < kMessages && sent - completed < 32) {
      pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, sent_bytes, sizes[sent])});
      sent_bytes += sizes[sent++];
    }
    if (random() % 3 != 0 && posted - lengths.size() < 32) {
      pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, uint64_t{posted % 64} * 8192, 6000)});
      ++posted;
    }
    for (Frame& frame : late) pair.b.hardware.incoming.push_back(std::move(frame));
    late.clear();
    pair.cable.Advance(kMs, kMs);
    for (const abi::Cqe& cqe : pair.b.Poll(*pair.cq_b)) {
      ASSERT_EQ(cqe.status, 0);
      ASSERT_EQ(std::memcmp(sink.data() + uint64_t{cqe.wqe_index % 64} * 8192,
                            source.data() + got_bytes, cqe.byte_length),
                0)
          << "seed " << seed << " at " << got_bytes;
      got_bytes += cqe.byte_length;
      lengths.push_back(cqe.byte_length);
    }
    completed += static_cast<uint32_t>(pair.a.Poll(*pair.cq_a).size());
  }
  if (framing == abi::Framing::kSegment) {
    EXPECT_EQ(lengths, sizes);
  }
  EXPECT_GT(pair.b.Counter(abi::NicCounter::kTcpSegmentsHeld), 10u);
  EXPECT_EQ(pair.b.hardware.frames_borrowed(), 0u);
}

}  // namespace
}  // namespace qpip::fw::test
