// Reductions of the window that were for nothing, and how they are found out: Eifel's timestamps
// (RFC 3522), F-RTO (RFC 5682), D-SACK (RFC 3708). And that real losses are not taken for such.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kMss = 1000;
constexpr uint64_t kRtt = 100 * kMs;

struct Peer {
  bool sack;
  bool timestamps;
};

class Undoing : public ::testing::TestWithParam<Peer> {
 protected:
  static Options MakeOptions(bool timestamps) {
    Options options = PlainOptions();
    options.undo = true;
    options.timestamps = timestamps;
    options.user_timeout_ms = 0;
    return options;
  }

  void SetUp() override {
    c.peer_sack = GetParam().sack;
    c.peer_timestamps = GetParam().timestamps;
    c.Establish();
    for (int i = 0; i < 2; ++i) {  // a window of twenty segments or so
      const std::vector<SentSegment> sent = c.Send(c.tcb.cwnd);
      c.Advance(kRtt);
      for (const SentSegment& segment : sent)
        AckWith(segment.header.sequence + segment.length, segment);
    }
    ASSERT_EQ(c.tcb.snd.una, c.tcb.snd.max);
    cwnd = c.tcb.cwnd;
    ssthresh = c.tcb.ssthresh;
    ExtendSend(c.tcb, 200 * kMss);
    flight = c.Drain();
    ASSERT_GE(flight.size(), 10u);
  }

  /// An ACK up to `una` that was caused by the arrival of `cause`.
  void AckWith(SequenceNumber una, const SentSegment& cause,
               const std::vector<SackBlock>& blocks = {}) {
    Segment ack = c.WithAck(una);
    if (c.tcb.timestamps_on) ack.header.ts_echo = cause.header.ts_value;
    for (const SackBlock& block : blocks) ack.header.sack[ack.header.sack_count++] = block;
    c.Arrive(ack);
  }
  SequenceNumber End(const SentSegment& sent) const { return sent.header.sequence + sent.length; }

  void TimeOut() {
    if (c.tcb.tail_probe.deadline != kNever) {
      c.AdvanceTo(c.tcb.tail_probe.deadline);
      c.Drain();
    }
    c.AdvanceTo(c.tcb.retransmit_deadline);
    ASSERT_EQ(c.tcb.cwnd, c.tcb.snd.mss);
    again = c.Drain();
    ASSERT_EQ(again.size(), 1u);
    ASSERT_TRUE(again[0].intent.retransmission);
  }

  Connection c{MakeOptions(GetParam().timestamps)};
  std::vector<SentSegment> flight;
  std::vector<SentSegment> again;
  uint32_t cwnd = 0;
  uint32_t ssthresh = 0;
};

TEST_P(Undoing, GivenTimeOutTooEarlyWhenTheOriginalsAreAcknowledgedThenTheWindowsAreAsBefore) {
  TimeOut();
  AckWith(End(flight[0]), flight[0]);
  c.Drain();
  AckWith(End(flight[1]), flight[1]);
  EXPECT_GE(c.tcb.ssthresh, cwnd);
  EXPECT_GE(c.tcb.cwnd, cwnd / 2);
  // Nothing else is sent again.
  for (const SentSegment& sent : c.Drain()) EXPECT_FALSE(sent.intent.retransmission);
  for (size_t i = 2; i < flight.size(); ++i) {
    AckWith(End(flight[i]), flight[i]);
    for (const SentSegment& sent : c.Drain()) EXPECT_FALSE(sent.intent.retransmission);
  }
}

TEST_P(Undoing, GivenTimeOutThatWasRightWhenOnlyTheRepetitionIsAcknowledgedThenAllGoesAgain) {
  TimeOut();
  c.Advance(kRtt);
  AckWith(End(flight[0]), again[0]);  // the rest is lost
  std::vector<SentSegment> sent = c.Drain();
  ASSERT_FALSE(sent.empty());
  c.Advance(kRtt);
  // New text, if that is what went (F-RTO step 2b), draws duplicates; else a repetition went.
  if (!sent[0].intent.retransmission) {
    std::vector<SackBlock> blocks;
    if (GetParam().sack) blocks.push_back({sent[0].header.sequence, End(sent[0])});
    AckWith(c.tcb.snd.una, sent[0], blocks);
    sent = c.Drain();
    if (!GetParam().sack && sent.empty()) {
      AckWith(c.tcb.snd.una, flight[0]);
      sent = c.Drain();
    }
    ASSERT_FALSE(sent.empty());
  }
  EXPECT_TRUE(sent[0].intent.retransmission);
  EXPECT_EQ(sent[0].header.sequence, End(flight[0]));
  EXPECT_LT(c.tcb.ssthresh, cwnd);
  EXPECT_LE(c.tcb.cwnd, 4 * c.tcb.snd.mss);
}

