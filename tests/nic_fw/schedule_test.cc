// Whose turn it is to send.
#include "packets.h"
#include "protocols/ipv6/header.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

/// UDP queue pairs of one NIC. The wire keeps what they send.
struct ScheduleTest : ::testing::Test {
  static constexpr uint32_t kQueuePairs = 16;
  static constexpr uint32_t kBytes = 1000;  // of a long datagram
  static constexpr uint16_t kFirstPort = 1000;

  FirmwareBench a{1};
  std::unique_ptr<TestCq> cq = a.CreateCq();
  std::vector<std::unique_ptr<TestQp>> qps;
  HostMemory source{a.hardware, kBytes};
  uint32_t key = a.Register(source, 0);

  void SetUp() override {
    for (uint32_t i = 0; i < kQueuePairs; ++i) {
      qps.push_back(a.CreateQp(*cq, {.type = abi::QpType::kUdp}));
      ASSERT_EQ(a.Bind(*qps[i], static_cast<uint16_t>(kFirstPort + i)).status, 0);
    }
  }
  void PostLong(uint32_t qp, uint32_t datagrams) {
    for (uint32_t i = 0; i < datagrams; ++i) {
      a.PostSend(*qps[qp], {SgeOf(source, key, 0, kBytes)}, i == datagrams - 1, 2, 2000);
    }
  }
  void PostShort(uint32_t qp) { a.PostInline(*qps[qp], "x", 2, 2000); }
  /// The queue pair whose datagram leaves next.
  uint32_t Next() {
    for (int step = 0; a.hardware.outgoing.empty(); ++step) {
      if (step == 1000) {
        ADD_FAILURE() << "nothing leaves";
        return kQueuePairs;
      }
      qpip_fw_step(a.arena.data(), &a.hardware.platform(), a.now, 1);
    }
    const Frame frame = a.hardware.outgoing.front();
    a.hardware.outgoing.erase(a.hardware.outgoing.begin());
    return LoadBe16(&frame[ipv6::kHeaderBytes]) - kFirstPort;
  }
};

TEST_F(ScheduleTest, GivenOthersWithBulkWhenOneHasAShortDatagramThenItIsNext) {
  for (uint32_t qp = 1; qp < kQueuePairs; ++qp) PostLong(qp, 32);
  for (uint32_t i = 0; i < 3 * kQueuePairs; ++i) EXPECT_NE(Next(), 0u);
  // What was fetched already leaves before it. With turns for all alike, kQueuePairs would.
  uint32_t before = 0;
  constexpr uint32_t kRounds = 10;
  for (uint32_t round = 0; round < kRounds; ++round) {
    PostShort(0);
    while (Next() != 0) ASSERT_LT(++before, kRounds * kQueuePairs);
  }
  EXPECT_LE(before, kRounds * kQueuePairs / 4);
}

TEST_F(ScheduleTest, GivenSomeWhoAlwaysHaveOneMoreWhenAnotherHasBulkThenItHasItsTurns) {
  PostLong(0, 32);
  for (uint32_t qp = 1; qp < kQueuePairs; ++qp) PostShort(qp);
  uint32_t longs = 0;
  for (uint32_t i = 0; i < 200; ++i) {
    const uint32_t qp = Next();
    if (qp == 0) {
      ++longs;
    } else {
      PostShort(qp);  // it had nothing to send in between
    }
    a.Poll(*cq);
  }
  EXPECT_GE(longs, 200u / 10);
}

TEST_F(ScheduleTest, GivenBulkOfSeveralThenTheyTakeTurns) {
  for (uint32_t qp = 0; qp < 4; ++qp) PostLong(qp, 32);
  std::vector<uint32_t> sent(4);
  for (uint32_t i = 0; i < 64; ++i) ++sent[Next()];
  for (const uint32_t datagrams : sent) EXPECT_NEAR(datagrams, 16, 4);
}

}  // namespace
}  // namespace qpip::fw::test
