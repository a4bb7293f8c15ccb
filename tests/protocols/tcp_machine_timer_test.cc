// Timers: retransmission, back-off, Karn, persist, TIME-WAIT, user and connect
// time-out.
#include <algorithm>
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint64_t kSecond = 1000 * kMs;

// ---------------------------------------------------------------- opening

TEST(OpenTimer, GivenSynSentWhenNoAnswerThenSynIsRepeatedWithBackOff) {
  Connection c;
  c.OpenActively();
  ASSERT_TRUE(IsOne(c.Drain(), kSyn));
  uint64_t interval = kSecond;  // rto_initial
  for (int i = 0; i < 3; ++i) {
    const uint64_t due = c.now + interval;
    EXPECT_EQ(NextDeadline(c.tcb), due);
    EXPECT_FALSE(c.AdvanceTo(due - 1).retransmission_timeout);
    EXPECT_TRUE(c.Drain().empty());
    EXPECT_TRUE(c.AdvanceTo(due).retransmission_timeout);
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_TRUE(IsOne(sent, kSyn));
    EXPECT_EQ(sent[0].header.sequence, c.iss());
    EXPECT_TRUE(sent[0].intent.retransmission);
    interval *= 2;
  }
}

TEST(OpenTimer, GivenSynSentWhenConnectTimeOutThenTimedOutWithoutReset) {
  Connection c;
  c.OpenActively();
  c.Drain();
  const uint64_t due = kStart + 10 * kSecond;
  while (NextDeadline(c.tcb) < due) {
    ASSERT_EQ(c.AdvanceTo(NextDeadline(c.tcb)).outcome, Outcome::kNone);
    c.Drain();
  }
  EXPECT_EQ(NextDeadline(c.tcb), due);
  EXPECT_EQ(c.AdvanceTo(due - 1).outcome, Outcome::kNone);
  const TimerPlan plan = c.AdvanceTo(due);
  EXPECT_EQ(plan.outcome, Outcome::kTimedOut);
  EXPECT_FALSE(plan.send_reset);
  EXPECT_EQ(c.tcb.state, State::kClosed);
  EXPECT_EQ(NextDeadline(c.tcb), kNever);
}

TEST(OpenTimer, GivenSynReceivedWhenNoAckThenSynAckIsRepeatedAndGivenUp) {
  Connection c;
  c.OpenPassively();
  ASSERT_TRUE(IsOne(c.Drain(), kSyn | kAck));
  EXPECT_TRUE(c.Advance(kSecond).retransmission_timeout);
  EXPECT_TRUE(IsOne(c.Drain(), kSyn | kAck));
  EXPECT_EQ(c.AdvanceTo(kStart + 10 * kSecond).outcome, Outcome::kTimedOut);
}

TEST(OpenTimer, GivenSynLostWithoutTimestampsWhenEstablishedThenRtoIsThreeSeconds) {
  Connection c;
  c.OpenActively();
  c.Drain();
  c.Advance(kSecond);
  c.Drain();
  Segment syn_ack = c.PeerSyn();
  syn_ack.header.flags = kSyn | kAck;
  syn_ack.header.acknowledgement = c.iss() + 1;
  EXPECT_FALSE(c.Arrive(syn_ack).rtt_sampled);  // Karn
  EXPECT_EQ(c.tcb.rtt.rto_us, 3000000u);        // RFC 6298 (5.7)
  EXPECT_EQ(c.tcb.rtt.backoff, 0);
}

TEST(OpenTimer, GivenTwoSynsLostWhenEstablishedThenInitialWindowIsOneSegment) {
  for (const int lost : {1, 2}) {
    Connection c;
    c.OpenActively();
    c.Drain();
    for (int i = 0; i < lost; ++i) {
      c.AdvanceTo(c.tcb.retransmit_deadline);
      c.Drain();
    }
    Segment syn_ack = c.PeerSyn();
    syn_ack.header.flags = kSyn | kAck;
    syn_ack.header.acknowledgement = c.iss() + 1;
    c.Arrive(syn_ack);
    EXPECT_EQ(c.tcb.cwnd, lost == 1 ? 10000u : 1000u);  // RFC 6928 section 2
  }
}

// ---------------------------------------------------------------- RTT (RFC 6298)

