// SYN cookies: what a handshake keeps without anybody keeping it, and what is not believed.
#include <random>
#include <vector>

#include "protocols/tcp/syn_cookie.h"
#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint64_t kPeriod = uint64_t{1} << 36;

CookieContext Context() {
  CookieContext context;
  context.tuple.local_address.bytes[15] = 1;
  context.tuple.remote_address.bytes[15] = 2;
  context.tuple.local_port = 80;
  context.tuple.remote_port = 50000;
  context.key = {0x0123456789abcdef, 0xfedcba9876543210};
  context.options = Options{};
  context.options.mss = 8940;
  return context;
}

Header FullSyn() {
  Header syn;
  syn.flags = kSyn;
  syn.sequence = SequenceNumber(777);
  syn.window = 64000;
  syn.has_mss = true;
  syn.mss = 1440;
  syn.has_window_scale = true;
  syn.window_scale = 9;
  syn.has_timestamps = true;
  syn.ts_value = 4242;
  syn.sack_permitted = true;
  return syn;
}

/// What a peer answers a SYN-ACK with.
Header AckOf(const Header& syn, const Header& syn_ack) {
  Header ack;
  ack.flags = kAck;
  ack.sequence = syn.sequence + 1;
  ack.acknowledgement = syn_ack.sequence + 1;
  ack.window = 500;
  ack.has_timestamps = syn_ack.has_timestamps;
  ack.ts_value = syn.ts_value + 3;
  ack.ts_echo = syn_ack.ts_value;
  return ack;
}

TEST(SynCookie, GivenSynWithAllOptionsThenTheAckBringsThemBack) {
  const CookieContext context = Context();
  for (uint8_t scale = 0; scale <= 14; ++scale) {
    for (const bool sack : {false, true}) {
      for (const bool ecn : {false, true}) {
        Header syn = FullSyn();
        syn.window_scale = scale;
        syn.sack_permitted = sack;
        if (ecn) syn.flags |= kEce | kCwr;
        const Header syn_ack = CookieSynAck(context, syn, kStart);
        EXPECT_EQ(syn_ack.Has(kEce), ecn);
        EXPECT_EQ(syn_ack.sack_permitted, sack);
        Handshake back;
        ASSERT_EQ(Proof::kGood,
                  CheckCookie(context, AckOf(syn, syn_ack), kStart + 10 * kMs, &back));
        EXPECT_EQ(back.syn.sequence, syn.sequence);
        EXPECT_EQ(back.syn.mss, 1440);
        EXPECT_TRUE(back.syn.has_window_scale);
        EXPECT_EQ(back.syn.window_scale, scale);
        EXPECT_EQ(back.syn.sack_permitted, sack);
        EXPECT_EQ(back.syn.Has(kEce | kCwr), ecn);
      }
    }
  }
}

TEST(SynCookie, GivenSynWithoutTimestampsThenOnlyTheMssIsKept) {
  const CookieContext context = Context();
  Header syn = FullSyn();
  syn.has_timestamps = false;
  const Header syn_ack = CookieSynAck(context, syn, kStart);
  EXPECT_FALSE(syn_ack.has_timestamps);
  EXPECT_FALSE(syn_ack.has_window_scale);
  EXPECT_FALSE(syn_ack.sack_permitted);
  Handshake back;
  ASSERT_EQ(Proof::kGood, CheckCookie(context, AckOf(syn, syn_ack), kStart, &back));
  EXPECT_FALSE(back.syn.has_window_scale);
  EXPECT_FALSE(back.syn.sack_permitted);
  EXPECT_EQ(back.syn.mss, 1440);
}

TEST(SynCookie, GivenAnyMssThenWhatComesBackIsNotLargerAndNotMuchSmaller) {
  const CookieContext context = Context();
  for (uint32_t mss = 88; mss < 65536; mss += 7) {
    Header syn = FullSyn();
    syn.mss = static_cast<uint16_t>(mss);
    Handshake back;
    ASSERT_EQ(Proof::kGood,
              CheckCookie(context, AckOf(syn, CookieSynAck(context, syn, kStart)), kStart, &back));
    EXPECT_LE(std::min<uint32_t>(back.syn.mss, 8940), mss);
    if (mss >= 8940) {
      EXPECT_EQ(back.syn.mss, 8940) << "ours is what counts";
    }
    if (mss == 1220 || mss == 1440) {
      EXPECT_EQ(back.syn.mss, mss);
    }
  }
}

