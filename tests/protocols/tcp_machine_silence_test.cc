// What a connection does about silence, its own and the peer's: keep-alive (RFC 9293 3.8.4), the
// user timeout option (RFC 5482), Nagle's algorithm (3.7.4).
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint64_t kSecond = 1000 * kMs;

Options KeepaliveOptions() {
  Options options = PlainOptions();
  options.keepalive_idle_s = 7200;
  options.keepalive_interval_s = 75;
  options.keepalive_probes = 3;
  return options;
}

TEST(Keepalive, GivenSilenceThenProbesOfWhatIsAcknowledgedAlready) {
  Connection c(KeepaliveOptions());
  c.Establish();
  const uint64_t start = c.now;
  ASSERT_EQ(NextDeadline(c.tcb), start + 7200 * kSecond);
  c.AdvanceTo(start + 7200 * kSecond - 1);
  EXPECT_TRUE(c.Drain().empty());
  c.Advance(1);
  const std::vector<SentSegment> probe = c.Drain();
  ASSERT_EQ(probe.size(), 1u);
  EXPECT_EQ(probe[0].header.sequence, c.tcb.snd.max - 1);
  EXPECT_EQ(probe[0].header.flags, kAck);
  EXPECT_EQ(probe[0].length, 0u);
  EXPECT_EQ(NextDeadline(c.tcb), c.now + 75 * kSecond);
}

TEST(Keepalive, GivenAnAnswerThenTheIdleTimeStartsAnew) {
  Connection c(KeepaliveOptions());
  c.Establish();
  c.Advance(7200 * kSecond);
  ASSERT_EQ(c.Drain().size(), 1u);
  c.Advance(kSecond);
  c.Arrive(c.Template());
  EXPECT_EQ(NextDeadline(c.tcb), c.now + 7200 * kSecond);
}

TEST(Keepalive, GivenNoAnswerThenTheConnectionIsGivenUpWithAReset) {
  Connection c(KeepaliveOptions());
  c.Establish();
  c.Advance(7200 * kSecond);
  EXPECT_EQ(c.Drain().size(), 1u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(c.Advance(75 * kSecond).outcome, Outcome::kNone);
    EXPECT_EQ(c.Drain().size(), 1u);
  }
  const TimerPlan plan = c.Advance(75 * kSecond);
  EXPECT_EQ(plan.outcome, Outcome::kTimedOut);
  EXPECT_TRUE(plan.send_reset);
  EXPECT_EQ(c.tcb.state, State::kClosed);
}

TEST(Keepalive, GivenTextInFlightThenTheRetransmissionTimerIsInCharge) {
  Options options = KeepaliveOptions();
  options.keepalive_idle_s = 1;
  options.user_timeout_ms = 0;
  Connection c(options);
  c.Establish();
  c.Send(1000);
  for (int i = 0; i < 8; ++i) {
    c.AdvanceTo(NextDeadline(c.tcb));
    for (const SentSegment& sent : c.Drain()) EXPECT_EQ(sent.length, 1000u);
  }
  EXPECT_EQ(c.tcb.state, State::kEstablished);
}

TEST(Keepalive, GivenTheDefaultThenThereIsNone) {  // MUST-25
  Connection c;
  c.Establish();
  EXPECT_EQ(NextDeadline(c.tcb), kNever);
}

TEST(Keepalive, GivenThePeersProbeThenItIsAnswered) {
  Connection c;
  c.Establish();
  Segment probe = c.Template();
  probe.header.sequence = c.tcb.rcv.nxt - 1;
  c.Arrive(probe);
  EXPECT_EQ(c.Drain().size(), 1u);
}

// ---------------------------------------------------------------- RFC 5482

Options UserTimeoutOptions(uint32_t ms) {
  Options options = PlainOptions();
  options.user_timeout_ms = ms;
  options.user_timeout_option = true;
  return options;
}

TEST(UserTimeout, GivenTheOptionThenSynAndFirstAcknowledgementTell) {
  Connection c(UserTimeoutOptions(45500));
  c.OpenActively();
  const Header syn = c.Drain().at(0).header;
  EXPECT_TRUE(syn.has_user_timeout);
  EXPECT_EQ(syn.user_timeout_s, 46u);
  Segment syn_ack = c.PeerSyn();
  syn_ack.header.flags = kSyn | kAck;
  syn_ack.header.acknowledgement = c.iss() + 1;
  c.Arrive(syn_ack);
  EXPECT_TRUE(c.Drain().at(0).header.has_user_timeout);
  c.ArriveAndPlace(c.WithText(100));
  c.AdvanceTo(c.tcb.owed.ack_deadline);
  EXPECT_FALSE(c.Drain().at(0).header.has_user_timeout);
}

