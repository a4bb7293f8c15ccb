// VCONN's machine: what costs a credit, what gives it back, and what cuts a peer off.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "protocols/vconn/machine.h"

namespace qpip::vconn {
namespace {

using ByteVector = std::vector<uint8_t>;

ByteVector HelloOf(Machine& machine) {
  ByteVector out(kHelloBytes);
  machine.Hello(std::span(out).first<kHelloBytes>());
  return out;
}

ByteVector Whole(const Header& header) {
  ByteVector out(MessageBytes(header));
  EmitHeader(header, std::span(out).first<kHeaderBytes>());
  return out;
}

Header Any(Kind kind = Kind::kMessage, uint16_t credits = 0) {
  Header header;
  header.kind = kind;
  header.credits = credits;
  return header;
}

/// Two machines that have said hello to each other.
struct Pair {
  Pair(const Limits& one, const Limits& other) : a(one), b(other) {
    const ByteVector from_a = HelloOf(a);
    const ByteVector from_b = HelloOf(b);
    EXPECT_TRUE(b.Receive(from_a).opened);
    EXPECT_TRUE(a.Receive(from_b).opened);
  }
  explicit Pair(uint16_t window) : Pair({.window = window}, {.window = window}) {}

  /// One message from a to b.
  Arrival Pass() { return b.Receive(Whole(a.Send(Any()))); }