TEST(Rtt, GivenFirstAndSecondSampleThenEstimateFollowsRfc6298) {
  Options options = PlainOptions();
  options.rto_min_us = 1000;
  Connection c(options);
  c.OpenActively();
  c.Drain();
  c.now += 80 * kMs;
  Segment syn_ack = c.PeerSyn();
  syn_ack.header.flags = kSyn | kAck;
  syn_ack.header.acknowledgement = c.iss() + 1;
  EXPECT_TRUE(c.Arrive(syn_ack).rtt_sampled);
  EXPECT_EQ(c.tcb.rtt.srtt_us >> 3, 80000u);
  EXPECT_EQ(c.tcb.rtt.rttvar_us >> 2, 40000u);  // R / 2
  EXPECT_EQ(c.tcb.rtt.rto_us, 240000u);         // SRTT + 4 RTTVAR

  c.Send(100);
  c.now += 160 * kMs;
  EXPECT_TRUE(c.Arrive(c.Template()).rtt_sampled);
  EXPECT_EQ(c.tcb.rtt.srtt_us >> 3, 90000u);    // 7/8 80 + 1/8 160
  EXPECT_EQ(c.tcb.rtt.rttvar_us >> 2, 50000u);  // 3/4 40 + 1/4 80
  EXPECT_EQ(c.tcb.rtt.rto_us, 290000u);
}

TEST(Rtt, GivenTinyRttThenRtoIsAtLeastItsMinimum) {
  Connection c;
  c.Establish();
  c.Send(100);
  c.now += 5 * kUs;
  c.Arrive(c.Template());
  EXPECT_EQ(c.tcb.rtt.rto_us, 200000u);
}

TEST(Rtt, GivenManySegmentsInFlightThenOneIsTimed) {
  Connection c;
  c.Establish();
  ASSERT_EQ(c.Send(5000).size(), 5u);
  int samples = 0;
  for (uint32_t i = 1; i <= 5; ++i) {
    c.now += kMs;
    samples += c.Arrive(c.WithAck(c.iss() + 1 + i * 1000)).rtt_sampled ? 1 : 0;
  }
  EXPECT_EQ(samples, 1);
}

TEST(Rtt, GivenRetransmissionWithoutTimestampsWhenAcknowledgedThenNoSampleAndBackOffStays) {
  Connection c;
  c.Establish();
  c.Send(100);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  ASSERT_EQ(c.Drain().size(), 1u);
  ASSERT_EQ(c.tcb.rtt.backoff, 1);
  EXPECT_FALSE(c.Arrive(c.Template()).rtt_sampled);
  EXPECT_EQ(c.tcb.rtt.backoff, 1);  // Karn: until something sent once is acknowledged
  c.Send(100);
  EXPECT_EQ(c.tcb.retransmit_deadline, c.now + 2 * c.tcb.rtt.rto_us * kUs);
  c.now += kMs;
  EXPECT_TRUE(c.Arrive(c.Template()).rtt_sampled);
  EXPECT_EQ(c.tcb.rtt.backoff, 0);
}

Connection WithTimestamps() {
  Options options = PlainOptions();
  options.timestamps = true;
  Connection c(options);
  c.peer_timestamps = true;
  c.Establish();
  return c;
}

TEST(Rtt, GivenRetransmissionWithTimestampsWhenAcknowledgedThenEchoMeasuresIt) {
  Connection c = WithTimestamps();
  c.Send(100);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  c.Drain();
  ASSERT_EQ(c.tcb.rtt.backoff, 1);
  c.now += 50 * kMs;
  const uint32_t srtt = c.tcb.rtt.srtt_us;
  EXPECT_TRUE(c.Arrive(c.Template()).rtt_sampled);  // echoes the retransmission's timestamp
  EXPECT_EQ(c.tcb.rtt.backoff, 0);
  EXPECT_NEAR(c.tcb.rtt.srtt_us, srtt - (srtt >> 3) + 50000, 2200);
}

TEST(Rtt, GivenEchoOfWhatWasNeverSentThenIgnored) {
  Connection c = WithTimestamps();
  c.Send(100);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  c.Drain();
  for (const uint32_t echo : {c.last_ts_value + 100, c.last_ts_value - 0x40000000u}) {
    Connection copy = c;
    Segment ack = copy.Template();
    ack.header.ts_echo = echo;
    EXPECT_FALSE(copy.Arrive(ack).rtt_sampled);
  }
}

// ---------------------------------------------------------------- retransmission

