// Segment arrival: what the tables of tcp_machine_arrival_test.cc do not show, and PAWS.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

// ---------------------------------------------------------------- details of the checks

TEST(ArrivalDetail, GivenSharedCallsWhenAborted) {
  struct Case {
    State state;
    bool sends;
  };
  const Case cases[] = {
      {State::kClosed, false},     {State::kSynSent, false}, {State::kSynReceived, true},
      {State::kEstablished, true}, {State::kFinWait1, true}, {State::kFinWait2, true},
      {State::kCloseWait, true},   {State::kClosing, false}, {State::kLastAck, false},
      {State::kTimeWait, false},
  };
  for (const Case& row : cases) {
    SCOPED_TRACE(StateName(row.state));
    Connection c;
    c.BringTo(row.state);
    const SequenceNumber next = c.tcb.snd.max;
    Header reset;
    EXPECT_EQ(Abort(c.tcb, &reset, c.now), row.sends);
    if (row.sends) {
      EXPECT_EQ(reset.flags, kRst);
      EXPECT_EQ(reset.sequence, next);
    }
    c.Check();
    EXPECT_EQ(c.tcb.state, State::kClosed);
  }
}

TEST(ArrivalDetail, GivenTextThatIsNotAcknowledgedWhenAbortedThenItsAcknowledgementCanGoFirst) {
  Connection c;
  c.Establish();
  Header acknowledgement;
  EXPECT_FALSE(LastAcknowledgement(c.tcb, &acknowledgement, c.now)) << "the peer has got it";
  c.ArriveAndPlace(c.WithText(100));
  ASSERT_TRUE(LastAcknowledgement(c.tcb, &acknowledgement, c.now));
  EXPECT_EQ(acknowledgement.flags, kAck);
  EXPECT_EQ(acknowledgement.sequence, c.tcb.snd.nxt);
  EXPECT_EQ(acknowledgement.acknowledgement, c.tcb.rcv.nxt);
  c.Drain();
  Header reset;
  Abort(c.tcb, &reset, c.now);
  EXPECT_FALSE(LastAcknowledgement(c.tcb, &acknowledgement, c.now)) << "there is no connection";
}

TEST(ArrivalDetail, GivenManyChallengesWhenInOneSecondThenAnsweredTenTimes) {
  Connection c;
  c.Establish();
  int answers = 0;
  for (int i = 0; i < 50; ++i) {
    c.Arrive(Change(c, kRst, kInside));
    answers += static_cast<int>(c.Drain().size());
  }
  EXPECT_EQ(answers, 10);  // RFC 5961 section 7
  c.now += 1000 * kMs;
  c.Arrive(Change(c, kRst, kInside));
  EXPECT_EQ(c.Drain().size(), 1u);
}

TEST(ArrivalDetail, GivenSynReceivedWhenTheSynComesAgainThenAnsweredEachHalfOfTheTimeOutAtMost) {
  Connection c;
  c.OpenPassively();
  c.Drain();
  int answers = 0;
  for (int i = 0; i < 1000; ++i) {  // 10 s
    c.Arrive(c.PeerSyn());
    answers += static_cast<int>(c.Drain().size());
    c.Advance(10 * kMs);
    answers += static_cast<int>(c.Drain().size());
    if (c.tcb.state != State::kSynReceived) break;
  }
  EXPECT_GE(answers, 15);
  EXPECT_LE(answers, 25);
}

TEST(ArrivalDetail, GivenOurSynAckWasLostWhenTheSynComesAgainThenAnsweredBeforeTheTimeOut) {
  Connection c;
  c.OpenPassively();
  c.Drain();
  c.Advance(499 * kMs);
  c.Arrive(c.PeerSyn());
  EXPECT_TRUE(c.Drain().empty());
  c.Advance(1 * kMs);
  c.Arrive(c.PeerSyn());
  EXPECT_TRUE(IsOne(c.Drain(), kSyn | kAck));
}

