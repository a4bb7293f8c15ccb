// A state that no host and no wire can bring about is caught where it is met first.
#include "nic_fw/invariants.h"

#include "firmware_bench.h"

#if QPIP_ASSERTIONS
namespace qpip::fw::test {
namespace {

class InvariantsDeathTest : public testing::Test {
 protected:
  QueuePair& Inside() {
    return const_cast<QueuePair&>(QueuePairOf(pair.a.arena.data(), pair.qp_a->handle));
  }
  void Send() {
    pair.a.PostInline(*pair.qp_a, "x");
    pair.a.Run();
  }

  ConnectedPair pair;
};

TEST_F(InvariantsDeathTest, GivenBrokenListLinkWhenQueuePairIsServedThenCaught) {
  Inside().links.batch = {7, kNone};
  EXPECT_DEATH(Send(), "assertion failed");
}

TEST_F(InvariantsDeathTest, GivenCompletedBeyondPostedWhenQueuePairIsServedThenCaught) {
  Inside().send.completed = Inside().send.producer + 1;
  EXPECT_DEATH(Send(), "assertion failed: .*producer - .*completed");
}

TEST_F(InvariantsDeathTest, GivenPoolFullerThanItIsWhenQueuePairIsServedThenCaught) {
  Inside().pool.used = Inside().pool.bytes + 1;
  EXPECT_DEATH(Send(), "assertion failed: pool.used <= pool.bytes");
}

TEST_F(InvariantsDeathTest, GivenPlacementsThatAreNotWhenQueuePairIsServedThenCaught) {
  Inside().placement.stripped = 4;
  EXPECT_DEATH(Send(), "assertion failed: stripped == placement.stripped");
}

TEST_F(InvariantsDeathTest, GivenMessageWithoutItsSequenceNumbersWhenServedThenCaught) {
  Send();
  Inside().tcb.snd.end = Inside().tcb.snd.end + 1;
  EXPECT_DEATH(Send(), "assertion failed: last.start \\+ last.length == q.tcb.snd.end");
}

}  // namespace
}  // namespace qpip::fw::test
#endif