TEST(RetransmissionTimer, GivenSegmentInFlightWhenRtoExactlyOverThenRepeated) {
  Connection c;
  c.Establish();
  c.Send(100);
  const uint64_t due = c.now + c.tcb.rtt.rto_us * kUs;
  EXPECT_EQ(NextDeadline(c.tcb), due);
  EXPECT_FALSE(c.AdvanceTo(due - 1).retransmission_timeout);
  EXPECT_TRUE(c.Drain().empty());
  EXPECT_TRUE(c.AdvanceTo(due).retransmission_timeout);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.sequence, c.tcb.snd.una);
  EXPECT_EQ(sent[0].length, 100u);
  EXPECT_TRUE(sent[0].header.Has(kPsh));  // the message's end is marked again
  EXPECT_TRUE(sent[0].intent.retransmission);
}

TEST(RetransmissionTimer, GivenNoAnswerThenIntervalDoublesUpToItsCap) {
  Options options = PlainOptions();
  options.user_timeout_ms = 0;
  options.rto_max_us = 5000000;
  Connection c(options);
  c.Establish();
  c.Send(100);
  uint64_t expected = c.tcb.rtt.rto_us * kUs;
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(c.tcb.retransmit_deadline, c.now + expected) << i;
    c.AdvanceTo(c.tcb.retransmit_deadline);
    ASSERT_EQ(c.Drain().size(), 1u);
    expected = std::min<uint64_t>(2 * expected, 5 * kSecond);
  }
}

TEST(RetransmissionTimer, GivenAllAcknowledgedThenTimerStops) {
  Connection c;
  c.Establish();
  c.Send(3000);
  c.Arrive(c.WithAck(c.tcb.snd.una + 1000));
  EXPECT_EQ(c.tcb.retransmit_deadline, c.now + c.tcb.rtt.rto_us * kUs);  // (5.3)
  c.Arrive(c.Template());
  EXPECT_EQ(c.tcb.retransmit_deadline, kNever);  // (5.2)
  EXPECT_EQ(NextDeadline(c.tcb), kNever);
}

TEST(RetransmissionTimer, GivenTimeOutWhenPeerHadMoreThanThoughtThenSendingSkipsIt) {
  Connection c;
  c.Establish();
  ASSERT_EQ(c.Send(5000).size(), 5u);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  const std::vector<SentSegment> first = c.Drain();
  ASSERT_EQ(first.size(), 1u);  // loss window: one segment
  c.Arrive(c.WithAck(c.iss() + 1 + 4000));
  const std::vector<SentSegment> second = c.Drain();
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].header.sequence, c.iss() + 1 + 4000);
  c.Arrive(c.Template());
  EXPECT_TRUE(c.Drain().empty());
  EXPECT_EQ(c.tcb.snd.una, c.iss() + 1 + 5000);
}

TEST(RetransmissionTimer, GivenFinLostThenFinIsRepeated) {
  Connection c;
  c.BringTo(State::kFinWait1);
  const SequenceNumber fin = c.tcb.snd.end;
  EXPECT_TRUE(c.AdvanceTo(c.tcb.retransmit_deadline).retransmission_timeout);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kFin | kAck));
  EXPECT_EQ(sent[0].header.sequence, fin);
  EXPECT_EQ(c.tcb.snd.max, fin + 1);
  c.Arrive(c.Template());
  EXPECT_EQ(c.tcb.state, State::kFinWait2);
}

TEST(RetransmissionTimer, GivenTextAndFinLostThenBothAreRepeatedInOrder) {
  Connection c;
  c.Establish();
  ExtendSend(c.tcb, 500);
  Close(c.tcb, c.now);
  EXPECT_EQ(c.tcb.state, State::kEstablished);  // the state changes when FIN is sent
  ASSERT_EQ(c.Drain().size(), 2u);
  EXPECT_EQ(c.tcb.state, State::kFinWait1);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].length, 500u);
  EXPECT_EQ(sent[1].header.flags, kFin | kAck);
  const Arrival arrival = c.Arrive(c.Template());
  EXPECT_EQ(arrival.acked_bytes, 500u);  // FIN is not text
  EXPECT_EQ(c.tcb.state, State::kFinWait2);
}

// ---------------------------------------------------------------- user time-out (RFC 9293 3.8.3)

