// qpip_fw_transmit: what was posted leaves, and nothing else is done.
#include <gtest/gtest.h>

#include "firmware_bench.h"
#include "nic_fw/firmware.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

constexpr uint32_t kBudget = 64;

class TransmitEntry : public ::testing::Test {
 protected:
  TransmitEntry()
      : source_(pair_.a.hardware, 1000),
        sink_(pair_.b.hardware, 1000),
        key_(pair_.a.Register(source_, 0)),
        sink_key_(pair_.b.Register(sink_)) {
    for (int i = 0; i < 8; ++i) pair_.b.PostRecv(*pair_.qp_b, {SgeOf(sink_, sink_key_, 0, 1000)});
    pair_.b.Run();
    pair_.cable.Run();
    pair_.a.hardware.outgoing.clear();
  }
  void Post(uint32_t bytes) { pair_.a.PostSend(*pair_.qp_a, {SgeOf(source_, key_, 0, bytes)}); }
  uint32_t Transmit(uint32_t budget = kBudget) {
    FirmwareBench& a = pair_.a;
    return qpip_fw_transmit(a.arena.data(), &a.hardware.platform(), a.now, budget);
  }
  size_t sent() const { return pair_.a.hardware.outgoing.size(); }

  ConnectedPair pair_;
  HostMemory source_, sink_;
  uint32_t key_, sink_key_;
};

TEST_F(TransmitEntry, GivenPostedSendsWhenTransmittedThenAllHaveLeft) {
  for (int i = 0; i < 3; ++i) Post(100);
  EXPECT_LT(Transmit(), kBudget);
  EXPECT_EQ(sent(), 3u);
  pair_.cable.Run();
  EXPECT_EQ(Transmit(), 0u);
}

TEST_F(TransmitEntry, GivenNothingPostedWhenTransmittedThenNothingIsDone) {
  EXPECT_EQ(Transmit(), 0u);
  EXPECT_EQ(sent(), 0u);
}

TEST_F(TransmitEntry, GivenAFrameThatWaitsWhenTransmittedThenItWaitsOn) {
  pair_.a.hardware.incoming.push_back(Frame(60));
  Post(100);
  Transmit();
  EXPECT_EQ(sent(), 1u);
  EXPECT_EQ(pair_.a.hardware.incoming.size(), 1u);
}

TEST_F(TransmitEntry, GivenManyDoorbellsBeforeItsOwnWhenTransmittedThenTheSendHasLeftAllTheSame) {
  for (int i = 0; i < 40; ++i) pair_.a.RingRecv(*pair_.qp_a);
  Post(100);
  Transmit();
  ASSERT_EQ(sent(), 1u);
  EXPECT_GT(pair_.a.hardware.outgoing.front().size(), 100u);
}

TEST_F(TransmitEntry, GivenItsDoorbellFoundNoRoomBesideOthersWhenTransmittedThenTheSendHasLeft) {
  pair_.a.hardware.doorbell_capacity = 3;
  for (int i = 0; i < 3; ++i) pair_.a.RingRecv(*pair_.qp_a);
  Post(100);
  ASSERT_TRUE(pair_.a.hardware.doorbell_overflow);
  Transmit();
  EXPECT_EQ(sent(), 1u);
}

TEST_F(TransmitEntry, GivenMoreThanTheBudgetWhenTransmittedThenTheRestFollowsWithTheNext) {
  for (int i = 0; i < 8; ++i) Post(100);
  uint32_t calls = 0;
  while (Transmit(4) == 4) ++calls;
  EXPECT_GT(calls, 1u);
  EXPECT_EQ(sent(), 8u);
}

TEST_F(TransmitEntry, GivenTransfersThatTakeNoTimeWhenAnyBudgetEndsThenAStepGoesOnWhereItEnded) {
  pair_.a.hardware.DmaTakesNoTime();
  for (uint32_t budget = 1; budget <= 20; ++budget) {
    pair_.a.hardware.outgoing.clear();
    for (int i = 0; i < 8; ++i) Post(100);
    Transmit(budget);
    EXPECT_EQ(pair_.a.hardware.dma_pending(), 0u) << budget;
    FirmwareBench& a = pair_.a;
    while (qpip_fw_step(a.arena.data(), &a.hardware.platform(), a.now, 1) != 0) {
    }
    EXPECT_EQ(sent(), 8u) << budget;
    pair_.cable.Run();
    const size_t arrived = pair_.b.Poll(*pair_.cq_b).size();
    EXPECT_EQ(arrived, 8u) << budget;
    for (size_t i = 0; i < arrived; ++i) {
      pair_.b.PostRecv(*pair_.qp_b, {SgeOf(sink_, sink_key_, 0, 1000)});
    }
    pair_.cable.Run();
    pair_.a.Poll(*pair_.cq_a);
  }
}

}  // namespace
}  // namespace qpip::fw::test