TEST(SynCookie, GivenStampThenItIsNotOfTheFuture) {
  const CookieContext context = Context();
  for (uint64_t now = kStart; now < kStart + (uint64_t{300} << 20); now += uint64_t{1} << 19) {
    const Header syn_ack = CookieSynAck(context, FullSyn(), now);
    const uint32_t clock =
        static_cast<uint32_t>(now >> 20) + TimestampOffset(context.tuple, context.key);
    EXPECT_LE(static_cast<int32_t>(syn_ack.ts_value - clock), 0);
    EXPECT_GE(static_cast<int32_t>(syn_ack.ts_value - clock), -128);
  }
}

TEST(SynCookie, GivenAnythingElseThanTheAckThenNotBelieved) {
  const CookieContext context = Context();
  const Header syn = FullSyn();
  const Header good = AckOf(syn, CookieSynAck(context, syn, kStart));
  Handshake back;
  ASSERT_EQ(Proof::kGood, CheckCookie(context, good, kStart, &back));
  Header ack = good;
  ack.acknowledgement += 1;
  EXPECT_EQ(Proof::kNone, CheckCookie(context, ack, kStart, &back));
  ack = good;
  ack.sequence = good.sequence - 1;
  EXPECT_EQ(Proof::kNone, CheckCookie(context, ack, kStart, &back));
  ack = good;
  ack.flags = kAck | kRst;
  EXPECT_EQ(Proof::kNone, CheckCookie(context, ack, kStart, &back));
  ack.flags = kAck | kSyn;
  EXPECT_EQ(Proof::kNone, CheckCookie(context, ack, kStart, &back));
  CookieContext other = context;
  other.tuple.remote_port ^= 1;
  EXPECT_EQ(Proof::kNone, CheckCookie(other, good, kStart, &back));
  other = context;
  other.key.k0 ^= 1;
  EXPECT_EQ(Proof::kNone, CheckCookie(other, good, kStart, &back));
}

TEST(SynCookie, GivenSegmentsOfTheFirstWindowThenAllButTheFirstAreLater) {
  const CookieContext context = Context();
  for (uint32_t i = 0; i < 1000; ++i) {  // seals near an end of their range as well
    Header syn = FullSyn();
    syn.sequence = SequenceNumber(i * 2654435761u);
    CookieContext theirs = context;
    theirs.tuple.remote_port = static_cast<uint16_t>(i);
    const Header good = AckOf(syn, CookieSynAck(theirs, syn, kStart));
    Handshake back;
    ASSERT_EQ(Proof::kGood, CheckCookie(theirs, good, kStart, &back));
    for (const uint32_t ahead : {1u, 100u, 1440u, uint32_t{kHandshakeWindow}}) {
      Header later = good;
      later.sequence += ahead;
      ASSERT_EQ(Proof::kLater, CheckCookie(theirs, later, kStart, &back)) << i << " " << ahead;
    }
    Header beyond = good;
    beyond.sequence += kHandshakeWindow + 1;
    ASSERT_EQ(Proof::kNone, CheckCookie(theirs, beyond, kStart, &back)) << i;
  }
}

/// Incarnations of one pair of ports follow each other as the peer's own numbers do.
TEST(SynCookie, GivenALaterSynOfTheSamePortsThenItsNumberIsAsMuchLater) {
  const CookieContext context = Context();
  Header syn = FullSyn();
  const SequenceNumber first = CookieSynAck(context, syn, kStart).sequence;
  syn.sequence += 250000;
  EXPECT_EQ(CookieSynAck(context, syn, kStart + kMs).sequence, first + 250000);
}

TEST(SynCookie, GivenTimeThenItLastsAPeriodAtLeastAndTwoAtMost) {
  const CookieContext context = Context();
  const Header syn = FullSyn();
  const Header ack = AckOf(syn, CookieSynAck(context, syn, kStart));
  Handshake back;
  EXPECT_EQ(Proof::kGood, CheckCookie(context, ack, kStart + kPeriod, &back));
  EXPECT_EQ(Proof::kNone, CheckCookie(context, ack, kStart + 2 * kPeriod, &back));
  EXPECT_EQ(Proof::kNone, CheckCookie(context, ack, kStart + 40 * kPeriod, &back));
}

TEST(SynCookie, GivenAMillionGuessesThenHardlyOneIsBelieved) {
  const CookieContext context = Context();
  std::mt19937 random(1);
  Header ack = AckOf(FullSyn(), CookieSynAck(context, FullSyn(), kStart));
  int believed = 0;
  for (int i = 0; i < 1000000; ++i) {
    ack.acknowledgement = SequenceNumber(static_cast<uint32_t>(random()));
    Handshake back;
    believed += CheckCookie(context, ack, kStart, &back) == Proof::kGood ? 1 : 0;
  }
  EXPECT_EQ(believed, 0);
}

