// Windows: options of the handshake, scaling, what is offered, what may be sent.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

Options ScaledOptions(uint32_t receive_buffer) {
  Options options = PlainOptions();
  options.window_scaling = true;
  options.receive_buffer = receive_buffer;
  return options;
}

/// Right edge as the peer computes it.
SequenceNumber EdgeOf(const Header& header, uint8_t scale) {
  return header.acknowledgement + (static_cast<uint32_t>(header.window) << scale);
}

// ---------------------------------------------------------------- handshake options

TEST(Handshake, GivenAllOptionsWhenActiveThenSynOffersThem) {
  Options options = ScaledOptions(1u << 20);
  options.timestamps = true;
  options.mss = 1440;
  Connection c(options);
  c.OpenActively(1u << 20);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kSyn));
  const Header& syn = sent[0].header;
  EXPECT_TRUE(syn.has_mss);
  EXPECT_EQ(syn.mss, 1440);
  EXPECT_TRUE(syn.has_window_scale);
  EXPECT_EQ(syn.window_scale, 5);  // 2^20 >> 5 fits 16 bits
  EXPECT_TRUE(syn.has_timestamps);
  EXPECT_EQ(syn.ts_echo, 0u);
  EXPECT_EQ(syn.window, 65535);  // not scaled
  EXPECT_TRUE(syn.sack_permitted);
  EXPECT_EQ(syn.acknowledgement, SequenceNumber(0));
}

TEST(Handshake, GivenSynWithoutOptionsWhenPassiveThenSynAckHasNone) {
  Options options = ScaledOptions(1u << 20);
  options.timestamps = true;
  Connection c(options);
  c.OpenPassively();
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kSyn | kAck));
  EXPECT_FALSE(sent[0].header.has_window_scale);
  EXPECT_FALSE(sent[0].header.has_timestamps);
  EXPECT_TRUE(sent[0].header.has_mss);
  EXPECT_EQ(sent[0].header.acknowledgement, c.irs() + 1);
  EXPECT_EQ(WindowUnit(c.tcb), 1u);
}

TEST(Handshake, GivenSynWithOptionsWhenPassiveThenSynAckAnswersThem) {
  Options options = ScaledOptions(40000);  // a shift of 0 is an offer too
  options.timestamps = true;
  Connection c(options);
  c.peer_scales = true;
  c.peer_scale = 7;
  c.peer_timestamps = true;
  c.OpenPassively();
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kSyn | kAck));
  EXPECT_TRUE(sent[0].header.has_window_scale);
  EXPECT_EQ(sent[0].header.window_scale, 0);
  EXPECT_TRUE(sent[0].header.has_timestamps);
  EXPECT_EQ(sent[0].header.ts_echo, c.peer_clock);
  EXPECT_EQ(c.tcb.snd.wscale, 7);
  EXPECT_EQ(c.tcb.snd.wnd, 60000u);  // the SYN's own window is not scaled
  Segment ack = c.Template();
  ack.header.window = 100;
  c.Arrive(ack);
  EXPECT_EQ(c.tcb.snd.wnd, 12800u);
}

TEST(Handshake, GivenMssOptionsThenSmallerOneCountsLessOptions) {
  struct Case {
    bool has;
    uint16_t peer;
    uint32_t ours;
    bool timestamps;
    uint32_t result;
  };
  const Case cases[] = {
      {true, 1000, 1440, false, 1000}, {true, 9000, 1440, false, 1440},
      {true, 1440, 1440, true, 1428},  {false, 0, 1440, false, 1220},
      {true, 0, 1440, true, 76},       {true, 65535, 65535, false, 65535},
  };
  for (const Case& row : cases) {
    Options options = PlainOptions();
    options.mss = row.ours;
    options.timestamps = row.timestamps;
    Segment syn;
    syn.header.flags = kSyn;
    syn.header.has_mss = row.has;
    syn.header.mss = row.peer;
    syn.header.has_timestamps = true;
    StandaloneTcb tcb;
    OpenPassive(tcb, options, SequenceNumber(1), syn, kStart);
    EXPECT_EQ(tcb.snd.mss, row.result) << row.peer << " " << row.ours;
  }
}

TEST(Handshake, GivenShiftOverFourteenThenFourteen) {
  Connection c(ScaledOptions(1000000));
  c.peer_scales = true;
  c.peer_scale = 200;
  c.OpenPassively();
  EXPECT_EQ(c.tcb.snd.wscale, 14);
}