TEST(UserTimeout, GivenThePeersIsLongerThenItHolds) {
  Connection c(UserTimeoutOptions(10000));
  c.Establish();
  Segment ack = c.Template();
  ack.header.has_user_timeout = true;
  ack.header.user_timeout_s = 600;
  c.Arrive(ack);
  c.Send(1000);
  const uint64_t start = c.now;
  while (c.tcb.state != State::kClosed) {
    c.AdvanceTo(NextDeadline(c.tcb));
    c.Drain();
  }
  EXPECT_EQ(c.now - start, 600 * kSecond);
}

TEST(UserTimeout, GivenItComesWithTheNextTextThenItHolds) {
  Connection c(UserTimeoutOptions(10000));
  c.Establish();
  Segment text = c.WithText(100);
  text.header.has_user_timeout = true;
  text.header.user_timeout_s = 600;
  c.Arrive(text);
  EXPECT_EQ(c.tcb.user_timeout_ms, 600u * 1000);
}

TEST(UserTimeout, GivenThePeersIsShorterOrHugeThenOursOrTheLimitHolds) {
  Connection c(UserTimeoutOptions(10000));
  c.Establish();
  Segment ack = c.Template();
  ack.header.has_user_timeout = true;
  ack.header.user_timeout_s = 1;
  c.Arrive(ack);
  EXPECT_EQ(c.tcb.user_timeout_ms, 10000u);
  ack.header.user_timeout_s = 32767 * 60;
  c.Arrive(ack);
  EXPECT_EQ(c.tcb.user_timeout_ms, 3600u * 1000);
}

TEST(UserTimeout, GivenTheOptionIsOffThenThePeersIsNotHeeded) {
  Options options = PlainOptions();
  options.user_timeout_ms = 10000;
  Connection c(options);
  c.Establish();
  Segment ack = c.Template();
  ack.header.has_user_timeout = true;
  ack.header.user_timeout_s = 600;
  c.Arrive(ack);
  EXPECT_EQ(c.tcb.user_timeout_ms, 10000u);
}

// ---------------------------------------------------------------- Nagle

TEST(Nagle, GivenSomethingUnacknowledgedThenSmallTextWaitsAndGoesTogether) {
  Options options = PlainOptions();
  options.nagle = true;
  Connection c(options);
  c.Establish();
  EXPECT_EQ(c.Send(100).size(), 1u) << "nothing is unacknowledged";
  EXPECT_TRUE(c.Send(100).empty());
  EXPECT_TRUE(c.Send(100).empty());
  c.Arrive(c.Template());
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].length, 200u);
}

TEST(Nagle, GivenTextThatWaitsThenAnAcknowledgementThatIsDueDoesNot) {
  Options options = PlainOptions();
  options.nagle = true;
  Connection c(options);
  c.Establish();
  c.Send(100);
  ASSERT_TRUE(c.Send(100).empty());
  Segment text = c.WithText(500);
  text.header.acknowledgement = c.tcb.snd.una;
  c.ArriveAndPlace(text);
  c.AdvanceTo(c.tcb.owed.ack_deadline);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].length, 0u);
  EXPECT_EQ(sent[0].header.acknowledgement, c.tcb.rcv.nxt);
}

TEST(Nagle, GivenAFullSegmentThenItGoes) {
  Options options = PlainOptions();
  options.nagle = true;
  Connection c(options);
  c.Establish();
  c.Send(100);
  EXPECT_EQ(c.Send(1000).size(), 1u);
}

TEST(Nagle, GivenCloseThenTheRestGoes) {
  Options options = PlainOptions();
  options.nagle = true;
  Connection c(options);
  c.Establish();
  c.Send(100);
  ASSERT_TRUE(c.Send(100).empty());
  Close(c.tcb, c.now);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].length, 100u);
  EXPECT_TRUE(sent[1].header.Has(kFin));
}

}  // namespace
}  // namespace qpip::tcp::testing
