// Congestion control: slow start, avoidance, fast retransmit, NewReno, time-out.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kMss = 1000;

/// A connection with ample data announced and its initial window in flight.
Connection Sending(uint32_t bytes = 1000000) {
  Connection c;
  c.Establish();
  c.Send(bytes);
  return c;
}
uint32_t Flight(const Connection& c) { return c.tcb.snd.una.DistanceTo(c.tcb.snd.nxt); }
void DuplicateAck(Connection& c) { c.Arrive(c.WithAck(c.tcb.snd.una)); }

TEST(Congestion, GivenEstablishedThenInitialWindowFollowsRfc6928) {
  struct Case {
    uint16_t mss;
    uint32_t window;
  };
  for (const Case& row : {Case{1000, 10000}, Case{1220, 12200}, Case{1460, 14600},
                          Case{4000, 14600}, Case{9000, 18000}, Case{32768, 65536}}) {
    Options options = PlainOptions();
    options.mss = row.mss;
    Connection c(options);
    c.peer_mss = row.mss;
    c.Establish();
    EXPECT_EQ(c.tcb.cwnd, row.window) << row.mss;
  }
}

TEST(Congestion, GivenSlowStartThenWindowGrowsByWhatIsAcknowledgedUpToTwoSegments) {
  Connection c = Sending();
  ASSERT_EQ(Flight(c), 10 * kMss);
  c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
  EXPECT_EQ(c.tcb.cwnd, 11 * kMss);
  EXPECT_EQ(c.Drain().size(), 2u);
  c.Arrive(c.WithAck(c.tcb.snd.una + 2 * kMss));
  EXPECT_EQ(c.tcb.cwnd, 13 * kMss);
  c.Drain();
  c.Arrive(c.WithAck(c.tcb.snd.una + 5 * kMss));  // L = 2 (RFC 3465)
  EXPECT_EQ(c.tcb.cwnd, 15 * kMss);
  c.Arrive(c.WithAck(c.tcb.snd.una + 100));  // ACK division buys nothing
  EXPECT_EQ(c.tcb.cwnd, 15 * kMss + 100);
}

TEST(Congestion, GivenAvoidanceThenOneSegmentAWindow) {
  Connection c = Sending();
  c.tcb.ssthresh = c.tcb.cwnd;
  for (int i = 0; i < 9; ++i) {
    c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
    c.Drain();
    EXPECT_EQ(c.tcb.cwnd, 10 * kMss);
  }
  c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
  EXPECT_EQ(c.tcb.cwnd, 11 * kMss);
}

TEST(Congestion, GivenAWindowOfSomeSegmentsAndAHalfThenItGrowsOnceItsWholeSegmentsAreAcknowledged) {
  Connection c;
  c.Establish();
  c.tcb.ssthresh = 2 * kMss;
  c.tcb.cwnd = 5 * kMss + kMss / 2;
  c.Send(50 * kMss);
  for (int i = 0; i < 4; ++i) {
    c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
    c.Drain();
  }
  EXPECT_EQ(c.tcb.cwnd, 5 * kMss + kMss / 2);
  c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
  EXPECT_EQ(c.tcb.cwnd, 6 * kMss + kMss / 2);
  EXPECT_EQ(c.tcb.bytes_acked, 0u);
}

TEST(Congestion, GivenApplicationLimitedThenWindowDoesNotGrow) {
  Connection c;
  c.Establish();
  for (int i = 0; i < 20; ++i) {
    c.Send(2000);
    c.Arrive(c.Template());
  }
  EXPECT_EQ(c.tcb.cwnd, 10 * kMss);
}

TEST(Congestion, GivenPeersWindowLimitsThenWindowDoesNotGrow) {
  Connection c;
  c.peer_window = 4000;
  c.Establish();
  c.Send(100000);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(Flight(c), 4000u);
    c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
    c.Drain();
  }
  EXPECT_EQ(c.tcb.cwnd, 10 * kMss);
}