TEST(Handshake, GivenCloseBeforeEstablishedThenFinFollowsTheHandshake) {
  Connection c;
  c.OpenPassively();
  c.Drain();
  Close(c.tcb, c.now);
  EXPECT_TRUE(c.Drain().empty());
  c.Arrive(c.Template());
  EXPECT_TRUE(IsOne(c.Drain(), kFin | kAck));
  EXPECT_EQ(c.tcb.state, State::kFinWait1);
}

TEST(Handshake, GivenCloseInSynSentThenClosed) {
  Connection c;
  c.BringTo(State::kSynSent);
  Close(c.tcb, c.now);
  EXPECT_EQ(c.tcb.state, State::kClosed);
  c.Check();
}

TEST(Handshake, GivenTextAnnouncedBeforeEstablishedThenItGoesAfterwards) {
  Connection c;
  c.OpenActively();
  EXPECT_TRUE(IsOne(c.Send(100), kSyn));
  Segment syn_ack = c.PeerSyn();
  syn_ack.header.flags = kSyn | kAck;
  syn_ack.header.acknowledgement = c.iss() + 1;
  c.Arrive(syn_ack);
  const std::vector<SentSegment> sent = c.Drain();  // the third ACK rides on the text
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].length, 100u);
  EXPECT_EQ(sent[0].header.acknowledgement, c.irs() + 1);
}

// ---------------------------------------------------------------- receive window

TEST(ReceiveWindow, GivenTextArrivesThenTheEdgeStaysUntilTheOwnerCanTakeMore) {
  Connection c;
  c.Establish(10000);
  const SequenceNumber edge = c.tcb.rcv.adv;
  for (int i = 0; i < 4; ++i) {
    c.ArriveAndPlace(c.WithText(1000));
    c.ArriveAndPlace(c.WithText(1000));
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(EdgeOf(sent[0].header, 0), edge);
  }
}

TEST(ReceiveWindow, GivenSmallerCapacityThenTheEdgeDoesNotRetract) {
  Connection c;
  c.Establish(10000);
  const SequenceNumber edge = c.tcb.rcv.adv;
  SetReceiveWindow(c.tcb, 0, c.now);
  EXPECT_TRUE(c.Drain().empty());
  EXPECT_EQ(EdgeOf(c.Send(10)[0].header, 0), edge);
  // What was offered is taken.
  EXPECT_EQ(c.Arrive(c.WithText(10000)).text_length, 10000u);
}

TEST(ReceiveWindow, GivenUsedUpWindowWhenAnythingIsPostedThenUpdateAtOnce) {
  for (const uint32_t posted : {1u, 64u, 500u, 5000u}) {
    Connection c;
    c.Establish(100);
    c.ArriveAndPlace(c.WithText(100));
    c.Drain();
    SetReceiveWindow(c.tcb, posted, c.now);
    EXPECT_TRUE(c.tcb.owed.ack_now);
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_TRUE(IsOne(sent, kAck)) << posted;
    EXPECT_EQ(sent[0].header.window, posted);
  }
}

TEST(ReceiveWindow, GivenLargeWindowWhenLittleIsPostedThenNoUpdate) {
  Connection c;
  c.Establish(10000);
  SetReceiveWindow(c.tcb, 10999, c.now);  // less than a segment more
  EXPECT_TRUE(c.Drain().empty());
  SetReceiveWindow(c.tcb, 11000, c.now);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kAck));
  EXPECT_EQ(sent[0].header.window, 11000);
}