TEST(ArrivalDetail, GivenHalfOpenWhenAMinuteHasPassedThenGivenUpWhateverTheConnectTimeOut) {
  for (const uint32_t limit : {0u, 180000u}) {
    Options options = PlainOptions();
    options.connect_timeout_ms = limit;
    Connection c(options);
    c.OpenPassively();
    c.Drain();
    for (int i = 0; i < 59; ++i) {
      c.Advance(1000 * kMs);
      c.Drain();
    }
    EXPECT_EQ(c.tcb.state, State::kSynReceived);
    c.Advance(1000 * kMs);
    EXPECT_EQ(c.tcb.state, State::kClosed);
  }
}

TEST(ArrivalDetail, GivenUnplacedTextWhenRstAtLastAckThenReset) {
  // A peer without the connection takes RST's sequence number from our last ACK, which does not
  // cover what is still on its way to memory.
  Connection c;
  c.Establish();
  c.Arrive(c.WithText(100));
  ASSERT_EQ(c.tcb.rcv.unplaced, 100u);
  EXPECT_EQ(c.Arrive(Change(c, kRst, -100)).outcome, Outcome::kReset);
}

TEST(ArrivalDetail, GivenZeroWindowThenAckRstAndFinAreProcessed) {
  // A window that has been used up.
  const auto shut = [](Connection* c) {
    c->Establish(100);
    c->ArriveAndPlace(c->WithText(100));
    c->Drain();
    ASSERT_EQ(c->tcb.rcv.adv, c->tcb.rcv.nxt);
  };
  {
    Connection c;
    shut(&c);
    c.Send(50);
    EXPECT_EQ(c.Arrive(c.WithAck(c.tcb.snd.max)).acked_bytes, 50u);
  }
  {
    Connection c;
    shut(&c);
    c.Send(50);
    // With text: the ACK counts, the text does not, and the peer is told.
    Segment segment = c.WithText(10);
    const Arrival arrival = c.Arrive(segment);
    EXPECT_EQ(arrival.acked_bytes, 50u);
    EXPECT_EQ(arrival.text_length, 0u);
    EXPECT_TRUE(IsOne(c.Drain(), kAck));
  }
  {
    Connection c;
    shut(&c);
    EXPECT_EQ(c.Arrive(Change(c, kRst, 0)).outcome, Outcome::kReset);
  }
  {
    Connection c;
    shut(&c);
    EXPECT_TRUE(c.Arrive(c.WithFlags(kFin | kAck)).peer_closed);
    EXPECT_EQ(c.tcb.state, State::kCloseWait);
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_TRUE(IsOne(sent, kAck));
    EXPECT_EQ(sent[0].header.acknowledgement, c.tcb.rcv.nxt);
    EXPECT_EQ(sent[0].header.window, 0);
  }
}

TEST(ArrivalDetail, GivenWindowFullInFlightWhenAckAtRightEdgeThenProcessed) {
  // The peer has filled our window, the text is late, its empty ACK is not.
  Connection c;
  c.Establish(5000);
  c.Send(50);
  Segment ack = c.WithAck(c.tcb.snd.max);
  ack.header.sequence = c.tcb.rcv.nxt + 5000;
  EXPECT_EQ(c.Arrive(ack).acked_bytes, 50u);
  EXPECT_TRUE(c.Drain().empty());
}

TEST(ArrivalDetail, GivenTextBehindFinUnplacedThenFinIsAcknowledgedWithIt) {
  Connection c;
  c.Establish();
  Segment segment = c.WithText(10);
  segment.header.flags = kFin | kAck;
  c.Arrive(segment);
  EXPECT_EQ(AckableSequence(c.tcb), c.irs() + 1);
  EXPECT_TRUE(c.Drain().empty());
  OnPlaced(c.tcb, 10, c.now);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kAck));
  EXPECT_EQ(sent[0].header.acknowledgement, c.irs() + 12);
}

// ---------------------------------------------------------------- PAWS (RFC 7323 section 5)

Connection WithTimestamps() {
  Connection c = MakeConnection({kSequencePlans[0], true});
  c.Establish();
  return c;
}