TEST(Congestion, GivenIdleForLongerThanRtoThenRestartsFromInitialWindow) {
  Connection c = Sending(40000);
  while (c.tcb.snd.una != c.tcb.snd.end) {
    c.Arrive(c.WithAck(c.tcb.snd.una + 2 * kMss));
    c.Drain();
  }
  ASSERT_GT(c.tcb.cwnd, 10 * kMss);
  Connection soon = c;
  soon.now += 100 * kMs;
  EXPECT_GT(soon.Send(40000).size(), 10u);
  c.now += 1001 * kMs;
  EXPECT_EQ(c.Send(40000).size(), 10u);  // RFC 5681 section 4.1
}

// ---------------------------------------------------------------- fast retransmit, NewReno

TEST(FastRetransmit, GivenTwoDuplicatesThenTwoNewSegmentsAndNoRetransmission) {
  Connection c = Sending();
  for (int i = 0; i < 2; ++i) {
    DuplicateAck(c);
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_EQ(sent.size(), 1u);  // limited transmit (RFC 3042)
    EXPECT_FALSE(sent[0].intent.retransmission);
  }
  EXPECT_FALSE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.cwnd, 10 * kMss);
}

TEST(FastRetransmit, GivenThreeDuplicatesThenFirstSegmentIsRepeatedOnce) {
  Connection c = Sending();
  const SequenceNumber una = c.tcb.snd.una;
  const uint32_t flight = c.tcb.snd.una.DistanceTo(c.tcb.snd.max);
  DuplicateAck(c);
  c.Drain();  // limited transmit, which does not count in ssthresh (RFC 5681 3.2 step 2)
  DuplicateAck(c);
  c.Drain();
  EXPECT_GT(c.tcb.snd.una.DistanceTo(c.tcb.snd.max), flight);
  DuplicateAck(c);
  EXPECT_TRUE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.ssthresh, flight / 2);
  EXPECT_EQ(c.tcb.cwnd, flight / 2 + 3 * kMss);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.sequence, una);
  EXPECT_EQ(sent[0].length, kMss);
  EXPECT_TRUE(sent[0].intent.retransmission);
  // Further duplicates inflate (RFC 5681 3.2 step 4) and let new data go, no second repetition.
  for (int i = 0; i < 6; ++i) DuplicateAck(c);
  for (const SentSegment& segment : c.Drain()) EXPECT_FALSE(segment.intent.retransmission);
  EXPECT_EQ(c.tcb.cwnd, flight / 2 + 9 * kMss);
}

TEST(FastRetransmit, GivenWhatIsNoDuplicateThenNotCounted) {
  struct Case {
    const char* what;
    void (*change)(Connection&, Segment*);
  };
  const Case cases[] = {
      {"text", [](Connection&, Segment* s) { s->text_length = 1; }},
      {"another window", [](Connection&, Segment* s) { s->header.window += 1; }},
      {"an older ACK",
       [](Connection&, Segment* s) { s->header.acknowledgement = s->header.acknowledgement - 1; }},
  };
  for (const Case& row : cases) {
    SCOPED_TRACE(row.what);
    Connection c = Sending();
    for (int i = 0; i < 5; ++i) {
      Segment segment = c.WithAck(c.tcb.snd.una);
      segment.header.window = static_cast<uint16_t>(c.tcb.snd.wnd);
      row.change(c, &segment);
      c.Arrive(segment);
    }
    EXPECT_EQ(c.tcb.duplicate_acks, 0);
    EXPECT_FALSE(c.tcb.in_recovery);
  }
}

TEST(FastRetransmit, GivenNothingInFlightThenDuplicatesMeanNothing) {
  Connection c;
  c.Establish();
  for (int i = 0; i < 5; ++i) c.Arrive(c.Template());
  EXPECT_EQ(c.tcb.duplicate_acks, 0);
  EXPECT_TRUE(c.Drain().empty());
}