TEST(ReceiveWindow, GivenLessThanHalfOfTheLargestWindowIsLeftThenAnyGrowthIsTold) {
  // The peer waits for half of the largest window it has seen: it must not wait for ever.
  Options options = PlainOptions();
  options.mss = 9000;
  Connection c(options);
  c.Establish(10000);
  c.ArriveAndPlace(c.WithText(6000));
  c.Drain();
  ASSERT_EQ(c.tcb.rcv.nxt.DistanceTo(c.tcb.rcv.adv), 4000u);
  SetReceiveWindow(c.tcb, 4500, c.now);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

/// Eight receives of 100 bytes were posted, and have been used up.
struct UsedUpReceives : Connection {
  UsedUpReceives() {
    OpenActively(800);
    Post(8);
    Drain();
    Segment syn_ack = PeerSyn();
    syn_ack.header.flags = kSyn | kAck;
    syn_ack.header.acknowledgement = iss() + 1;
    Arrive(syn_ack);
    Drain();
    ArriveAndPlace(WithText(800));
    Post(0);
    Drain();
  }
  void Post(uint32_t receives) {
    NoteReceives(tcb, receives);
    SetReceiveWindow(tcb, receives * 100, now);
  }
};

TEST(ReceiveWindow, GivenManyReceivesAreUsedUpWhenHalfArePostedAgainThenOneUpdate) {
  UsedUpReceives c;
  for (uint32_t posted = 1; posted < 4; ++posted) {
    c.Post(posted);
    EXPECT_TRUE(c.Drain().empty()) << posted;
  }
  c.Post(4);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kAck));
  EXPECT_EQ(sent[0].header.window, 400);
  EXPECT_EQ(NextDeadline(c.tcb), kNever);
}

TEST(ReceiveWindow, GivenFewReceivesAreEverPostedAgainThenToldAfterATenthOfASecond) {
  UsedUpReceives c;
  c.Post(1);
  const uint64_t due = c.now + 100 * kMs;
  EXPECT_EQ(NextDeadline(c.tcb), due);
  c.AdvanceTo(due - 1);
  EXPECT_TRUE(c.Drain().empty());
  c.AdvanceTo(due);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
  // One is what is posted together now.
  c.ArriveAndPlace(c.WithText(100));
  c.Post(0);
  c.Drain();
  c.Post(1);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

TEST(ReceiveWindow, GivenAFullSegmentOfGrowthThenItIsToldHoweverFewReceivesItIs) {
  UsedUpReceives c;
  NoteReceives(c.tcb, 1);
  SetReceiveWindow(c.tcb, 1000, c.now);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

TEST(ReceiveWindow, GivenPeerHasClosedThenNoUpdates) {
  Connection c;
  c.BringTo(State::kCloseWait);
  SetReceiveWindow(c.tcb, 20000, c.now);
  EXPECT_TRUE(c.Drain().empty());
}

TEST(ReceiveWindow, GivenCapacityBeyondTheBufferThenTheBufferLimits) {
  Connection c;  // receive_buffer 20000
  c.Establish(1000000);
  EXPECT_EQ(c.irs().DistanceTo(c.tcb.rcv.adv), 20001u);
}

TEST(ReceiveWindow, GivenScaleThenTheFieldIsRoundedDown) {
  Connection c(ScaledOptions(4000000));  // shift 6
  c.peer_scales = true;
  c.Establish(100);
  ASSERT_EQ(WindowUnit(c.tcb), 64u);
  // The SYN, not scaled, offered all 100.
  EXPECT_EQ(c.irs().DistanceTo(c.tcb.rcv.adv), 101u);
  SetReceiveWindow(c.tcb, 1000000, c.now);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.window, (1000000 - 63) / 64);  // room to round up later
  EXPECT_EQ(c.tcb.rcv.adv, EdgeOf(sent[0].header, 6));
  EXPECT_LE(c.tcb.rcv.nxt.DistanceTo(c.tcb.rcv.adv), 1000000u);
}

TEST(ReceiveWindow, GivenScaleAndOneReceiveThenAMessageThatJustFitsIsAdmittedWhole) {
  Connection c(ScaledOptions(4000000));
  c.peer_scales = true;
  c.Establish(0);
  SetReceiveWindow(c.tcb, 4096, c.now);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kAck));
  EXPECT_EQ(static_cast<uint32_t>(sent[0].header.window) << 6, 4096u);
}

TEST(ReceiveWindow, GivenScaleAndRoomThenTheEdgeOnTheWireNeverRetracts) {
  Connection c(ScaledOptions(4000000));
  c.peer_scales = true;
  c.Establish(200000);
  SequenceNumber edge = c.tcb.rcv.adv;
  uint32_t seed = 1;
  for (int i = 0; i < 2000; ++i) {
    seed = seed * 1103515245 + 12345;
    c.ArriveAndPlace(c.WithText(1 + (seed >> 8) % 900));
    SetReceiveWindow(c.tcb, 200000, c.now);  // receives are posted again
    for (const SentSegment& sent : c.Drain()) {
      ASSERT_TRUE(EdgeOf(sent.header, 6).AtOrAfter(edge)) << i;
      edge = EdgeOf(sent.header, 6);
    }
  }
}