TEST_P(Undoing, GivenTimeOutThatWasRightWhenThePeerKeepsNothingBehindTheGapThenAllGoesAgain) {
  TimeOut();
  c.Advance(kRtt);
  AckWith(End(flight[0]), again[0]);
  const std::vector<SentSegment> fresh = c.Drain();
  ASSERT_EQ(fresh.size(), 2u);
  ASSERT_FALSE(fresh[0].intent.retransmission);
  c.Advance(kRtt);
  for (const SentSegment& cause : fresh) AckWith(c.tcb.snd.una, cause);  // and names nothing
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_FALSE(sent.empty()) << "no need to wait for another time-out";
  EXPECT_TRUE(sent[0].intent.retransmission);
  EXPECT_EQ(sent[0].header.sequence, End(flight[0]));
}

TEST_P(Undoing, GivenNewTextThatHasNotGoneOutWhenTheSecondAckIsAwaitedThenNoneGoesBeforeIt) {
  TimeOut();
  AckWith(End(flight[0]), again[0]);
  const std::vector<SentSegment> fresh = c.Drain();
  ASSERT_EQ(fresh.size(), 2u);
  TakeBackSent(c.tcb, fresh[1].header.sequence, End(fresh[1]), c.tcb.undo.repeated);
  const SendIntent next = NextSend(c.tcb, c.now);
  EXPECT_EQ(next.kind, SendIntent::Kind::kData);
  EXPECT_TRUE(next.retransmission) << "nobody answers to what has not gone";
}

using UndoingWithSack = Undoing;

TEST_P(UndoingWithSack, GivenTextThatDidNotLeaveWhenATimeOutWasForNothingThenItAloneStillGoes) {
  TimeOut();
  TakeBackSent(c.tcb, flight[5].header.sequence, End(flight[5]), c.tcb.undo.repeated);
  AckWith(End(flight[0]), flight[0]);
  ASSERT_GE(c.tcb.ssthresh, cwnd);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent[0].header.sequence, flight[5].header.sequence);
  EXPECT_EQ(sent[0].length, flight[5].length);
  for (size_t i = 1; i < sent.size(); ++i) EXPECT_FALSE(sent[i].intent.retransmission) << i;
}

TEST_P(Undoing, GivenNewTextAfterTheFirstAcknowledgementThenAtMostTwoSegments) {
  TimeOut();
  // With SACK and timestamps the first ACK already tells; an ACK of the repetition does not.
  AckWith(End(flight[0]), again[0]);
  std::vector<SentSegment> sent = c.Drain();
  EXPECT_LE(sent.size(), 2u);
  for (const SentSegment& segment : sent) EXPECT_FALSE(segment.intent.retransmission);
}

TEST_P(Undoing, GivenFastRetransmitOfWhatWasOnlyLateWhenItIsKnownThenTheWindowsAreAsBefore) {
  if (!GetParam().timestamps && !GetParam().sack) {
    // Nothing tells them apart: the reduction stays.
    for (int i = 1; i <= 3; ++i) AckWith(c.tcb.snd.una, flight[0]);
    ASSERT_TRUE(c.tcb.in_recovery);
    c.Drain();
    AckWith(End(flight[9]), flight[0]);
    EXPECT_LT(c.tcb.ssthresh, cwnd);
    return;
  }
  c.Advance(20 * kMs);
  for (size_t i = 1; i <= 3; ++i) {
    std::vector<SackBlock> blocks;
    if (GetParam().sack) blocks.push_back({flight[1].header.sequence, End(flight[i])});
    // RFC 7323 4.3: what fills no gap does not change the echo.
    AckWith(c.tcb.snd.una, flight[0], blocks);
  }
  ASSERT_TRUE(c.tcb.in_recovery);
  again = c.Drain();
  ASSERT_TRUE(again.at(0).intent.retransmission);
  ASSERT_EQ(again[0].header.sequence, flight[0].header.sequence);
  c.Advance(5 * kMs);
  AckWith(End(flight[3]), flight[0]);  // the original has come, behind the others
  if (GetParam().sack && !GetParam().timestamps) {
    EXPECT_LT(c.tcb.ssthresh, cwnd);
    // The repetition has come too, as a duplicate.
    AckWith(c.tcb.snd.una, flight[0], {{flight[0].header.sequence, End(flight[0])}});
  }
  EXPECT_FALSE(c.tcb.in_recovery);
  EXPECT_GE(c.tcb.ssthresh, cwnd);
}