TEST(FastRetransmit, GivenOnlyFinInFlightWhenThreeDuplicatesThenFinIsRepeated) {
  Connection c;
  c.BringTo(State::kFinWait1);
  for (int i = 0; i < 3; ++i) DuplicateAck(c);
  EXPECT_TRUE(IsOne(c.Drain(), kFin | kAck));
  EXPECT_TRUE(c.Drain().empty());
}

/// In fast recovery with 10 segments (of `Sending`) outstanding, the first repeated.
Connection Recovering() {
  Connection c = Sending(10 * kMss);
  for (int i = 0; i < 3; ++i) DuplicateAck(c);
  EXPECT_EQ(c.Drain().size(), 1u);
  return c;
}

TEST(NewReno, GivenPartialAckThenNextHoleIsRepeatedAndRecoveryGoesOn) {
  Connection c = Recovering();
  const uint32_t cwnd = c.tcb.cwnd;
  c.Arrive(c.WithAck(c.tcb.snd.una + 3 * kMss));
  EXPECT_TRUE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.cwnd, cwnd - 3 * kMss + kMss);  // deflate, add one back
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.sequence, c.iss() + 1 + 3 * kMss);
  EXPECT_TRUE(sent[0].intent.retransmission);
}

TEST(NewReno, GivenPartialAcksThenOnlyTheFirstRestartsTheTimer) {
  Connection c = Recovering();
  c.now += 10 * kMs;
  c.Arrive(c.WithAck(c.tcb.snd.una + 2 * kMss));
  c.Drain();
  const uint64_t deadline = c.tcb.retransmit_deadline;
  EXPECT_EQ(deadline, c.now + c.tcb.rtt.rto_us * kUs);
  c.now += 10 * kMs;
  c.Arrive(c.WithAck(c.tcb.snd.una + 2 * kMss));
  EXPECT_TRUE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.retransmit_deadline, deadline);
}

// ---------------------------------------------------------------- peers without reassembly

TEST(GoBack, GivenPartialAckOfJustWhatWasRepeatedThenAllOfItIsSentAgain) {
  Connection c = Recovering();
  const SequenceNumber sent_before = c.tcb.snd.max;
  c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
  EXPECT_TRUE(c.tcb.go_back);
  EXPECT_EQ(c.tcb.cwnd, 5 * kMss);  // halved once
  SequenceNumber next = c.tcb.snd.una;
  while (c.tcb.snd.una != sent_before) {
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_FALSE(sent.empty());
    for (const SentSegment& segment : sent) {
      EXPECT_EQ(segment.header.sequence, next);
      EXPECT_TRUE(segment.intent.retransmission);
      next += segment.length;
    }
    c.Arrive(c.WithAck(next));
  }
  EXPECT_FALSE(c.tcb.go_back);
  EXPECT_EQ(c.tcb.ssthresh, 5 * kMss);
}

TEST(GoBack, GivenPartOfItIsKeptThenThatIsSkipped) {
  Connection c = Recovering();
  c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
  ASSERT_EQ(c.Drain().size(), 5u);
  c.Arrive(c.WithAck(c.tcb.snd.una + 8 * kMss));  // it had them after all
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.sequence, c.iss() + 1 + 9 * kMss);
}

TEST(GoBack, GivenLostAgainWhenThreeDuplicatesThenOnceMoreWithTheSameWindow) {
  Connection c = Recovering();
  c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
  ASSERT_EQ(c.Drain().size(), 5u);
  const uint32_t cwnd = c.tcb.cwnd;
  const SequenceNumber una = c.tcb.snd.una;
  for (int i = 0; i < 3; ++i) DuplicateAck(c);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 5u);
  EXPECT_EQ(sent[0].header.sequence, una);
  EXPECT_EQ(c.tcb.cwnd, cwnd);
  for (int i = 0; i < 9; ++i) DuplicateAck(c);
  EXPECT_TRUE(c.Drain().empty());  // once: what follows is the timer's
}