TEST(ReceiveWindow, GivenScaleAndNoRoomThenTheEdgeRetractsByLessThanAUnitAndTextIsStillTaken) {
  // RFC 7323 section 2.4: unavoidable once the acknowledgement is no multiple of the unit.
  Connection c(ScaledOptions(4000000));
  c.peer_scales = true;
  c.Establish(64000);
  const SequenceNumber capacity = c.tcb.rcv.nxt + 64000;
  uint32_t retracted = 0;
  for (int i = 0; i < 100; ++i) {
    c.ArriveAndPlace(c.WithText(7));
    for (const SentSegment& sent : c.Drain()) {
      const uint32_t back = EdgeOf(sent.header, 6).DistanceTo(c.tcb.rcv.adv);
      EXPECT_LT(back, 64u);
      retracted = back > retracted ? back : retracted;
    }
    ASSERT_TRUE(c.tcb.rcv.adv.AtOrBefore(capacity));
  }
  EXPECT_GT(retracted, 0u);  // or this test shows nothing
  const uint32_t left = c.tcb.rcv.nxt.DistanceTo(c.tcb.rcv.adv);
  EXPECT_EQ(c.ArriveAndPlace(c.WithText(left)).text_length, left);
}

TEST(ReceiveWindow, GivenScaleAndLessThanAUnitLeftWhenAsMuchIsPostedAgainThenThePeerIsTold) {
  Connection c(ScaledOptions(4000000));  // a unit is 64 bytes
  c.peer_scales = true;
  c.Establish(0);
  SetReceiveWindow(c.tcb, 64, c.now);
  ASSERT_TRUE(IsOne(c.Drain(), kAck));
  for (int i = 0; i < 3; ++i) {
    c.ArriveAndPlace(c.WithText(20));
    SetReceiveWindow(c.tcb, 0, c.now);
    c.AdvanceTo(c.now + 500 * kMs);
    const std::vector<SentSegment> acknowledged = c.Drain();
    ASSERT_TRUE(IsOne(acknowledged, kAck)) << i;
    ASSERT_EQ(acknowledged[0].header.window, 0);  // 44 bytes are left, which no field can tell
    SetReceiveWindow(c.tcb, 64, c.now);
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_TRUE(IsOne(sent, kAck)) << i;
    EXPECT_EQ(sent[0].header.window, 1);
  }
}

TEST(ReceiveWindow, GivenReceivesPostedAfterSynAckThenUpdateFollowsTheHandshake) {
  Connection c;
  c.OpenPassively(0);
  const std::vector<SentSegment> syn_ack = c.Drain();
  ASSERT_EQ(syn_ack.size(), 1u);
  EXPECT_EQ(syn_ack[0].header.window, 0);
  SetReceiveWindow(c.tcb, 5000, c.now);
  EXPECT_TRUE(c.Drain().empty());
  c.Arrive(c.Template());
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kAck));
  EXPECT_EQ(sent[0].header.window, 5000);
}

// ---------------------------------------------------------------- what may be sent

TEST(SendWindow, GivenMessageThenItIsCutAtTheSegmentSizeAndPushedAtItsEnd) {
  Connection c;
  c.Establish();
  const std::vector<SentSegment> sent = c.Send(2500);
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[0].length, 1000u);
  EXPECT_EQ(sent[0].header.flags, kAck);
  EXPECT_EQ(sent[2].length, 500u);
  EXPECT_EQ(sent[2].header.flags, kAck | kPsh);
}

TEST(SendWindow, GivenTwoMessagesThenNoSegmentCrossesTheirBorder) {
  Connection c;
  c.Establish();
  ExtendSend(c.tcb, 300);
  ExtendSend(c.tcb, 300);
  std::vector<SentSegment> sent;
  ASSERT_TRUE(c.SendOne(&sent, 300));
  ASSERT_TRUE(c.SendOne(&sent, 300));
  EXPECT_EQ(sent[0].length, 300u);
  EXPECT_EQ(sent[1].length, 300u);
}

