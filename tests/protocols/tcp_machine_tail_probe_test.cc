// When a tail that nobody acknowledges is probed, and when it times out (RFC 8985 section 7, RFC
// 6298 section 2).
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint64_t kMs = 1000000;
constexpr uint32_t kSegment = 1000;

/// A connection with SACK whose round trip has been `round_trip` for a while.
void Calm(Connection* c, uint64_t round_trip) {
  c->peer_sack = true;
  c->OpenActively();
  c->Drain();
  c->now += round_trip;
  Segment syn_ack = c->PeerSyn();
  syn_ack.header.flags = kSyn | kAck;
  syn_ack.header.acknowledgement = c->iss() + 1;
  c->Arrive(syn_ack);
  c->Drain();
  for (int i = 0; i < 40; ++i) {
    c->Send(kSegment);
    c->now += round_trip;
    c->Arrive(c->WithAck(c->tcb.snd.max));
  }
  ASSERT_TRUE(c->tcb.sack_on);
}

Options SackOptions() {
  Options options = PlainOptions();
  options.sack = true;
  options.rto_min_us = 200000;
  return options;
}

TEST(TailProbe, GivenSmallTextThatNagleHoldsBackWhenTheTailIsLostThenItIsTheProbe) {
  Options options = SackOptions();
  options.nagle = true;
  Connection c(options);
  Calm(&c, kMs);
  const SequenceNumber start = c.tcb.snd.max;
  ASSERT_EQ(c.Send(c.tcb.snd.mss).size(), 1u);
  ASSERT_TRUE(c.Send(100).empty());
  c.AdvanceTo(NextDeadline(c.tcb));
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.sequence, start + c.tcb.snd.mss);
  EXPECT_EQ(sent[0].length, 100u);
  EXPECT_FALSE(c.tcb.timeout_recovery);
}

class TailOfARoundTrip : public ::testing::TestWithParam<uint64_t> {};

TEST_P(TailOfARoundTrip, GivenItIsLostThenItsLastSegmentGoesNotLaterThanTheTimeOutWouldHaveCome) {
  Connection c(SackOptions());
  Calm(&c, GetParam() * kMs);
  const SequenceNumber start = c.tcb.snd.max;
  ASSERT_EQ(c.Send(5 * kSegment).size(), 5u);
  const uint32_t window = c.tcb.cwnd;
  const uint64_t time_out = c.tcb.retransmit_deadline;
  c.AdvanceTo(NextDeadline(c.tcb));
  EXPECT_LE(c.now, time_out);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.sequence, start + 4 * kSegment);
  EXPECT_EQ(c.tcb.cwnd, window);
  EXPECT_FALSE(c.tcb.timeout_recovery);
  EXPECT_EQ(c.tcb.rtt.backoff, 0);
  // The probe has a time-out of its own.
  EXPECT_GT(c.tcb.retransmit_deadline, c.now);
}

TEST_P(TailOfARoundTrip, GivenALoneSegmentThenItIsProbedInTheTimeOutsPlaceWithTheWindowUntouched) {
  Connection c(SackOptions());
  Calm(&c, GetParam() * kMs);
  const SequenceNumber start = c.tcb.snd.max;
  ASSERT_EQ(c.Send(kSegment).size(), 1u);
  const uint32_t window = c.tcb.cwnd;
  const uint64_t time_out = c.tcb.retransmit_deadline;
  EXPECT_FALSE(c.AdvanceTo(time_out).retransmission_timeout);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.sequence, start);
  EXPECT_EQ(c.tcb.cwnd, window);
  // Only what the probe does not bring is a time-out.
  EXPECT_TRUE(c.AdvanceTo(c.tcb.retransmit_deadline).retransmission_timeout);
}

TEST_P(TailOfARoundTrip, GivenItsFinIsLostThenTheFinIsProbed) {
  Connection c(SackOptions());
  Calm(&c, GetParam() * kMs);
  Close(c.tcb, c.now);
  ASSERT_EQ(c.Drain().size(), 1u);
  const uint32_t window = c.tcb.cwnd;
  EXPECT_FALSE(c.AdvanceTo(c.tcb.retransmit_deadline).retransmission_timeout);
  EXPECT_TRUE(IsOne(c.Drain(), kFin | kAck));
  EXPECT_EQ(c.tcb.cwnd, window);
}

TEST_P(TailOfARoundTrip, GivenADelayedAcknowledgementThenItComesBeforeTheTimeOut) {
  Connection c(SackOptions());
  Calm(&c, GetParam() * kMs);
  c.Send(kSegment);
  // 40 ms is what we delay ours by, 200 ms is what a BSD does.
  EXPECT_GE(c.tcb.retransmit_deadline, c.now + (GetParam() + 200) * kMs);
}

INSTANTIATE_TEST_SUITE_P(Milliseconds, TailOfARoundTrip, ::testing::Values(10, 150, 250, 400));

TEST(TailProbe, GivenNoMeasurementThenThereIsNone) {
  Connection c(SackOptions());
  c.peer_sack = true;
  c.OpenActively();
  c.Drain();
  c.AdvanceTo(c.tcb.retransmit_deadline);  // the SYN goes twice: Karn
  c.Drain();
  Segment syn_ack = c.PeerSyn();
  syn_ack.header.flags = kSyn | kAck;
  syn_ack.header.acknowledgement = c.iss() + 1;
  c.Arrive(syn_ack);
  c.Drain();
  ASSERT_FALSE(c.tcb.rtt.valid);
  c.Send(kSegment);
  EXPECT_EQ(c.tcb.tail_probe.deadline, kNever);
  EXPECT_TRUE(c.AdvanceTo(c.tcb.retransmit_deadline).retransmission_timeout);
}

}  // namespace
}  // namespace qpip::tcp::testing
