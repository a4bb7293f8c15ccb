// By which number a listener under pressure answers a SYN, and how often: nobody is answered more
// than he asks.
#include "listen_pressure.h"

namespace qpip::fw::test {
namespace {

// ---------------------------------------------------------------- two numbers for one SYN

/// A peer that was sent a cookie, repeats its SYN, and meets a queue pair that has come free.
struct TwoNumbers : ListenPressure {
  tcp::Header syn = MakeSyn(2000);
  tcp::Header cookie;
  tcp::Header other;

  tcp::Header AnswerTo(const tcp::Header& segment) {
    b.hardware.outgoing.clear();
    Arrive(b, MakeSegment(Address(1), segment));
    EXPECT_EQ(b.hardware.outgoing.size(), 1u);
    const tcp::Header answer = HeaderOf(b.hardware.outgoing.front());
    b.hardware.outgoing.clear();
    return answer;
  }
  static tcp::Header AckOf(const tcp::Header& syn, const tcp::Header& answer) {
    tcp::Header ack = syn;
    ack.flags = tcp::kAck;
    ack.has_mss = ack.has_window_scale = false;
    ack.sequence = syn.sequence + 1;
    ack.acknowledgement = answer.sequence + 1;
    ack.ts_echo = answer.ts_value;
    return ack;
  }
  void Prepare(uint64_t pause = 0) {
    Listen(4);
    for (auto& qp : servers) b.PostRecv(*qp, {SgeOf(sink, sink_key, 0, 4096)});
    tcp::Header first;
    for (uint32_t i = 1; i <= 3; ++i) {
      const tcp::Header answer = AnswerTo(MakeSyn(1000 + i));
      if (i == 1) first = AckOf(MakeSyn(1001), answer);
    }
    cookie = AnswerTo(syn);
    ASSERT_EQ(b.Counter(NicCounter::kSynCookiesSent), 1u);
    Arrive(b, MakeSegment(Address(1), first));
    ASSERT_EQ(EstablishedAt(b), 1u);
    b.Advance(pause);
    other = AnswerTo(syn);
    ASSERT_EQ(b.Counter(NicCounter::kSynCookiesSent), 1u) << "a queue pair's";
  }
  void Expect(const tcp::Header& ack, const tcp::Header& answer) {
    Arrive(b, MakeSegment(Address(1), ack, "hello"));
    EXPECT_EQ(EstablishedAt(b), 1u);
    b.Advance(100 * kMs);  // the acknowledgement may be delayed
    ASSERT_FALSE(b.hardware.outgoing.empty());
    for (const Frame& frame : b.hardware.outgoing) {
      EXPECT_FALSE(HeaderOf(frame).Has(tcp::kRst | tcp::kSyn));
      EXPECT_EQ(HeaderOf(frame).sequence, answer.sequence + 1);
    }
    EXPECT_EQ(HeaderOf(b.hardware.outgoing.back()).acknowledgement, syn.sequence + 6);
  }
};

TEST_F(TwoNumbers, GivenAQueuePairsAnswerWhenTheCookieIsAcknowledgedThenConnected) {
  Prepare();
  ASSERT_FALSE(cookie.sequence == other.sequence);
  Expect(AckOf(syn, cookie), cookie);
}

TEST_F(TwoNumbers, GivenACookieBeforeWhenTheQueuePairsAnswerIsAcknowledgedThenConnected) {
  Prepare();
  Expect(AckOf(syn, other), other);
}

TEST_F(TwoNumbers, GivenTheCookieIsOfThePeriodBeforeWhenItIsAcknowledgedThenConnected) {
  b.now = (uint64_t{3} << 36) - 5 * kMs;  // of syn_cookie.h
  Prepare(10 * kMs);
  Expect(AckOf(syn, cookie), cookie);
}

TEST_F(TwoNumbers, GivenTheFirstTextIsLostWhenTheNextComesThenItIsNotResetAndTheFirstConnects) {
  Prepare();
  tcp::Header later = AckOf(syn, cookie);
  later.sequence += 5;
  Arrive(b, MakeSegment(Address(1), later, "world"));
  EXPECT_TRUE(b.hardware.outgoing.empty());
  Expect(AckOf(syn, cookie), cookie);
}

TEST_F(TwoNumbers, GivenAnAckOfNeitherThenReset) {
  Prepare();
  tcp::Header ack = AckOf(syn, cookie);
  ack.acknowledgement += 1000000;
  EXPECT_TRUE(AnswerTo(ack).Has(tcp::kRst));
}

// ---------------------------------------------------------------- answers

struct Repeated : ListenPressure {
  /// How often a SYN is answered that comes a thousand times in half a second.
  size_t AnswersToMany(const tcp::Header& syn) {
    size_t answers = 0;
    for (int i = 0; i < 1000; ++i) {
      Arrive(b, MakeSegment(Spoofed(7), syn));
      b.Advance(kMs / 2);
      answers += b.hardware.outgoing.size();
      b.hardware.outgoing.clear();
    }
    return answers;
  }
};

TEST_F(Repeated, GivenAQueuePairWhenASynComesAThousandTimesThenItIsAnsweredAFewTimes) {
  Listen(8);
  EXPECT_LE(AnswersToMany(MakeSyn(7)), 2u);
  EXPECT_GT(b.Dropped(abi::DropReason::kTcpUnacceptable), 900u);
}

TEST_F(Repeated, GivenCookiesWhenASynComesAThousandTimesThenItIsAnsweredAFewTimes) {
  Listen(8);
  Strangers(100);
  EXPECT_LE(AnswersToMany(MakeSyn(7)), 2u);
  EXPECT_GT(b.Dropped(abi::DropReason::kSynRepeated), 900u);
}

TEST_F(Repeated, GivenTheAnswerIsLostWhenTheSynComesASecondLaterThenItIsAnsweredAtOnce) {
  for (const bool cookies : {false, true}) {
    if (!cookies) Listen(8);
    if (cookies) Strangers(100);
    const tcp::Header syn = MakeSyn(cookies ? 8 : 7);
    for (int i = 0; i < 2; ++i) {
      b.hardware.outgoing.clear();
      Arrive(b, MakeSegment(Spoofed(7), syn));
      EXPECT_EQ(b.hardware.outgoing.size(), 1u) << cookies << i;
      if (i == 0) b.Advance(900 * kMs);
    }
  }
}

TEST_F(Repeated, GivenAnotherIncarnationWhenItsSynComesAtOnceThenItIsAnswered) {
  Listen(8);
  Strangers(100);
  tcp::Header syn = MakeSyn(7);
  for (int i = 0; i < 2; ++i) {
    b.hardware.outgoing.clear();
    Arrive(b, MakeSegment(Spoofed(7), syn));
    EXPECT_EQ(b.hardware.outgoing.size(), 1u);
    syn.sequence += 250000;
  }
}

}  // namespace
}  // namespace qpip::fw::test