TEST(SendWindow, GivenSillyWindowThenSenderWaitsUnlessItIsWorthwhile) {
  struct Case {
    uint32_t window;
    uint32_t message;
    uint32_t allowed;
  };
  // The largest window ever was 60000, a segment is 1000.
  for (const Case& row : {Case{999, 5000, 0}, Case{1000, 5000, 1000}, Case{999, 999, 999},
                          Case{999, 500, 500}, Case{0, 500, 0}}) {
    Connection c;
    c.Establish();
    c.peer_window = row.window;
    c.Arrive(c.Template());
    ExtendSend(c.tcb, row.message);
    const SendIntent intent = NextSend(c.tcb, c.now);
    EXPECT_EQ(AllowedLength(c.tcb, intent, row.message), row.allowed) << row.window;
  }
}

TEST(SendWindow, GivenPeerWithTinyWindowsThenHalfOfTheLargestIsEnough) {
  Connection c;
  c.peer_window = 400;
  c.Establish();
  ExtendSend(c.tcb, 5000);
  SendIntent intent = NextSend(c.tcb, c.now);
  EXPECT_EQ(AllowedLength(c.tcb, intent, 5000), 400u);
  c.peer_window = 200;
  c.Arrive(c.Template());
  intent = NextSend(c.tcb, c.now);
  EXPECT_EQ(AllowedLength(c.tcb, intent, 5000), 200u);
  c.peer_window = 199;
  c.Arrive(c.Template());
  intent = NextSend(c.tcb, c.now);
  EXPECT_EQ(AllowedLength(c.tcb, intent, 5000), 0u);
}

TEST(SendWindow, GivenDataWaitsForWindowWhenAcknowledgementIsDueThenItGoesAlone) {
  Connection c;
  c.Establish();
  c.peer_window = 300;
  c.Arrive(c.Template());
  c.Send(3000);
  c.ArriveAndPlace(c.WithText(10));
  c.ArriveAndPlace(c.WithText(10));
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

TEST(SendWindow, GivenOldSegmentsThenTheyDoNotUpdateTheWindow) {
  Connection c;
  c.Establish();
  c.ArriveAndPlace(c.WithText(100));
  c.ArriveAndPlace(c.WithText(100));
  ASSERT_EQ(c.tcb.snd.wnd, 60000u);
  Segment old = c.WithText(200);  // partly old: sent before the last one
  old.header.sequence = c.tcb.rcv.nxt - 150;
  old.header.window = 5;
  c.Arrive(old);
  EXPECT_EQ(c.tcb.snd.wnd, 60000u);
}

TEST(SendWindow, GivenHeaderBuiltLateThenRefreshHeaderTellsTheLatest) {
  Connection c;
  c.Establish();
  ExtendSend(c.tcb, 10);
  const SendIntent intent = NextSend(c.tcb, c.now);
  Header header = CommitSend(c.tcb, intent, 10, true, c.now);
  EXPECT_EQ(header.acknowledgement, c.irs() + 1);
  c.ArriveAndPlace(c.WithText(100));
  ASSERT_NE(c.tcb.owed.ack_deadline, kNever);
  RefreshHeader(c.tcb, &header, 10, c.now);
  EXPECT_EQ(header.acknowledgement, c.irs() + 101);
  EXPECT_EQ(header.flags, kAck | kPsh);
  EXPECT_EQ(c.tcb.owed.ack_deadline, kNever);
}

TEST(SendWindow, GivenExtendSendAfterCloseThenIgnored) {
  Connection c;
  c.Establish();
  Close(c.tcb, c.now);
  ExtendSend(c.tcb, 100);
  EXPECT_TRUE(IsOne(c.Drain(), kFin | kAck));
}

TEST(SendWindow, GivenRetransmissionOfSmallPieceThenSillyWindowAvoidanceDoesNotHoldIt) {
  // 400 bytes went when they were half of the largest window; now they are repeated.
  Connection c;
  c.peer_window = 400;
  c.Establish();
  ASSERT_EQ(c.Send(5000).size(), 1u);
  c.peer_window = 60000;
  c.Arrive(c.WithAck(c.tcb.snd.una));
  c.Drain();
  const SequenceNumber una = c.tcb.snd.una;
  for (int i = 0; i < 3; ++i) c.Arrive(c.WithAck(una));
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent[0].header.sequence, una);
}