TEST(Paws, GivenTimestampsWhenOlderThenRefusedAndAcknowledged) {
  Connection c = WithTimestamps();
  Segment text = c.WithText(10);
  text.header.ts_value = c.peer_clock - 1;
  const Arrival arrival = c.Arrive(text);
  EXPECT_EQ(arrival.refusal, Refusal::kPaws);
  EXPECT_EQ(arrival.text_length, 0u);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

TEST(Paws, GivenTimestampsThatWrapWhenNewerThenAccepted) {
  Connection c = MakeConnection({kSequencePlans[0], true});
  c.peer_clock = 0xfffffff0u;
  c.Establish();
  Segment text = c.WithText(10);
  text.header.ts_value = 5;
  EXPECT_EQ(c.ArriveAndPlace(text).text_length, 10u);
  EXPECT_EQ(c.tcb.ts_recent, 5u);
}

TEST(Paws, GivenTimestampsWhenSegmentHasNoneThenDroppedSilently) {
  Connection c = WithTimestamps();
  Segment text = c.WithText(10);
  text.header.has_timestamps = false;
  EXPECT_EQ(c.Arrive(text).refusal, Refusal::kPaws);
  EXPECT_TRUE(c.Drain().empty());
}

TEST(Paws, GivenTimestampsWhenRstHasNoneOrOldOnesThenItStillCounts) {
  for (const bool has : {false, true}) {
    Connection c = WithTimestamps();
    Segment rst = c.WithFlags(kRst);
    rst.header.has_timestamps = has;
    rst.header.ts_value = c.peer_clock - 100;
    EXPECT_EQ(c.Arrive(rst).outcome, Outcome::kReset);
  }
}

TEST(Paws, GivenIdleConnectionWhen24DaysHavePassedThenOldTimestampIsAccepted) {
  Connection c = WithTimestamps();
  c.now += uint64_t{25} * 24 * 3600 * 1000 * kMs;
  Segment text = c.WithText(10);
  text.header.ts_value = c.peer_clock - 1;
  EXPECT_EQ(c.ArriveAndPlace(text).text_length, 10u);
  EXPECT_EQ(c.tcb.ts_recent, c.peer_clock - 1);
}

TEST(Paws, GivenTimestampsWhenSegmentIsAheadOfLastAckThenNotEchoed) {
  // RFC 7323 4.3: with two segments unacknowledged, the first one's timestamp is echoed.
  Connection c = WithTimestamps();
  c.peer_clock += 10;
  const uint32_t first = c.peer_clock;
  c.ArriveAndPlace(c.WithText(10));
  c.peer_clock += 10;
  c.ArriveAndPlace(c.WithText(10));
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kAck));
  EXPECT_EQ(sent[0].header.ts_echo, first);
}

TEST(BlindGuess, GivenTextWithABadAckThenItsTimestampIsNotKept) {
  Connection c = MakeConnection({kSequencePlans[0], true});
  c.Establish();
  const uint32_t ts_recent = c.tcb.ts_recent;
  Segment guess = c.WithText(100);
  guess.header.acknowledgement = c.tcb.snd.max + 1000;
  guess.header.ts_value += 1u << 30;
  EXPECT_EQ(c.Arrive(guess).refusal, Refusal::kBadAck);
  EXPECT_EQ(c.tcb.ts_recent, ts_recent);
  // So that what the peer sends is not taken for old.
  EXPECT_EQ(c.ArriveAndPlace(c.WithText(100)).text_length, 100u);
}

TEST(BlindGuess, GivenSynsWithTextOutsideTheWindowThenTenChallengesASecond) {
  Connection c;
  c.Establish();
  uint32_t answers = 0;
  for (int i = 0; i < 50; ++i) {
    c.Arrive(Change(c, kSyn, kOutside, 100));
    answers += static_cast<uint32_t>(c.Drain().size());
  }
  EXPECT_EQ(answers, 10u);
}

// ---------------------------------------------------------------- urgent data

Segment Urgent(const Connection& c, uint16_t pointer, uint32_t text) {
  Segment segment = c.WithText(text);
  segment.header.flags |= kUrg;
  segment.header.urgent_pointer = pointer;
  return segment;
}