TEST(UserTimeout, GivenNoAcknowledgementThenTimedOutWithReset) {
  Connection c;
  c.Establish();
  c.Send(100);
  const uint64_t due = c.now + 30 * kSecond;
  while (NextDeadline(c.tcb) < due) {
    ASSERT_EQ(c.AdvanceTo(NextDeadline(c.tcb)).outcome, Outcome::kNone);
    c.Drain();
  }
  EXPECT_EQ(NextDeadline(c.tcb), due);
  EXPECT_EQ(c.AdvanceTo(due - 1).outcome, Outcome::kNone);
  const TimerPlan plan = c.AdvanceTo(due);
  EXPECT_EQ(plan.outcome, Outcome::kTimedOut);
  ASSERT_TRUE(plan.send_reset);
  EXPECT_EQ(plan.reset.flags, kRst);
  EXPECT_EQ(plan.reset.sequence, c.iss() + 101);
  EXPECT_EQ(c.tcb.state, State::kClosed);
}

TEST(UserTimeout, GivenProgressThenItStartsAgain) {
  Connection c;
  c.Establish();
  c.Send(200);
  c.now += 20 * kSecond;
  c.Arrive(c.WithAck(c.tcb.snd.una + 100));
  EXPECT_EQ(c.Advance(29 * kSecond).outcome, Outcome::kNone);
  EXPECT_EQ(c.Advance(kSecond).outcome, Outcome::kTimedOut);
}

TEST(UserTimeout, GivenNothingOutstandingThenItDoesNotRun) {
  Connection c;
  c.Establish();
  EXPECT_EQ(NextDeadline(c.tcb), kNever);
  EXPECT_EQ(c.Advance(3600 * kSecond).outcome, Outcome::kNone);
  EXPECT_EQ(c.tcb.state, State::kEstablished);
}

// ---------------------------------------------------------------- persist (RFC 9293 3.8.6.1)

Connection WithShutWindow() {
  Connection c;
  c.Establish();
  c.peer_window = 0;
  c.Arrive(c.Template());
  return c;
}

TEST(Persist, GivenShutWindowThenProbesOfOneByteWithBackOff) {
  Connection c = WithShutWindow();
  EXPECT_TRUE(c.Send(3000).empty());
  uint64_t interval = c.tcb.rtt.rto_us * kUs;
  for (int i = 0; i < 4; ++i) {
    const uint64_t due = c.now + interval;
    EXPECT_EQ(c.tcb.persist_deadline, due) << i;
    c.AdvanceTo(due - 1);
    EXPECT_TRUE(c.Drain().empty());
    c.AdvanceTo(due);
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].length, 1u);
    EXPECT_TRUE(sent[0].intent.window_probe);
    EXPECT_EQ(sent[0].header.sequence, c.tcb.snd.una);
    EXPECT_EQ(c.tcb.snd.nxt, c.tcb.snd.una);
    // The peer answers: alive, shut.
    c.Arrive(c.WithAck(c.tcb.snd.una));
    interval *= 2;
  }
}

TEST(Persist, GivenPeerAnswersProbesThenTheyGoOnForEver) {
  Connection c = WithShutWindow();
  c.Send(3000);
  int probes = 0;
  while (c.now < kStart + 24 * 3600 * kSecond) {
    ASSERT_NE(NextDeadline(c.tcb), kNever);
    ASSERT_EQ(c.AdvanceTo(NextDeadline(c.tcb)).outcome, Outcome::kNone);
    if (!c.Drain().empty()) {
      ++probes;
      c.Arrive(c.WithAck(c.tcb.snd.una));
    }
  }
  EXPECT_GE(probes, 24 * 60);  // at least one a minute: rto_max
}

TEST(Persist, GivenPeerIsSilentThenUserTimeout) {
  Connection c = WithShutWindow();
  c.Send(3000);
  Outcome outcome = Outcome::kNone;
  while (outcome == Outcome::kNone && NextDeadline(c.tcb) != kNever) {
    outcome = c.AdvanceTo(NextDeadline(c.tcb)).outcome;
    c.Drain();
  }
  EXPECT_EQ(outcome, Outcome::kTimedOut);
  EXPECT_LE(c.now, kStart + 31 * kSecond);
}

TEST(Persist, GivenWindowOpensThenSendingGoesOnFromTheProbe) {
  Connection c = WithShutWindow();
  c.Send(3000);
  c.AdvanceTo(c.tcb.persist_deadline);
  ASSERT_EQ(c.Drain().size(), 1u);
  c.peer_window = 60000;
  const SequenceNumber una = c.tcb.snd.una;
  c.Arrive(c.WithAck(una));  // the byte was not taken
  EXPECT_EQ(c.tcb.persist_deadline, kNever);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[0].header.sequence, una);
  EXPECT_EQ(sent[0].length, 1000u);
}

