// Ghost acknowledgements: of bytes that were never sent, behind SND.UNA. A window of megabytes
// makes them most of what RFC 5961 section 5.2 lets in.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kWindow = 8 << 20;

/// 200 bytes were sent and acknowledged, and the peer's window is of 8 MiB.
struct GhostAck : ::testing::TestWithParam<SequencePlan> {
  Connection c{PlainOptions(), GetParam()};
  SequenceNumber first;  ///< what acknowledges our SYN

  void SetUp() override {
    c.Establish();
    first = c.tcb.snd.iss + 1;
    c.tcb.snd.wnd = c.tcb.snd.max_wnd = kWindow;  // scaled
    Send200();
  }
  void Send200() {
    c.Send(200);
    c.Arrive(c.Template());
    c.Drain();
    ASSERT_EQ(c.tcb.snd.una, c.tcb.snd.max);
  }
  Segment TextWithAck(SequenceNumber acknowledgement) {
    Segment segment = c.WithText(100);
    segment.header.acknowledgement = acknowledgement;
    return segment;
  }
  void ExpectRefused(SequenceNumber acknowledgement) {
    const Arrival arrival = c.Arrive(TextWithAck(acknowledgement));
    EXPECT_EQ(arrival.refusal, Refusal::kBadAck);
    EXPECT_EQ(arrival.text_length, 0u);
    EXPECT_TRUE(IsOne(c.Drain(), kAck)) << "a challenge";
  }
};

TEST_P(GhostAck, GivenLittleWasSentWhenTextAcknowledgesWhatWasNeverThenChallengedAndDropped) {
  ASSERT_EQ(first.DistanceTo(c.tcb.snd.una), 200u);
  ExpectRefused(c.tcb.snd.una - 70000);
  ExpectRefused(c.tcb.snd.una - kWindow);
  ExpectRefused(first - 2);  // before our SYN
}

TEST_P(GhostAck, GivenAnOvertakenSegmentWhenItAcknowledgesOurSynAloneThenItsTextIsTaken) {
  EXPECT_EQ(c.Arrive(TextWithAck(first)).text_length, 100u);
}

TEST_P(GhostAck, GivenMuchWasSentWhenTheFirstNumberComparesWithNothingThenTheWindowAloneCounts) {
  const uint32_t sent = 0x80000000u - 300;
  c.tcb.snd.una += sent;
  c.tcb.snd.nxt += sent;
  c.tcb.snd.max += sent;
  c.tcb.snd.end += sent;
  EXPECT_FALSE(c.tcb.snd.iss_is_far);
  Send200();
  EXPECT_TRUE(c.tcb.snd.iss_is_far);
  for (uint32_t gib = 0; gib < 5; ++gib) {  // through all of the sequence space
    ExpectRefused(c.tcb.snd.una - kWindow - 1);
    EXPECT_EQ(c.Arrive(TextWithAck(c.tcb.snd.una - kWindow)).text_length, 100u);
    c.Drain();
    c.tcb.snd.una += 1u << 30;
    c.tcb.snd.nxt += 1u << 30;
    c.tcb.snd.max += 1u << 30;
    c.tcb.snd.end += 1u << 30;
    Send200();
    c.Advance(2000 * kMs);  // challenges are limited
  }
}

INSTANTIATE_TEST_SUITE_P(Sequences, GhostAck, ::testing::ValuesIn(kSequencePlans),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace qpip::tcp::testing
