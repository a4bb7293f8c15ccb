// Path MTU discovery (RFC 8201): segments that a router refuses.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kSmallMtu = 860;  // segments of 800 bytes, not 1000

/// With SACK and without, at plain sequence numbers and where they wrap.
struct PathMtuCase {
  bool sack;
  SequencePlan plan;
};

class PathMtuTest : public ::testing::TestWithParam<PathMtuCase> {
 protected:
  PathMtuTest() : c(PlainOptions(), GetParam().plan) {
    c.peer_sack = GetParam().sack;
    c.Establish();
    base = c.tcb.snd.una;
  }
  Connection c;
  SequenceNumber base;
};

TEST_P(PathMtuTest, GivenSegmentsInFlightWhenTheFirstIsRefusedThenAllGoAgainSmallerAtOnce) {
  ASSERT_EQ(c.Send(4000).size(), 4u);
  const uint32_t cwnd = c.tcb.cwnd;
  const uint32_t ssthresh = c.tcb.ssthresh;
  EXPECT_TRUE(OnPacketTooBig(c.tcb, base, kSmallMtu, c.now));
  c.Check();
  const auto again = c.Drain();
  ASSERT_EQ(again.size(), 5u);
  SequenceNumber next = base;
  for (const SentSegment& sent : again) {
    EXPECT_EQ(sent.header.sequence, next);
    EXPECT_EQ(sent.length, 800u);
    EXPECT_TRUE(sent.intent.retransmission);
    next += sent.length;
  }
  // No congestion: neither window has shrunk.
  EXPECT_EQ(c.tcb.cwnd, cwnd);
  EXPECT_EQ(c.tcb.ssthresh, ssthresh);
  EXPECT_FALSE(c.tcb.in_recovery);
  c.Arrive(c.WithAck(base + 4000));
  EXPECT_EQ(c.tcb.snd.una, base + 4000);
  EXPECT_EQ(c.Send(1600).size(), 2u);
}

TEST_P(PathMtuTest, GivenARefusalWhenTheOthersOfTheFlightAreReportedThenNothingGoesTwice) {
  c.Send(4000);
  EXPECT_TRUE(OnPacketTooBig(c.tcb, base, kSmallMtu, c.now));
  for (uint32_t i = 1; i < 4; ++i) {
    EXPECT_FALSE(OnPacketTooBig(c.tcb, base + i * 1000, kSmallMtu, c.now));
  }
  EXPECT_EQ(c.Drain().size(), 5u);
  EXPECT_FALSE(OnPacketTooBig(c.tcb, base, kSmallMtu, c.now));
  EXPECT_TRUE(c.Drain().empty());
}

TEST_P(PathMtuTest, GivenARefusalWhenALaterRouterIsSmallerStillThenAllGoesAgain) {
  c.Send(4000);
  EXPECT_TRUE(OnPacketTooBig(c.tcb, base, kSmallMtu, c.now));
  c.Drain();
  EXPECT_TRUE(OnPacketTooBig(c.tcb, base, 660, c.now));
  const auto again = c.Drain();
  ASSERT_EQ(again.size(), 7u);
  EXPECT_EQ(again[0].length, 600u);
}

TEST_P(PathMtuTest, GivenASequenceNumberThatIsNotOutstandingWhenReportedThenNothingChanges) {
  c.Send(1000);
  for (const SequenceNumber forged : {base - 1, base + 1000, base + 0x40000000}) {
    EXPECT_FALSE(OnPacketTooBig(c.tcb, forged, kSmallMtu, c.now));
  }
  EXPECT_EQ(c.tcb.snd.mss, 1000u);
  EXPECT_TRUE(c.Drain().empty());
}

TEST_P(PathMtuTest, GivenAMiddleSegmentWhenItIsRefusedThenWhatWasBeforeItIsNotRepeatedWithSack) {
  c.Send(4000);
  EXPECT_TRUE(OnPacketTooBig(c.tcb, base + 2000, kSmallMtu, c.now));
  const auto again = c.Drain();
  ASSERT_FALSE(again.empty());
  EXPECT_EQ(again[0].header.sequence, GetParam().sack ? base + 2000 : base);
}

