// What is in acknowledgements that others have overtaken, in the last one of a repair, in resets,
// and in the first ones behind a handshake.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint64_t kMs = 1000000;
constexpr uint32_t kSegment = 1000;

Options WithSack(bool sack = true) {
  Options options = PlainOptions();
  options.sack = sack;
  options.undo = false;
  return options;
}

/// Ten segments in flight for 10 ms, the round trip. At(n) is what they start with plus n.
struct TenOut {
  explicit TenOut(bool sack = true) : c(WithSack(sack)) {
    c.peer_sack = sack;
    c.Establish();
    c.Send(kSegment);
    c.now += 10 * kMs;
    c.Arrive(c.WithAck(c.tcb.snd.max));
    start = c.tcb.snd.max;
    EXPECT_EQ(c.Send(10 * kSegment).size(), 10u);
    c.now += 10 * kMs;
  }
  SequenceNumber At(uint32_t n) const { return start + n; }
  std::vector<SentSegment> Ack(uint32_t acknowledgement, std::vector<SackBlock> blocks = {}) {
    Segment ack = c.WithAck(At(acknowledgement));
    ack.header.sack_count = static_cast<uint8_t>(blocks.size());
    for (size_t i = 0; i < blocks.size(); ++i) ack.header.sack[i] = blocks[i];
    c.Arrive(ack);
    return c.Drain();
  }
  SackBlock Block(uint32_t from, uint32_t to) const { return {At(from), At(to)}; }
  /// All that goes until the peer has heard of everything; whether [from, to) was of it.
  bool Repeats(const std::vector<SentSegment>& sent, uint32_t from, uint32_t to) const {
    for (const SentSegment& s : sent) {
      if (s.header.sequence.Before(At(to)) && (s.header.sequence + s.length).After(At(from))) {
        return true;
      }
    }
    return false;
  }

  Connection c;
  SequenceNumber start;
};

TEST(OvertakenAck, GivenItNamesWhatThePeerHoldsThenThatIsNotSentAgain) {
  TenOut t;
  t.Ack(3000, {t.Block(7000, 8000)});
  t.Ack(2000, {t.Block(4000, 6000)});
  EXPECT_EQ(t.c.tcb.sent.sacked, 3000u);
  std::vector<SentSegment> sent = t.Ack(4000);
  for (int i = 0; i < 10; ++i) {
    t.c.Advance(20 * kMs);
    const std::vector<SentSegment> more = t.c.Drain();
    sent.insert(sent.end(), more.begin(), more.end());
  }
  EXPECT_FALSE(t.Repeats(sent, 4000, 6000));
  EXPECT_FALSE(t.Repeats(sent, 7000, 8000));
}

TEST(OvertakenAck, GivenABlockThatReachesOverWhatIsAcknowledgedThenTheRestOfItCounts) {
  TenOut t;
  t.Ack(4000);
  t.Ack(2000, {t.Block(3000, 6000)});
  EXPECT_EQ(t.c.tcb.sent.sacked, 2000u);
}

TEST(OvertakenAck, GivenItTellsOfThreeSegmentsThenWhatIsBeforeThemIsRepeatedAtOnce) {
  TenOut t;
  t.Ack(4000);
  const std::vector<SentSegment> sent = t.Ack(3000, {t.Block(5000, 9000)});
  EXPECT_TRUE(t.c.tcb.in_recovery);
  EXPECT_TRUE(t.Repeats(sent, 4000, 5000));
}

TEST(OvertakenAck, GivenItIsOlderThanAnyWindowThenItsBlocksAreNotBelieved) {
  TenOut t;
  t.c.tcb.snd.iss_is_far = true;  // much was sent before
  const SequenceNumber una = t.c.tcb.snd.una;
  Segment ack = t.c.WithAck(una - t.c.tcb.snd.max_wnd - 1);
  ack.header.sack_count = 1;
  ack.header.sack[0] = t.Block(4000, 9000);
  EXPECT_EQ(t.c.Arrive(ack).refusal, Refusal::kBadAck);
  EXPECT_EQ(t.c.tcb.sent.sacked, 0u);
  // At the edge it is.
  ack.header.acknowledgement = una - t.c.tcb.snd.max_wnd;
  t.c.Arrive(ack);
  EXPECT_EQ(t.c.tcb.sent.sacked, 5000u);
}

TEST(OvertakenAck, GivenBlocksThatWereNeverSentOrAreAcknowledgedThenTheyAreNothing) {
  TenOut t;
  t.Ack(4000);
  const uint32_t window = t.c.tcb.cwnd;
  t.Ack(2000, {t.Block(3000, 4000), t.Block(9000, 11000), t.Block(6000, 5000)});
  EXPECT_EQ(t.c.tcb.sent.sacked, 0u);
  EXPECT_EQ(t.c.tcb.cwnd, window);
}

// ---------------------------------------------------------------- the end of a time-out's repair