TEST(NewReno, GivenFullAckThenRecoveryEndsWithDeflatedWindow) {
  Connection c = Recovering();
  c.Arrive(c.Template());
  EXPECT_FALSE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.ssthresh, 5 * kMss);
  EXPECT_EQ(c.tcb.cwnd, 2 * kMss);  // min(ssthresh, max(FlightSize, SMSS) + SMSS)
  EXPECT_EQ(c.tcb.duplicate_acks, 0);
}

TEST(NewReno, GivenRecoveryOverWhenNextSegmentIsLostThenFastRetransmitWorksAgain) {
  Connection c = Recovering();
  c.Arrive(c.Template());
  c.Send(5 * kMss);
  for (int i = 0; i < 3; ++i) DuplicateAck(c);
  EXPECT_TRUE(c.tcb.in_recovery);
}

TEST(NewReno, GivenRecoveryWhenNoProgressThenTimeOutEndsIt) {
  Connection c = Recovering();
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_FALSE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.cwnd, kMss);
  ASSERT_EQ(c.Drain().size(), 1u);
}

TEST(NewReno, GivenTwoGigabytesWithoutLossThenFastRetransmitStillWorks) {
  // `recover` must not be left so far behind that it seems to be ahead.
  Options options = PlainOptions();
  options.mss = 60000;
  Connection c(options);
  c.peer_mss = 60000;
  c.Establish();
  for (uint64_t sent = 0; sent < (uint64_t{5} << 29); sent += 60000) {
    ExtendSend(c.tcb, 60000);
    const SendIntent intent = NextSend(c.tcb, c.now);
    ASSERT_EQ(intent.kind, SendIntent::Kind::kData);
    CommitSend(c.tcb, intent, AllowedLength(c.tcb, intent, 60000), true, c.now);
    ASSERT_EQ(OnSegment(c.tcb, c.Template(), c.now).acked_bytes, 60000u);
  }
  c.Send(60000);
  for (int i = 0; i < 3; ++i) DuplicateAck(c);
  EXPECT_TRUE(c.tcb.in_recovery);
}

// ---------------------------------------------------------------- time-out

TEST(CongestionTimeout, GivenTimeOutThenWindowCollapsesAndSlowStarts) {
  Connection c = Sending(10 * kMss);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_EQ(c.tcb.ssthresh, 5 * kMss);
  EXPECT_EQ(c.tcb.cwnd, kMss);
  EXPECT_EQ(c.tcb.snd.nxt, c.tcb.snd.una);
  ASSERT_EQ(c.Drain().size(), 1u);
  // L = 1 in this slow start (RFC 3465 section 2.3); go-back-N from snd.una.
  c.Arrive(c.WithAck(c.tcb.snd.una + 2 * kMss));
  EXPECT_EQ(c.tcb.cwnd, 2 * kMss);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].header.sequence, c.iss() + 1 + 2 * kMss);
  EXPECT_TRUE(sent[0].intent.retransmission);
}

TEST(CongestionTimeout, GivenSecondTimeOutOfTheSameSegmentThenThresholdStays) {
  Connection c = Sending(10 * kMss);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  c.Drain();
  const uint32_t ssthresh = c.tcb.ssthresh;
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_EQ(c.tcb.ssthresh, ssthresh);
  EXPECT_EQ(c.tcb.cwnd, kMss);
}

TEST(CongestionTimeout, GivenDuplicatesOfWhatWasRepeatedThenNoFastRetransmit) {
  Connection c = Sending(20 * kMss);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  c.Drain();
  c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
  c.Drain();
  const uint32_t ssthresh = c.tcb.ssthresh;
  for (int i = 0; i < 4; ++i) DuplicateAck(c);
  EXPECT_FALSE(c.tcb.in_recovery);  // RFC 6582 3.2 step 1
  EXPECT_EQ(c.tcb.ssthresh, ssthresh);
}

}  // namespace
}  // namespace qpip::tcp::testing
