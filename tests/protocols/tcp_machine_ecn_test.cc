// Explicit congestion notification (RFC 3168): negotiation, echo, reaction, which packets are ECT.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kMss = 1000;

Options EcnOptions(EcnMode mode) {
  Options options = PlainOptions();
  options.ecn = mode;
  return options;
}

/// Flags of our SYN, then whether ECN is on after a SYN-ACK with `answer`.
struct ActiveCase {
  EcnMode mode;
  uint8_t our_syn;
  uint8_t answer;
  bool on;
};

TEST(EcnNegotiation, GivenActiveOpenThenOnWhenWeAskedAndThePeerAgreed) {
  for (const ActiveCase& row :
       {ActiveCase{EcnMode::kOff, kSyn, kEce, false},
        ActiveCase{EcnMode::kAccept, kSyn, kEce, false},
        ActiveCase{EcnMode::kRequest, kSyn | kEce | kCwr, kEce, true},
        ActiveCase{EcnMode::kRequest, kSyn | kEce | kCwr, 0, false},
        // 6.1.1: a peer that reflects the bits does not know them
        ActiveCase{EcnMode::kRequest, kSyn | kEce | kCwr, kEce | kCwr, false}}) {
    Connection c(EcnOptions(row.mode));
    c.OpenActively();
    EXPECT_EQ(c.Drain().at(0).header.flags, row.our_syn);
    Segment syn_ack = c.PeerSyn();
    syn_ack.header.flags = static_cast<uint8_t>(kSyn | kAck | row.answer);
    syn_ack.header.acknowledgement = c.iss() + 1;
    c.Arrive(syn_ack);
    EXPECT_EQ(c.tcb.ecn.on, row.on);
  }
}

struct PassiveCase {
  EcnMode mode;
  uint8_t peer_syn;
  bool on;
};

TEST(EcnNegotiation, GivenPassiveOpenThenOnWhenAskedAndAllowed) {
  for (const PassiveCase& row :
       {PassiveCase{EcnMode::kOff, kEce | kCwr, false},
        PassiveCase{EcnMode::kAccept, kEce | kCwr, true},
        PassiveCase{EcnMode::kRequest, kEce | kCwr, true},
        PassiveCase{EcnMode::kAccept, kEce, false}, PassiveCase{EcnMode::kAccept, 0, false}}) {
    Options options = EcnOptions(row.mode);
    Connection c(options);
    Segment syn = c.PeerSyn();
    syn.header.flags = static_cast<uint8_t>(kSyn | row.peer_syn);
    OpenPassive(c.tcb, options, c.iss(), syn, c.now);
    SetReceiveWindow(c.tcb, 10000, c.now);
    const Header answer = c.Drain().at(0).header;
    EXPECT_EQ(answer.flags, row.on ? kSyn | kAck | kEce : kSyn | kAck);
    EXPECT_EQ(c.tcb.ecn.on, row.on);
  }
}

TEST(EcnNegotiation, GivenSynLostThenTheNextDoesNotAsk) {
  Connection c(EcnOptions(EcnMode::kRequest));
  c.OpenActively();
  c.Drain();
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_EQ(c.Drain().at(0).header.flags, kSyn);
}

class Ecn : public ::testing::Test {
 protected:
  void SetUp() override {
    c.peer_window = 60000;
    c.OpenActively();
    c.Drain();
    Segment syn_ack = c.PeerSyn();
    syn_ack.header.flags = kSyn | kAck | kEce;
    syn_ack.header.acknowledgement = c.iss() + 1;
    c.Arrive(syn_ack);
    c.Drain();
    ASSERT_TRUE(c.tcb.ecn.on);
  }
  Segment Marked(Segment segment) const {
    segment.ecn = EcnCodepoint::kCongestionExperienced;
    return segment;
  }
  Segment Echo(Segment segment) const {
    segment.header.flags |= kEce;
    return segment;
  }
  Header Acknowledgement() {
    std::vector<SentSegment> sent = c.Drain();
    if (sent.empty()) {
      c.AdvanceTo(c.tcb.owed.ack_deadline);
      sent = c.Drain();
    }
    EXPECT_EQ(sent.size(), 1u);
    return sent.at(0).header;
  }

  Connection c{EcnOptions(EcnMode::kRequest)};
};

TEST_F(Ecn, GivenAMarkThenEveryAcknowledgementEchoesUntilThePeerHasCutItsWindow) {
  c.ArriveAndPlace(c.WithText(100));
  EXPECT_FALSE(Acknowledgement().Has(kEce));
  c.ArriveAndPlace(Marked(c.WithText(100)));
  EXPECT_TRUE(Acknowledgement().Has(kEce));
  c.ArriveAndPlace(c.WithText(100));
  EXPECT_TRUE(Acknowledgement().Has(kEce));
  Segment cut = c.WithText(100);
  cut.header.flags |= kCwr;
  c.ArriveAndPlace(cut);
  EXPECT_FALSE(Acknowledgement().Has(kEce));
  cut = Marked(c.WithText(100));  // 6.1.3: a mark on the very segment counts
  cut.header.flags |= kCwr;
  c.ArriveAndPlace(cut);
  EXPECT_TRUE(Acknowledgement().Has(kEce));
}