TEST_P(PathMtuTest, GivenAnotherConnectionsNewsWhenThePathShrinksThenOnlyNewSegmentsAreSmaller) {
  c.Send(1000);
  SetPathMtu(c.tcb, kSmallMtu);
  EXPECT_TRUE(c.Drain().empty());
  const auto sent = c.Send(1600);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].length, 800u);
  // The one that was in flight is refused: the size is known, the loss is not.
  EXPECT_TRUE(OnPacketTooBig(c.tcb, base, kSmallMtu, c.now));
  const auto again = c.Drain();
  ASSERT_FALSE(again.empty());
  EXPECT_EQ(again[0].header.sequence, base);
}

TEST_P(PathMtuTest, GivenASmallPathWhenItGrowsThenNotBeyondTheHandshake) {
  SetPathMtu(c.tcb, kSmallMtu);
  EXPECT_EQ(c.tcb.snd.mss, 800u);
  SetPathMtu(c.tcb, 9000);
  c.Check();
  EXPECT_EQ(c.tcb.snd.mss, 1000u);
}

TEST_P(PathMtuTest, GivenNothingAcknowledgedWhenRefusedSegmentsGoAgainThenTheTimerRuns) {
  c.Send(3000);
  c.now += 100 * kMs;
  EXPECT_TRUE(OnPacketTooBig(c.tcb, base, kSmallMtu, c.now));
  c.Drain();
  EXPECT_GT(c.tcb.retransmit_deadline, c.now);
  const uint32_t before = c.tcb.rtt.backoff;
  EXPECT_TRUE(c.AdvanceTo(c.tcb.retransmit_deadline).retransmission_timeout);
  EXPECT_EQ(c.tcb.rtt.backoff, before + 1u);
  ASSERT_FALSE(c.Drain().empty());
}

TEST_P(PathMtuTest, GivenASegmentCutBeforeThePathShrankWhenItsHeaderIsRefreshedThenItIsSound) {
  ExtendSend(c.tcb, 1000);
  const SendIntent intent = NextSend(c.tcb, c.now);
  Header header = CommitSend(c.tcb, intent, 1000, true, c.now);
  EXPECT_TRUE(OnPacketTooBig(c.tcb, base, kSmallMtu, c.now));
  RefreshHeader(c.tcb, &header, 1000, c.now);
  EXPECT_EQ(header.sack_count, 0);
}

TEST(PathMtuStates, GivenAnUnsynchronisedConnectionWhenReportedThenNothingIsRepeated) {
  Connection c;
  c.BringTo(State::kSynSent);
  EXPECT_TRUE(IsOutstanding(c.tcb, c.iss()));
  EXPECT_FALSE(OnPacketTooBig(c.tcb, c.iss(), kSmallMtu, c.now));
  Connection closed;
  closed.BringTo(State::kClosed);
  EXPECT_FALSE(IsOutstanding(closed.tcb, closed.tcb.snd.una));
}

TEST(PathMtuTimestamps, GivenTimestampsWhenThePathIsKnownThenTheirOptionIsDeducted) {
  Options options = PlainOptions();
  options.timestamps = true;
  Connection c(options);
  c.peer_timestamps = true;
  c.Establish();
  SetPathMtu(c.tcb, kSmallMtu);
  EXPECT_EQ(c.tcb.snd.mss, 788u);
}

std::vector<PathMtuCase> Cases() {
  std::vector<PathMtuCase> cases;
  for (const SequencePlan& plan : kSequencePlans) {
    cases.push_back({false, plan});
    cases.push_back({true, plan});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, PathMtuTest, ::testing::ValuesIn(Cases()), [](const auto& test) {
  return std::string(test.param.plan.name) + (test.param.sack ? "Sack" : "NoSack");
});

}  // namespace
}  // namespace qpip::tcp::testing
