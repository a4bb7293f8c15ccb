// What the answer to a tail loss probe says of losses, and when there may be another probe (RFC
// 8985 7.1, 7.3 and 7.4).
#include <utility>
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint64_t kRoundTrip = 10 * kMs;
constexpr uint32_t kSegment = 1000;

/// Opens a connection with SACK in one round trip.
void Open(Connection& c) {
  c.peer_sack = true;
  c.OpenActively();
  c.Drain();
  c.now += kRoundTrip;
  Segment syn_ack = c.PeerSyn();
  syn_ack.header.flags = kSyn | kAck;
  syn_ack.header.acknowledgement = c.iss() + 1;
  c.Arrive(syn_ack);
  c.Drain();
}

class ProbeAnswer : public ::testing::Test {
 protected:
  void SetUp() override {
    Open(c);
    for (int i = 0; i < 10; ++i) {
      c.Send(10 * kSegment);
      c.now += kRoundTrip;
      c.Arrive(c.WithAck(c.tcb.snd.max));
    }
    base = c.tcb.snd.max;
  }

  /// An ACK of everything before segment `una` that sacks [block.first, block.second).
  Segment Ack(uint32_t una, std::pair<uint32_t, uint32_t> block = {0, 0}) const {
    Segment ack = c.WithAck(At(una));
    if (block.second == 0) return ack;
    ack.header.sack_count = 1;
    ack.header.sack[0] = {At(block.first), At(block.second)};
    return ack;
  }
  SequenceNumber At(uint32_t segment) const { return base + segment * kSegment; }

  /// Sends `count` segments, of which nobody hears, until the last has gone again.
  void LoseTail(uint32_t count) {
    ASSERT_EQ(c.Send(count * kSegment).size(), count);
    ASSERT_FALSE(c.AdvanceTo(c.tcb.tail_probe.deadline).retransmission_timeout);
    const std::vector<SentSegment> probe = c.Drain();
    ASSERT_EQ(probe.size(), 1u);
    ASSERT_EQ(probe[0].header.sequence, At(count - 1));
    c.now += kRoundTrip;
  }
  /// One segment more, and its ACK: the first beyond the probe.
  void SendOneMore(uint32_t index) {
    ASSERT_EQ(c.Send(kSegment).size(), 1u);
    c.now += kRoundTrip;
    c.Arrive(Ack(index + 1));
  }

  Connection c{PlainOptions()};
  SequenceNumber base;
};

TEST_F(ProbeAnswer, GivenItShowsALossThatIsRepairedThenTheWindowIsCutOnce) {
  LoseTail(10);
  c.Arrive(Ack(0, {1, 10}));
  ASSERT_TRUE(c.tcb.in_recovery);
  ASSERT_EQ(c.Drain().size(), 1u);
  const uint32_t threshold = c.tcb.ssthresh;
  c.now += kRoundTrip;
  c.Arrive(Ack(10));
  ASSERT_FALSE(c.tcb.in_recovery);
  const uint32_t window = c.tcb.cwnd;
  SendOneMore(10);
  EXPECT_EQ(c.tcb.ssthresh, threshold);
  EXPECT_GE(c.tcb.cwnd, window);
}

TEST_F(ProbeAnswer, GivenSeveralLossesAreRepairedThenTheWindowIsCutOnce) {
  LoseTail(6);
  c.Arrive(Ack(1, {5, 6}));
  ASSERT_TRUE(c.tcb.in_recovery);
  const uint32_t threshold = c.tcb.ssthresh;
  for (uint32_t una = 2; una < 6; ++una) {
    c.Drain();
    c.now += kRoundTrip;
    c.Arrive(una == 5 ? Ack(6) : Ack(una, {5, 6}));
  }
  ASSERT_FALSE(c.tcb.in_recovery);
  SendOneMore(6);
  EXPECT_EQ(c.tcb.ssthresh, threshold);
}

TEST(FirstFlight, GivenNothingArrivesButTheProbeThenTheRestIsRepairedWithoutATimeOut) {
  Connection c{PlainOptions()};
  Open(c);
  const SequenceNumber start = c.tcb.snd.max;
  ASSERT_EQ(c.Send(3 * kSegment).size(), 3u);
  ASSERT_FALSE(c.AdvanceTo(c.tcb.tail_probe.deadline).retransmission_timeout);
  ASSERT_EQ(c.Drain().size(), 1u);
  c.now += kRoundTrip;
  Segment ack = c.WithAck(start);
  ack.header.sack_count = 1;
  ack.header.sack[0] = {start + 2 * kSegment, start + 3 * kSegment};
  c.Arrive(ack);
  EXPECT_TRUE(c.tcb.in_recovery);
  const std::vector<SentSegment> again = c.Drain();
  ASSERT_FALSE(again.empty());
  EXPECT_EQ(again[0].header.sequence, start);
}

TEST_F(ProbeAnswer, GivenADuplicateFromAPeerThatReportsNoneThenTheWindowStays) {
  LoseTail(3);
  const uint32_t window = c.tcb.cwnd;
  c.Arrive(Ack(3));  // the original's
  c.Arrive(Ack(3));  // the probe's
  SendOneMore(3);
  EXPECT_GE(c.tcb.cwnd, window);
}

TEST_F(ProbeAnswer, GivenOnlyOneAnswerThenTheWindowIsCut) {
  LoseTail(3);
  const uint32_t window = c.tcb.cwnd;
  c.Arrive(Ack(3));
  SendOneMore(3);
  EXPECT_LT(c.tcb.cwnd, window);
}

TEST_F(ProbeAnswer, GivenASecondAckWithTextThenItIsNoDuplicate) {
  LoseTail(3);
  const uint32_t window = c.tcb.cwnd;
  c.Arrive(Ack(3));
  Segment text = Ack(3);
  text.text_length = 10;
  c.ArriveAndPlace(text);
  SendOneMore(3);
  EXPECT_LT(c.tcb.cwnd, window);
}

TEST_F(ProbeAnswer, GivenASecondAckWithAnotherWindowThenItIsNoDuplicate) {
  LoseTail(3);
  const uint32_t window = c.tcb.cwnd;
  c.Arrive(Ack(3));
  c.peer_window -= 1000;
  c.Arrive(Ack(3));
  SendOneMore(3);
  EXPECT_LT(c.tcb.cwnd, window);
}

TEST_F(ProbeAnswer, GivenNoRoundTripMeasuredSinceTheProbeThenThereIsNoOther) {
  LoseTail(1);
  ASSERT_TRUE(c.AdvanceTo(c.tcb.retransmit_deadline).retransmission_timeout);
  ASSERT_EQ(c.Drain().size(), 1u);
  c.now += kRoundTrip;
  c.Arrive(Ack(1));  // of what was sent three times: Karn
  ASSERT_EQ(c.Send(kSegment).size(), 1u);
  EXPECT_EQ(c.tcb.tail_probe.deadline, kNever);
  c.now += kRoundTrip;
  c.Arrive(Ack(2));
  c.Send(kSegment);
  EXPECT_NE(c.tcb.tail_probe.deadline, kNever);
}

}  // namespace
}  // namespace qpip::tcp::testing