TEST_F(Ecn, GivenNewTextThenEctAndNothingElseIs) {
  const std::vector<SentSegment> sent = c.Send(2 * kMss);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_TRUE(sent[0].intent.ecn_capable);
  EXPECT_TRUE(sent[1].intent.ecn_capable);
  Segment text = c.WithText(100);
  text.header.acknowledgement = c.tcb.snd.una;
  c.ArriveAndPlace(text);
  c.AdvanceTo(c.tcb.owed.ack_deadline);
  const std::vector<SentSegment> ack = c.Drain();  // 6.1.4: a pure ACK
  ASSERT_EQ(ack.size(), 1u);
  EXPECT_FALSE(ack[0].intent.ecn_capable);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  const std::vector<SentSegment> again = c.Drain();  // 6.1.5: a retransmission
  ASSERT_FALSE(again.empty());
  EXPECT_TRUE(again[0].intent.retransmission);
  EXPECT_FALSE(again[0].intent.ecn_capable);
}

TEST_F(Ecn, GivenWindowProbeThenNotEct) {
  c.peer_window = 0;
  c.Arrive(c.Template());
  c.Send(kMss);
  c.AdvanceTo(c.tcb.persist_deadline);
  const std::vector<SentSegment> probe = c.Drain();  // 6.1.6
  ASSERT_EQ(probe.size(), 1u);
  ASSERT_TRUE(probe[0].intent.window_probe);
  EXPECT_FALSE(probe[0].intent.ecn_capable);
}

TEST_F(Ecn, GivenEchoThenTheWindowIsCutOnceAWindowAndThePeerIsTold) {
  c.Send(100 * kMss);
  const uint32_t flight = c.tcb.snd.una.DistanceTo(c.tcb.snd.max);
  ASSERT_EQ(flight, 10 * kMss);
  c.Arrive(Echo(c.WithAck(c.tcb.snd.una + kMss)));
  EXPECT_EQ(c.tcb.ssthresh, (flight - kMss) / 2 + kMss / 2 - kMss / 2);
  EXPECT_EQ(c.tcb.cwnd, c.tcb.ssthresh);
  EXPECT_FALSE(c.tcb.in_recovery);
  const uint32_t cut = c.tcb.cwnd;
  const SequenceNumber marked_up_to = c.tcb.snd.max;
  bool told = false;
  while (c.tcb.snd.una.Before(marked_up_to)) {
    c.Arrive(Echo(c.WithAck(c.tcb.snd.una + kMss)));
    for (const SentSegment& sent : c.Drain()) {
      EXPECT_EQ(sent.header.Has(kCwr), !told) << "on the first new text";
      told = true;
    }
    EXPECT_GE(c.tcb.cwnd, cut);
  }
  EXPECT_TRUE(told);
  // The echo goes on although CWR is under way: it is about another window now.
  c.Arrive(Echo(c.WithAck(c.tcb.snd.una + kMss)));
  EXPECT_LT(c.tcb.cwnd, cut);
}

TEST_F(Ecn, GivenEchoDuringRecoveryThenNoSecondCut) {
  c.Send(100 * kMss);
  for (int i = 0; i < 3; ++i) c.Arrive(c.WithAck(c.tcb.snd.una));
  ASSERT_TRUE(c.tcb.in_recovery);
  const uint32_t threshold = c.tcb.ssthresh;
  c.Drain();
  c.Arrive(Echo(c.WithAck(c.tcb.snd.una + kMss)));
  EXPECT_EQ(c.tcb.ssthresh, threshold);
}

TEST(EcnOff, GivenMarksAndEchoesThenNothingHappens) {
  Connection c(EcnOptions(EcnMode::kOff));
  c.Establish();
  Segment text = c.WithText(100);
  text.ecn = EcnCodepoint::kCongestionExperienced;
  c.ArriveAndPlace(text);
  c.AdvanceTo(c.tcb.owed.ack_deadline);
  EXPECT_FALSE(c.Drain().at(0).header.Has(kEce));
  const std::vector<SentSegment> sent = c.Send(5 * kMss);
  EXPECT_FALSE(sent.at(0).intent.ecn_capable);
  const uint32_t window = c.tcb.cwnd;
  Segment ack = c.Template();
  ack.header.flags |= kEce;
  c.Arrive(ack);
  EXPECT_GE(c.tcb.cwnd, window);
}

}  // namespace
}  // namespace qpip::tcp::testing