TEST(Persist, GivenProbeByteIsTakenThenItCountsAsAcknowledged) {
  Connection c = WithShutWindow();
  c.Send(3000);
  c.AdvanceTo(c.tcb.persist_deadline);
  c.Drain();
  EXPECT_EQ(c.Arrive(c.Template()).acked_bytes, 1u);
  EXPECT_EQ(c.tcb.snd.nxt, c.tcb.snd.una);
  EXPECT_NE(c.tcb.persist_deadline, kNever);
}

TEST(Persist, GivenProbeOutstandingThenEmptySegmentsStayInsideThePeersWindow) {
  Connection c = WithShutWindow();
  c.Send(3000);
  c.AdvanceTo(c.tcb.persist_deadline);
  c.Drain();
  c.ArriveAndPlace([&] {
    Segment text = c.WithText(10);
    text.header.acknowledgement = c.tcb.snd.una;
    return text;
  }());
  c.Advance(40 * kMs);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kAck));
  EXPECT_EQ(sent[0].header.sequence, c.tcb.snd.una);
}

TEST(Persist, GivenWindowShutsWithDataInFlightWhenTimeOutThenProbesInsteadOfSegments) {
  Connection c;
  c.Establish();
  ASSERT_EQ(c.Send(3000).size(), 3u);
  c.peer_window = 0;
  c.Arrive(c.WithAck(c.tcb.snd.una));
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_TRUE(c.Drain().empty());
  ASSERT_NE(c.tcb.persist_deadline, kNever);
  c.AdvanceTo(c.tcb.persist_deadline);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].length, 1u);
  c.peer_window = 60000;
  c.Arrive(c.WithAck(c.tcb.snd.una));
  EXPECT_FALSE(c.Drain().empty());
}

TEST(Persist, GivenWindowTooSmallForSegmentThenOverrideSendsWhatFits) {
  Connection c;
  c.Establish();
  c.peer_window = 300;
  c.Arrive(c.Template());
  EXPECT_TRUE(c.Send(3000).empty());  // sender's silly window avoidance
  ASSERT_NE(c.tcb.persist_deadline, kNever);
  c.AdvanceTo(c.tcb.persist_deadline);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].length, 300u);
  EXPECT_FALSE(sent[0].intent.window_probe);
  EXPECT_NE(c.tcb.retransmit_deadline, kNever);
}

TEST(Persist, GivenFinAtShutWindowThenItIsSentAndRepeatedWhenTheWindowOpens) {
  Connection c = WithShutWindow();
  Close(c.tcb, c.now);
  ASSERT_TRUE(IsOne(c.Drain(), kFin | kAck));
  c.Arrive(c.WithAck(c.tcb.snd.una));  // a peer that refuses it
  c.peer_window = 5000;
  c.Arrive(c.WithAck(c.tcb.snd.una));
  EXPECT_TRUE(IsOne(c.Drain(), kFin | kAck));
  EXPECT_TRUE(c.Drain().empty());
}

// ---------------------------------------------------------------- TIME-WAIT

TEST(TimeWait, GivenTimeWaitWhenTwoMslOverThenClosed) {
  Connection c;
  c.BringTo(State::kTimeWait);
  EXPECT_EQ(NextDeadline(c.tcb), c.now + 60 * kSecond);
  EXPECT_EQ(c.Advance(60 * kSecond - 1).outcome, Outcome::kNone);
  EXPECT_EQ(c.Advance(1).outcome, Outcome::kClosed);
  EXPECT_EQ(c.tcb.state, State::kClosed);
}

TEST(TimeWait, GivenTimeWaitWhenFinComesAgainThenAcknowledgedAndRestarted) {
  Connection c;
  c.BringTo(State::kTimeWait);
  c.Advance(50 * kSecond);
  Segment fin = c.WithFlags(kFin | kAck);
  fin.header.sequence = c.tcb.rcv.nxt - 1;
  c.Arrive(fin);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
  EXPECT_EQ(NextDeadline(c.tcb), c.now + 60 * kSecond);
}

TEST(TimeWait, GivenTimeWaitWhenRstThenItStays) {
  Connection c;
  c.BringTo(State::kTimeWait);
  const uint64_t deadline = NextDeadline(c.tcb);
  c.Arrive(c.WithFlags(kRst));
  EXPECT_EQ(c.tcb.state, State::kTimeWait);
  EXPECT_EQ(NextDeadline(c.tcb), deadline);
}

}  // namespace
}  // namespace qpip::tcp::testing