TEST(SynCookie, GivenConnectionFromACookieThenItIsAsIfTheListenerHadKeptIt) {
  const CookieContext context = Context();
  const Header syn = FullSyn();
  const Header syn_ack = CookieSynAck(context, syn, kStart);
  Segment ack;
  ack.header = AckOf(syn, syn_ack);
  Handshake back;
  ASSERT_EQ(Proof::kGood, CheckCookie(context, ack.header, kStart + kMs, &back));
  StandaloneTcb tcb;
  CookieContext mine = context;
  mine.options.receive_buffer = 1 << 20;
  ResumeHandshake(tcb, mine.options, back, kStart + kMs);
  tcb.ts_offset = TimestampOffset(context.tuple, context.key);
  SetReceiveWindow(tcb, 1 << 20, kStart + kMs);
  EXPECT_EQ(NextSend(tcb, kStart + kMs).kind, SendIntent::Kind::kNone) << "the SYN-ACK is out";
  const Arrival arrival = OnSegment(tcb, ack, kStart + kMs);
  EXPECT_EQ(arrival.outcome, Outcome::kEstablished);
  EXPECT_EQ(tcb.snd.wnd, 500u << 9);
  EXPECT_TRUE(tcb.sack_on);
  EXPECT_TRUE(tcb.timestamps_on);
  EXPECT_EQ(tcb.snd.mss, 1440u - 12);
  EXPECT_EQ(tcb.rcv.adv, syn.sequence + 1 + kHandshakeWindow);
  // The window of the SYN-ACK was small: an update follows.
  const SendIntent intent = NextSend(tcb, kStart + kMs);
  ASSERT_EQ(intent.kind, SendIntent::Kind::kControl);
  const Header update = CommitSend(tcb, intent, 0, false, kStart + kMs);
  EXPECT_GT(update.window, kHandshakeWindow >> 7);
}

// ---------------------------------------------------------------- between two queue pairs

/// SYN-RECEIVED, its SYN-ACK sent.
void Answer(StandaloneTcb& tcb, const Header& syn, Header* syn_ack) {
  Segment segment;
  segment.header = syn;
  Options options;
  options.receive_buffer = 1 << 20;
  OpenPassive(tcb, options, SequenceNumber(5000), segment, kStart);
  SetReceiveWindow(tcb, 1 << 20, kStart);
  const SendIntent intent = NextSend(tcb, kStart);
  ASSERT_EQ(intent.kind, SendIntent::Kind::kControl);
  *syn_ack = CommitSend(tcb, intent, 0, false, kStart);
}

TEST(Handshake, GivenItsTcbIsTakenAwayWhenTheAckComesThenAnotherGoesOnWithTheSameOptions) {
  for (const bool with_options : {true, false}) {
    Header syn = FullSyn();
    syn.has_timestamps = syn.has_window_scale = syn.sack_permitted = with_options;
    StandaloneTcb first, second;
    Header syn_ack;
    Answer(first, syn, &syn_ack);
    const Handshake kept = SuspendHandshake(first);
    Segment ack;
    ack.header = AckOf(syn, syn_ack);
    EXPECT_EQ(CheckProof(kept, ack.header), Proof::kGood);
    Options options;
    options.receive_buffer = 32768;  // it would have offered another scale
    ResumeHandshake(second, options, kept, kStart + kMs);
    EXPECT_EQ(OnSegment(second, ack, kStart + kMs).outcome, Outcome::kEstablished);
    EXPECT_EQ(second.snd.wnd, with_options ? 500u << 9 : 500u);
    EXPECT_EQ(second.rcv.wscale, with_options ? syn_ack.window_scale : 0);
    EXPECT_EQ(second.sack_on, with_options);
    EXPECT_EQ(second.timestamps_on, with_options);
    EXPECT_EQ(second.snd.mss, first.snd.mss);
  }
}

TEST(Handshake, GivenOtherSegmentsThenTheyProveNothingOrThatTheyAreLater) {
  const Header syn = FullSyn();
  StandaloneTcb tcb;
  Header syn_ack;
  Answer(tcb, syn, &syn_ack);
  const Handshake kept = SuspendHandshake(tcb);
  const Header good = AckOf(syn, syn_ack);
  Header other = good;
  other.sequence += 1440;
  EXPECT_EQ(CheckProof(kept, other), Proof::kLater);
  other = good;
  other.acknowledgement += 1;
  EXPECT_EQ(CheckProof(kept, other), Proof::kNone);
  other = good;
  other.sequence = good.sequence - 1;
  EXPECT_EQ(CheckProof(kept, other), Proof::kNone);
  other = good;
  other.flags = kAck | kRst;
  EXPECT_EQ(CheckProof(kept, other), Proof::kNone);
}

}  // namespace
}  // namespace qpip::tcp::testing