  Machine a;
  Machine b;
};

TEST(VconnMachine, GivenTwoLimitsWhenHelloIsSaidThenTheSmallerWindowAndThePeersLengthHold) {
  Pair pair({.window = 7, .message_bytes = 100}, {.window = 300, .message_bytes = 5000});
  EXPECT_EQ(pair.a.window(), 7);
  EXPECT_EQ(pair.b.window(), 7);
  EXPECT_EQ(pair.a.credits(), 6);
  EXPECT_EQ(pair.b.credits(), 6);
  EXPECT_EQ(pair.a.peer_message_bytes(), 5000u);
  EXPECT_EQ(pair.b.peer_message_bytes(), 100u);
  EXPECT_EQ(pair.b.MaySend(80, 0), Sendable::kYes);
  EXPECT_EQ(pair.b.MaySend(40, 41), Sendable::kTooLong);
  EXPECT_EQ(pair.b.MaySend(~uint64_t{0}, 2), Sendable::kTooLong);
  EXPECT_EQ(pair.b.MaySend(2, ~uint64_t{0}), Sendable::kTooLong);
}

TEST(VconnMachine, GivenOneHelloWhenTheOtherIsMissingThenNothingMayBeSent) {
  Machine a({});
  Machine b({});
  EXPECT_EQ(a.MaySend(0, 0), Sendable::kNotOpen);
  const ByteVector hello = HelloOf(a);
  EXPECT_EQ(a.MaySend(0, 0), Sendable::kNotOpen);
  EXPECT_TRUE(b.Receive(hello).opened);
  EXPECT_EQ(b.MaySend(0, 0), Sendable::kNotOpen);
  EXPECT_EQ(b.state(), State::kOpening);
  HelloOf(b);
  EXPECT_EQ(b.MaySend(0, 0), Sendable::kYes);
}

TEST(VconnMachine, GivenAWindowWhenMessagesGoThenOneLessThanItGoes) {
  for (const uint16_t window : {2, 3, 32, 1024}) {
    Pair pair(window);
    uint16_t sent = 0;
    while (pair.a.MaySend(0, 0) == Sendable::kYes) {
      EXPECT_TRUE(pair.Pass().deliver);
      ++sent;
    }
    EXPECT_EQ(sent, window - 1);
    EXPECT_EQ(pair.a.MaySend(0, 0), Sendable::kNoCredit);
    EXPECT_EQ(pair.b.held(), window - 1);
  }
}

TEST(VconnMachine, GivenReturnedBuffersWhenAMessageGoesBackThenItCarriesTheirCredits) {
  Pair pair(8);
  for (int i = 0; i < 3; ++i) pair.Pass();
  pair.b.Return();
  pair.b.Return();
  const Header back = pair.b.Send(Any());
  EXPECT_EQ(back.credits, 2);
  EXPECT_EQ(pair.b.owed(), 0);
  EXPECT_EQ(pair.a.credits(), 4);
  EXPECT_EQ(pair.a.Receive(Whole(back)).credits, 2);
  EXPECT_EQ(pair.a.credits(), 6);
}

TEST(VconnMachine, GivenHalfAWindowReturnedWhenNothingGoesBackThenCreditsGoAlone) {
  for (const uint16_t window : {2, 3, 8, 9, 1024}) {
    Pair pair(window);
    const uint16_t half = CreditsThatGoAlone(window);
    for (uint16_t i = 0; i < half; ++i) {
      pair.Pass();
      EXPECT_FALSE(pair.b.CreditDue());
      pair.b.Return();
    }
    ASSERT_TRUE(pair.b.CreditDue()) << window;
    const Header alone = pair.b.SendCredits();
    EXPECT_EQ(alone.kind, Kind::kCredit);
    EXPECT_EQ(alone.credits, half);
    EXPECT_FALSE(pair.b.CreditDue());
    const uint16_t credits = pair.b.credits();
    EXPECT_FALSE(pair.a.Receive(Whole(alone)).deliver);
    EXPECT_EQ(pair.a.credits(), window - 1);
    EXPECT_EQ(pair.b.credits(), credits) << "credits alone cost one";
  }
}

// --- Peers that break the protocol

TEST(VconnMachine, GivenAPeerWithoutCreditsWhenItSendsOneMoreThenItIsCutOff) {
  for (const uint16_t window : {2, 3, 32, 1024}) {
    Pair pair(window);
    while (pair.a.MaySend(0, 0) == Sendable::kYes) pair.Pass();
    const Arrival over = pair.b.Receive(Whole(Any()));
    EXPECT_EQ(over.refusal, Refusal::kOverrun);
    EXPECT_FALSE(over.deliver);
    EXPECT_EQ(pair.b.state(), State::kCut);
    EXPECT_EQ(pair.b.MaySend(0, 0), Sendable::kNotOpen);
    // Nor does it help to be good afterwards.
    EXPECT_EQ(pair.b.Receive(Whole(Any())).refusal, Refusal::kOverrun);
  }
}

TEST(VconnMachine, GivenBuffersGivenBackWhenThePeerDoesNotKnowThenTheyAreNoCredits) {
  Pair pair(4);
  for (int i = 0; i < 3; ++i) pair.Pass();
  pair.b.Return();
  EXPECT_EQ(pair.b.Receive(Whole(Any())).refusal, Refusal::kOverrun);
}

TEST(VconnMachine, GivenMoreCreditsThanWereUsedWhenTheyComeThenThePeerIsCutOff) {
  Pair pair(8);
  pair.Pass();
  EXPECT_EQ(pair.a.Receive(Whole(Any(Kind::kMessage, 2))).refusal, Refusal::kTooManyCredits);
}

TEST(VconnMachine, GivenCreditsAloneBeforeHalfAWindowWhenTheyComeThenThePeerIsCutOff) {
  Pair pair(8);
  for (int i = 0; i < 7; ++i) pair.Pass();
  EXPECT_EQ(pair.a.Receive(Whole(Any(Kind::kCredit, 3))).refusal, Refusal::kEarlyCredit);
}

TEST(VconnMachine, GivenASecondHelloOrAMessageBeforeItWhenTheyComeThenThePeerIsCutOff) {
  Pair pair(8);
  Machine other({});
  EXPECT_EQ(pair.a.Receive(HelloOf(other)).refusal, Refusal::kSecondHello);
  Machine early({});
  EXPECT_EQ(early.Receive(Whole(Any())).refusal, Refusal::kNotHello);
  // Nobody has a window who has not heard this side's hello.
  Machine silent({});
  Machine peer({});
  EXPECT_TRUE(silent.Receive(HelloOf(peer)).opened);
  EXPECT_EQ(silent.Receive(Whole(Any())).refusal, Refusal::kOverrun);
}

TEST(VconnMachine, GivenAMessageLongerThanThisSideTakesWhenItComesThenThePeerIsCutOff) {
  Pair pair({.window = 4, .message_bytes = 64}, {.window = 4, .message_bytes = 64});
  Header header = Any();
  header.data_bytes = 44;
  EXPECT_EQ(pair.b.Receive(Whole(header)).refusal, Refusal::kNone);
  ++header.data_bytes;
  EXPECT_EQ(pair.b.Receive(Whole(header)).refusal, Refusal::kTooLong);
}

TEST(VconnMachine, GivenACutFromOutsideWhenTwoReasonsAreGivenThenTheFirstStays) {
  Pair pair(4);
  pair.a.Cut(Refusal::kUnknownCookie);
  pair.a.Cut(Refusal::kOverrun);
  EXPECT_EQ(pair.a.state(), State::kCut);
  EXPECT_EQ(pair.a.refusal(), Refusal::kUnknownCookie);
  EXPECT_EQ(pair.a.Receive(Whole(Any())).refusal, Refusal::kUnknownCookie);
}

}  // namespace
}  // namespace qpip::vconn
