// When an acknowledgement goes: delayed, every n-th segment, at the end of a batch, at once.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

TEST(DelayedAck, GivenOneSegmentThenAcknowledgedAtTheDeadline) {
  Connection c;
  c.Establish();
  c.ArriveAndPlace(c.WithText(100));
  EXPECT_TRUE(c.Drain().empty());
  EXPECT_EQ(NextDeadline(c.tcb), c.now + 40 * kMs);
  c.Advance(40 * kMs - 1);
  EXPECT_TRUE(c.Drain().empty());
  c.Advance(1);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
  EXPECT_EQ(NextDeadline(c.tcb), kNever);
}

TEST(DelayedAck, GivenEverySecondSegmentThenAcknowledgedAtOnce) {
  Connection c;
  c.Establish();
  for (int i = 0; i < 3; ++i) {
    c.ArriveAndPlace(c.WithText(100));
    EXPECT_TRUE(c.Drain().empty());
    c.ArriveAndPlace(c.WithText(100));
    const std::vector<SentSegment> sent = c.Drain();
    ASSERT_TRUE(IsOne(sent, kAck));
    EXPECT_EQ(sent[0].header.acknowledgement, c.tcb.rcv.nxt);
  }
}

TEST(DelayedAck, GivenAckEveryIsAnOptionThenItIsFollowed) {
  Options options = PlainOptions();
  options.ack_every = 4;
  Connection c(options);
  c.Establish();
  for (int i = 0; i < 3; ++i) c.ArriveAndPlace(c.WithText(100));
  EXPECT_TRUE(c.Drain().empty());
  c.ArriveAndPlace(c.WithText(100));
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

TEST(DelayedAck, GivenDataToSendThenAcknowledgementRidesOnIt) {
  Connection c;
  c.Establish();
  c.ArriveAndPlace(c.WithText(100));
  const std::vector<SentSegment> sent = c.Send(10);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].length, 10u);
  EXPECT_EQ(sent[0].header.acknowledgement, c.tcb.rcv.nxt);
  EXPECT_EQ(c.tcb.owed.ack_deadline, kNever);
}

TEST(DelayedAck, GivenTextNotPlacedThenNothingIsAcknowledged) {
  Connection c;
  c.Establish();
  c.Arrive(c.WithText(100));
  c.Arrive(c.WithText(100));
  c.Arrive(c.WithText(100));
  OnBatchEnd(c.tcb);
  EXPECT_TRUE(c.Drain().empty());
  // What must go for another reason covers only what is placed.
  OnPlaced(c.tcb, 100, c.now);
  const std::vector<SentSegment> sent = c.Send(10);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.acknowledgement, c.irs() + 101);
  OnPlaced(c.tcb, 100, c.now);
  OnPlaced(c.tcb, 100, c.now);
  const std::vector<SentSegment> ack = c.Drain();
  ASSERT_TRUE(IsOne(ack, kAck));
  EXPECT_EQ(ack[0].header.acknowledgement, c.irs() + 301);
}

TEST(DelayedAck, GivenBatchEndThenLoneMessageIsAcknowledgedAtOnce) {
  Options options = PlainOptions();
  options.ack_on_batch_end = true;
  {
    Connection c(options);
    c.Establish();
    c.ArriveAndPlace(c.WithText(100));
    EXPECT_TRUE(c.Drain().empty());
    OnBatchEnd(c.tcb);
    EXPECT_TRUE(IsOne(c.Drain(), kAck));
    OnBatchEnd(c.tcb);  // nothing new
    EXPECT_TRUE(c.Drain().empty());
  }
  {
    // The batch ends before placement does.
    Connection c(options);
    c.Establish();
    c.Arrive(c.WithText(100));
    OnBatchEnd(c.tcb);
    EXPECT_TRUE(c.Drain().empty());
    OnPlaced(c.tcb, 100, c.now);
    EXPECT_TRUE(IsOne(c.Drain(), kAck));
  }
}

TEST(DelayedAck, GivenThreeSegmentsOutOfOrderThenThreeDuplicateAcksOfTheSameWindow) {
  Connection c;
  c.Establish();
  c.ArriveAndPlace(c.WithText(100));
  c.Advance(40 * kMs);
  const std::vector<SentSegment> normal = c.Drain();
  ASSERT_EQ(normal.size(), 1u);
  for (uint32_t i = 1; i <= 3; ++i) {
    Segment late = c.WithText(100);
    late.header.sequence = c.tcb.rcv.nxt + i * 100;
    EXPECT_TRUE(c.Arrive(late).held);
    SetReceiveWindow(c.tcb, 20000, c.now);  // must not turn a duplicate into a window update
  }
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_GE(sent.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sent[i].header.acknowledgement, normal[0].header.acknowledgement);
    EXPECT_EQ(sent[i].header.window, normal[0].header.window);
  }
  ASSERT_EQ(sent.size(), 4u);  // then the update
  EXPECT_GT(sent[3].header.window, normal[0].header.window);
}

TEST(DelayedAck, GivenGapThenEachSegmentThatFillsItIsAcknowledgedAtOnce) {
  Connection c;
  c.Establish();
  Segment late = c.WithText(100);
  late.header.sequence = c.tcb.rcv.nxt + 200;
  c.Arrive(late);
  c.Drain();
  for (int i = 0; i < 2; ++i) {  // and the third is there already
    c.ArriveAndPlace(c.WithText(100));
    EXPECT_TRUE(IsOne(c.Drain(), kAck)) << i;
  }
  c.ArriveAndPlace(c.WithText(100));
  EXPECT_TRUE(c.Drain().empty());  // filled: delayed again
}

TEST(DelayedAck, GivenWindowNearlyUsedUpThenAcknowledgedAtOnce) {
  Connection c;
  c.Establish(2500);
  c.ArriveAndPlace(c.WithText(600));  // 1900 left: less than two segments
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

}  // namespace
}  // namespace qpip::tcp::testing