TEST_P(Undoing, GivenFastRetransmitThatWasNeededThenTheReductionStays) {
  c.Advance(20 * kMs);
  for (size_t i = 1; i <= 3; ++i) {
    std::vector<SackBlock> blocks;
    if (GetParam().sack) blocks.push_back({flight[1].header.sequence, End(flight[i])});
    AckWith(c.tcb.snd.una, flight[0], blocks);
  }
  ASSERT_TRUE(c.tcb.in_recovery);
  again = c.Drain();
  c.Advance(kRtt);
  AckWith(c.tcb.recover, again.at(0));
  EXPECT_FALSE(c.tcb.in_recovery);
  EXPECT_LT(c.tcb.ssthresh, cwnd);
  EXPECT_LE(c.tcb.cwnd, c.tcb.ssthresh + kMss);
}

TEST_P(Undoing, GivenTheTimerCutsANeededRecoveryShortWhenItsRepetitionArrivesThenReduced) {
  c.Advance(20 * kMs);
  for (size_t i = 1; i <= 3; ++i) {
    std::vector<SackBlock> blocks;
    if (GetParam().sack) blocks.push_back({flight[1].header.sequence, End(flight[i])});
    AckWith(c.tcb.snd.una, flight[0], blocks);
  }
  ASSERT_TRUE(c.tcb.in_recovery);
  again = c.Drain();
  ASSERT_FALSE(again.empty());
  ASSERT_EQ(again[0].header.sequence, flight[0].header.sequence);
  c.AdvanceTo(c.tcb.retransmit_deadline);  // the repetition is on its way
  ASSERT_TRUE(c.tcb.timed_out);
  c.Drain();
  c.Advance(20 * kMs);
  AckWith(End(flight.back()), again[0]);
  EXPECT_LT(c.tcb.ssthresh, cwnd);
  EXPECT_LT(c.tcb.cwnd, cwnd);
}

TEST_P(Undoing, GivenTimeOutWhenARouterRefusesWhatIsInFlightThenItGoesAgainAtOnce) {
  TimeOut();
  AckWith(End(flight[0]), again[0]);  // F-RTO waits for a second ACK
  c.Drain();
  ASSERT_EQ(c.tcb.frto, FRto::kSecondAck);
  ASSERT_TRUE(OnPacketTooBig(c.tcb, c.tcb.snd.una, 1280 - 400, c.now));
  c.Check();
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_FALSE(sent.empty());
  EXPECT_TRUE(sent[0].intent.retransmission);
  EXPECT_EQ(sent[0].header.sequence, c.tcb.snd.una);
}

TEST_P(Undoing, GivenSwitchedOffThenAReductionStays) {
  c.tcb.options.undo = false;
  TimeOut();
  AckWith(End(flight[0]), flight[0]);
  c.Drain();
  AckWith(End(flight[1]), flight[1]);
  EXPECT_LT(c.tcb.ssthresh, cwnd);
}

INSTANTIATE_TEST_SUITE_P(Peers, Undoing,
                         ::testing::Values(Peer{false, false}, Peer{false, true}, Peer{true, false},
                                           Peer{true, true}),
                         [](const ::testing::TestParamInfo<Peer>& row) {
                           return std::string(row.param.sack ? "Sack" : "NoSack") +
                                  (row.param.timestamps ? "Timestamps" : "NoTimestamps");
                         });
INSTANTIATE_TEST_SUITE_P(Peers, UndoingWithSack, ::testing::Values(Peer{true, true}));

}  // namespace
}  // namespace qpip::tcp::testing