TEST(UrgentData, GivenTheEndMovesThenEachMoveIsNewsAndARepetitionIsNot) {
  Connection c;
  c.Establish();
  EXPECT_TRUE(c.ArriveAndPlace(Urgent(c, 100, 50)).urgent);
  EXPECT_FALSE(c.ArriveAndPlace(Urgent(c, 50, 10)).urgent) << "the same end";
  EXPECT_TRUE(c.ArriveAndPlace(Urgent(c, 50, 40)).urgent);
  EXPECT_FALSE(c.ArriveAndPlace(Urgent(c, 0, 10)).urgent) << "it lies behind";
}

TEST(UrgentData, GivenTwoGigabytesLaterThenNewUrgentDataIsNews) {
  Connection c;
  c.Establish(20000);
  ASSERT_TRUE(c.ArriveAndPlace(Urgent(c, 100, 100)).urgent);
  ASSERT_FALSE(c.tcb.rcv.urgent) << "all of it has come";
  // The stream goes on; what it is compared with must not wrap.
  c.tcb.rcv.nxt += 0x80000100u;
  c.tcb.rcv.adv += 0x80000100u;
  c.tcb.rcv.told += 0x80000100u;
  c.tcb.owed.last_ack_sent += 0x80000100u;
  c.tcb.snd.wl1 = c.tcb.rcv.nxt;
  EXPECT_TRUE(OnSegment(c.tcb, Urgent(c, 30, 10), c.now).urgent);
}

TEST(UrgentData, GivenASendMarkedThenSegmentsPointBehindItUntilItIsAcknowledged) {
  Connection c;
  c.Establish();
  ExtendSend(c.tcb, 1500);
  MarkUrgent(c.tcb);
  const std::vector<SentSegment> both = c.Drain();
  ASSERT_EQ(both.size(), 2u);
  for (const SentSegment& sent : both) {
    EXPECT_TRUE(sent.header.Has(kUrg));
    EXPECT_EQ(sent.header.sequence + sent.header.urgent_pointer, c.tcb.snd.end);
  }
  c.Arrive(c.Template());
  const std::vector<SentSegment> later = c.Send(10);
  ASSERT_EQ(later.size(), 1u);
  EXPECT_FALSE(later[0].header.Has(kUrg));
}

TEST(HeldFin, GivenTextBehindItWhenThatIsInOrderThenItWasNone) {
  Connection c;
  c.Establish();
  Segment fin = Change(c, kAck | kFin, 10, 10);  // text [10, 20), FIN at 20
  c.Arrive(fin);
  c.ArriveAndPlace(Change(c, kAck, 20, 10));
  c.ArriveAndPlace(Change(c, kAck, 0, 10));
  c.ArriveAndPlace(c.WithText(10));
  EXPECT_FALSE(c.tcb.rcv.fin_held);
  EXPECT_EQ(c.tcb.state, State::kEstablished);
}

TEST(OverrunWindow, GivenTextBeyondTheEdgeThenOneAckWhenThePartThatFitsIsPlaced) {
  Connection c;
  c.Establish(1000);
  const Arrival arrival = c.Arrive(c.WithText(1500));
  EXPECT_EQ(arrival.text_length, 1000u);
  EXPECT_TRUE(c.Drain().empty()) << "it would acknowledge nothing new";
  OnPlaced(c.tcb, 1000, c.now);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.acknowledgement, c.tcb.rcv.nxt);
}

TEST(Timestamps, GivenASynWithoutThemWhenTheyAreInUseThenChallenged) {
  Options options = PlainOptions();
  options.timestamps = true;
  Connection c(options);
  c.peer_timestamps = true;
  c.Establish();
  Segment syn = Change(c, kSyn, kOutside);
  syn.header.has_timestamps = false;
  c.Arrive(syn);
  EXPECT_EQ(c.Drain().size(), 1u);
  Segment text = c.WithText(10);
  text.header.has_timestamps = false;
  EXPECT_EQ(c.Arrive(text).text_length, 0u);
  EXPECT_TRUE(c.Drain().empty());
}

}  // namespace
}  // namespace qpip::tcp::testing