TEST(SendWindow, GivenFourGigabytesThenSequenceNumbersWrapUnnoticed) {
  Options options = PlainOptions();
  options.mss = 60000;
  Connection c(options);
  c.peer_mss = 60000;
  c.Establish();
  uint64_t total = 0;
  while (total < (uint64_t{9} << 29)) {
    ExtendSend(c.tcb, 60000);
    const SendIntent intent = NextSend(c.tcb, c.now);
    ASSERT_EQ(AllowedLength(c.tcb, intent, 60000), 60000u);
    CommitSend(c.tcb, intent, 60000, true, c.now);
    total += OnSegment(c.tcb, c.Template(), c.now).acked_bytes;
    const Arrival arrival = OnSegment(c.tcb, c.WithText(10000), c.now);
    ASSERT_EQ(arrival.text_length, 10000u);
    OnPlaced(c.tcb, 10000, c.now);
    SetReceiveWindow(c.tcb, 20000, c.now);
    Header ack = CommitSend(c.tcb, NextSend(c.tcb, c.now), 0, false, c.now);
    ASSERT_EQ(ack.acknowledgement, c.tcb.rcv.nxt);
  }
  c.Check();
}

// ---------------------------------------------------------------- what has not gone out

class TakeBack : public ::testing::TestWithParam<bool> {
 protected:
  TakeBack() : c_(OptionsOf(GetParam())) {
    c_.peer_sack = GetParam();
    c_.Establish();
    ExtendSend(c_.tcb, 3000);
    first_ = Commit(1000);
    second_ = Commit(1000);
  }
  static Options OptionsOf(bool sack) {
    Options options = PlainOptions();
    options.sack = sack;
    return options;
  }
  SequenceNumber Commit(uint32_t length) {
    const SendIntent intent = NextSend(c_.tcb, c_.now);
    EXPECT_EQ(intent.kind, SendIntent::Kind::kData);
    return CommitSend(c_.tcb, intent, length, false, c_.now).sequence;
  }
  Connection c_;
  SequenceNumber first_, second_;
};
INSTANTIATE_TEST_SUITE_P(All, TakeBack, ::testing::Bool(),
                         [](const auto& param) { return param.param ? "Sack" : "NoSack"; });

TEST_P(TakeBack, GivenTheNewestTextThenItIsNextAndTheWindowIsAsItWas) {
  ASSERT_EQ(c_.tcb.sack_on, GetParam());
  const uint32_t window = c_.tcb.cwnd;
  const uint32_t threshold = c_.tcb.ssthresh;
  TakeBackSent(c_.tcb, second_, second_ + 1000, 0);
  EXPECT_EQ(Commit(1000), second_);
  EXPECT_EQ(Commit(1000), second_ + 1000);
  EXPECT_EQ(c_.tcb.cwnd, window);
  EXPECT_EQ(c_.tcb.ssthresh, threshold);
  EXPECT_FALSE(c_.tcb.in_recovery);
}

TEST_P(TakeBack, GivenTheOldestTextThenItIsNext) {
  TakeBackSent(c_.tcb, first_, first_ + 1000, 0);
  EXPECT_EQ(Commit(1000), first_);
}

TEST_P(TakeBack, GivenTextThatHasBeenAcknowledgedThenNothing) {
  c_.Arrive(c_.WithAck(second_));
  TakeBackSent(c_.tcb, first_, first_ + 1000, 0);
  EXPECT_EQ(Commit(1000), second_ + 1000);
}

TEST_P(TakeBack, GivenTheTailThenNoProbeTakesItForALoss) {
  Commit(1000);
  TakeBackSent(c_.tcb, second_ + 1000, second_ + 2000, 0);
  EXPECT_EQ(c_.tcb.tail_probe.deadline, kNever);
  EXPECT_FALSE(c_.tcb.tail_probe.due);
}

TEST_P(TakeBack, GivenAFinThenItIsNext) {
  Commit(1000);
  Close(c_.tcb, c_.now);
  const auto commit = [&] {
    return CommitSend(c_.tcb, NextSend(c_.tcb, c_.now), 0, false, c_.now);
  };
  const Header fin = commit();
  ASSERT_TRUE(fin.Has(kFin));
  TakeBackSent(c_.tcb, fin.sequence, fin.sequence + 1, 0);
  const Header again = commit();
  EXPECT_TRUE(again.Has(kFin));
  EXPECT_EQ(again.sequence, fin.sequence);
}

}  // namespace
}  // namespace qpip::tcp::testing
