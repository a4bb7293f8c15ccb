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

TEST_F(InvariantsDeathTest, GivenBrokenListLink_WhenQueuePairIsServed_ThenCaught) {
  Inside().links.batch = {7, kNone};
  EXPECT_DEATH(Send(), "assertion failed");
}

TEST_F(InvariantsDeathTest, GivenCompletedBeyondPosted_WhenQueuePairIsServed_ThenCaught) {
  Inside().send.completed = Inside().send.producer + 1;
  EXPECT_DEATH(Send(), "assertion failed: .*producer - .*completed");
}

TEST_F(InvariantsDeathTest, GivenPoolFullerThanItIs_WhenQueuePairIsServed_ThenCaught) {
  Inside().pool.used = Inside().pool.bytes + 1;
  EXPECT_DEATH(Send(), "assertion failed: pool.used <= pool.bytes");
}

TEST_F(InvariantsDeathTest, GivenPlacementsThatAreNot_WhenQueuePairIsServed_ThenCaught) {
  Inside().placement.stripped = 4;
  EXPECT_DEATH(Send(), "assertion failed: stripped == placement.stripped");
}

TEST_F(InvariantsDeathTest, GivenMessageWithoutItsSequenceNumbers_WhenServed_ThenCaught) {
  Send();
  Inside().tcb.snd.end = Inside().tcb.snd.end + 1;
  EXPECT_DEATH(Send(), "assertion failed: last.start \\+ last.length == q.tcb.snd.end");
}

}  // namespace
}  // namespace qpip::fw::test
#endif