class EndOfTimeoutRecovery : public ::testing::TestWithParam<uint32_t> {};

TEST_P(EndOfTimeoutRecovery, GivenTheAckThatEndsItThenTheWindowGrowsByASegment) {
  TenOut t;
  // The probe, then the time-out.
  while (!t.c.tcb.timeout_recovery) {
    t.c.AdvanceTo(NextDeadline(t.c.tcb));
    t.c.Drain();
  }
  t.c.now += 10 * kMs;
  for (uint32_t acked = kSegment; acked < GetParam(); acked += kSegment) t.Ack(acked);
  ASSERT_TRUE(t.c.tcb.timeout_recovery);
  const uint32_t window = t.c.tcb.cwnd;
  ASSERT_LT(window, t.c.tcb.ssthresh);
  ExtendSend(t.c.tcb, 20 * kSegment);
  t.Ack(10 * kSegment);
  EXPECT_FALSE(t.c.tcb.timeout_recovery);
  EXPECT_EQ(t.c.tcb.cwnd, window + kSegment);
}

INSTANTIATE_TEST_SUITE_P(BytesBefore, EndOfTimeoutRecovery, ::testing::Values(1000, 2000, 3000));

// ---------------------------------------------------------------- resets

class ResetWithTimestamps : public ::testing::TestWithParam<bool> {};

Connection Stamped(bool timestamps) {
  Options options = PlainOptions();
  options.timestamps = timestamps;
  options.user_timeout_ms = 5000;
  options.keepalive_idle_s = 10;
  Connection c(options);
  c.peer_timestamps = timestamps;
  c.Establish();
  return c;
}

void ExpectStamped(const Connection& c, const Header& reset) {
  EXPECT_EQ(reset.flags, kRst);
  EXPECT_EQ(reset.has_timestamps, c.tcb.timestamps_on);
  if (!c.tcb.timestamps_on) return;
  EXPECT_EQ(reset.ts_value, static_cast<uint32_t>(c.now >> 20) + c.tcb.ts_offset);
  EXPECT_EQ(reset.ts_echo, 0u);  // valid only with ACK (RFC 7323 3.2)
}

TEST_P(ResetWithTimestamps, GivenAnAbortThenTheResetHasThemIfTheConnectionHas) {
  Connection c = Stamped(GetParam());
  Header reset;
  ASSERT_TRUE(Abort(c.tcb, &reset, c.now));
  ExpectStamped(c, reset);
}

TEST_P(ResetWithTimestamps, GivenTheUserTimeoutThenTheResetHasThemIfTheConnectionHas) {
  Connection c = Stamped(GetParam());
  c.Send(100);
  const TimerPlan plan = c.Advance(6000 * kMs);
  ASSERT_TRUE(plan.send_reset);
  ExpectStamped(c, plan.reset);
}

TEST_P(ResetWithTimestamps, GivenKeepaliveWithoutAnswersThenTheResetHasThemIfTheConnectionHas) {
  Connection c = Stamped(GetParam());
  TimerPlan plan;
  for (int i = 0; i < 20 && !plan.send_reset; ++i) {
    plan = c.AdvanceTo(NextDeadline(c.tcb));
    c.Drain();
  }
  ASSERT_TRUE(plan.send_reset);
  ExpectStamped(c, plan.reset);
}

INSTANTIATE_TEST_SUITE_P(OnAndOff, ResetWithTimestamps, ::testing::Bool());

// ---------------------------------------------------------------- the window behind a handshake

Connection Accepted(uint32_t receive_window) {
  Options options = PlainOptions();
  options.window_scaling = true;
  options.receive_buffer = 1 << 20;
  Connection c(options);
  c.peer_scales = true;
  c.OpenPassively(receive_window);
  c.Drain();
  EXPECT_EQ(c.Arrive(c.Template()).outcome, Outcome::kEstablished);
  return c;
}

TEST(WindowBehindAHandshake, GivenAsMuchAsASynAckTellsThenTheRestIsNotToldAtOnce) {
  for (const uint32_t window : {100000u, 400000u, 1u << 20}) {
    Connection c = Accepted(window);
    SetReceiveWindow(c.tcb, window, c.now);
    EXPECT_TRUE(c.Drain().empty()) << window;
    // The acknowledgement of the first text tells it.
    c.ArriveAndPlace(c.WithText(1000));
    c.ArriveAndPlace(c.WithText(1000));
    c.Drain();
    EXPECT_GT(c.tcb.rcv.nxt.DistanceTo(c.tcb.rcv.adv), 90000u) << window;
  }
}

TEST(WindowBehindAHandshake, GivenLessThanASynAckCanTellThenWhatIsPostedSinceIsTold) {
  Connection c = Accepted(10000);
  SetReceiveWindow(c.tcb, 400000, c.now);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

}  // namespace
}  // namespace qpip::tcp::testing
