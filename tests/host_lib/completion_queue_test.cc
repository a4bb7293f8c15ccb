// Completion queues: what completions say, waiting, arming, the descriptor, capacity.
#include "nic_test.h"

#include <poll.h>

namespace qpip::test {
namespace {

class CompletionQueueTest : public NicTest {
 protected:
  static bool Readable(int fd) {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&entry, 1, 0) == 1;
  }
  std::array<WorkCompletion, 4> out;
};

// --- Content

TEST_F(CompletionQueueTest, GivenEachStatusWhenPolledThenItIsTranslatedWithItsWrId) {
  auto qp = Connected(16);
  const ibv_wc_status expected[] = {
      IBV_WC_SUCCESS,       IBV_WC_LOC_LEN_ERR,   IBV_WC_LOC_PROT_ERR, IBV_WC_LOC_QP_OP_ERR,
      IBV_WC_REM_ABORT_ERR, IBV_WC_RETRY_EXC_ERR, IBV_WC_WR_FLUSH_ERR, IBV_WC_RESP_TIMEOUT_ERR};
  for (uint32_t i = 0; i < 8; ++i) {
    ASSERT_EQ(qp->PostSend(100 + i, memory->Sge(0, 1)), 0);
    ASSERT_EQ(qp->PostRecv(200 + i, memory->Sge(0, 1)), 0);
    fake->CompleteSend(HandleOf(*qp), i, static_cast<abi::CompletionStatus>(i));
    fake->CompleteRecv(HandleOf(*qp), {}, static_cast<abi::CompletionStatus>(i));
  }
  const auto completions = PollAll();
  ASSERT_EQ(completions.size(), 16u);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(completions[2 * i].wr_id, 100 + i);
    EXPECT_EQ(completions[2 * i].status, expected[i]);
    EXPECT_EQ(completions[2 * i].opcode, IBV_WC_SEND);
    EXPECT_EQ(completions[2 * i + 1].wr_id, 200 + i);
    EXPECT_EQ(completions[2 * i + 1].status, expected[i]);
    EXPECT_EQ(completions[2 * i + 1].opcode, IBV_WC_RECV);
  }
}

TEST_F(CompletionQueueTest, GivenTcpReceiveWhenPolledThenLengthNumberAndBytesAreThere) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostRecv(1, memory->Sge(64, 100)), 0);
  fake->CompleteRecv(HandleOf(*qp), Bytes(60));
  ASSERT_EQ(cq->Poll(out), 1u);
  EXPECT_EQ(out[0].byte_len, 60u);
  EXPECT_EQ(out[0].qp_num, qp->qp_num());
  EXPECT_FALSE(out[0].end_of_stream);
  EXPECT_EQ(std::memcmp(static_cast<char*>(memory->data()) + 64, Bytes(60).data(), 60), 0);
}

TEST_F(CompletionQueueTest, GivenEndOfStreamWhenPolledThenItIsToldApart) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostRecv(1, memory->Sge(0, 100)), 0);
  fake->EndOfStream(HandleOf(*qp));
  ASSERT_EQ(cq->Poll(out), 1u);
  EXPECT_EQ(out[0].status, IBV_WC_SUCCESS);
  EXPECT_EQ(out[0].byte_len, 0u);
  EXPECT_TRUE(out[0].end_of_stream);
}

TEST_F(CompletionQueueTest, GivenDatagramWhenPolledThenSourceAndPortNumbersAreThere) {
  auto qp = Bound(7);
  ASSERT_EQ(qp->PostRecv(1, memory->Sge(0, 100)), 0);
  abi::Ip6Address from;
  from.bytes[0] = 0xfd;
  from.bytes[15] = 9;
  fake->CompleteDatagram(0, Bytes(3), from, 4242);
  ASSERT_EQ(cq->Poll(out), 1u);
  EXPECT_EQ(out[0].qp_num, 7u);
  EXPECT_EQ(out[0].src_qp, 4242u);
  EXPECT_EQ(out[0].peer, Endpoint::Parse("[fd00::9]:4242"));
}

TEST_F(CompletionQueueTest, GivenManyCompletionsWhenPolledInSmallBatchesThenOrderIsKept) {
  auto qp = Connected(16);
  for (uint64_t i = 0; i < 10; ++i) ASSERT_EQ(qp->PostSend(i, memory->Sge(0, 1)), 0);
  for (uint32_t i = 0; i < 10; ++i) fake->CompleteSend(HandleOf(*qp), i);
  uint64_t next = 0;
  for (const size_t expected : {4u, 4u, 2u, 0u}) {
    ASSERT_EQ(cq->Poll(out), expected);
    for (size_t i = 0; i < expected; ++i) EXPECT_EQ(out[i].wr_id, next++);
  }
}

TEST_F(CompletionQueueTest, GivenCompletionThereWhenPolledThenTheCoreIsNotRun) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  fake->CompleteSend(HandleOf(*qp), 0);
  const uint32_t before = fake->drives;
  EXPECT_EQ(cq->Poll(out), 1u);
  EXPECT_EQ(fake->drives, before);
}

TEST_F(CompletionQueueTest, GivenNothingThereWhenPolledThenTheCoreRunsAndItsWorkIsFound) {
  auto qp = Connected();
  fake->complete_sends = true;
  ASSERT_EQ(qp->PostSend(8, memory->Sge(0, 1)), 0);
  ASSERT_EQ(cq->Poll(out), 1u);
  EXPECT_EQ(out[0].wr_id, 8u);
}

TEST_F(CompletionQueueTest, GivenTwoQueuePairsOnOneQueueWhenPolledThenEachWrIdIsItsOwn) {
  auto a = Connected(), b = Connected();
  ASSERT_EQ(a->PostSend(1, memory->Sge(0, 1)), 0);
  ASSERT_EQ(b->PostSend(2, memory->Sge(0, 1)), 0);
  fake->CompleteSend(HandleOf(*b), 0);
  fake->CompleteSend(HandleOf(*a), 0);
  ASSERT_EQ(cq->Poll(out), 2u);
  EXPECT_EQ(out[0].wr_id, 2u);
  EXPECT_EQ(out[0].qp_num, b->qp_num());
  EXPECT_EQ(out[1].wr_id, 1u);
  EXPECT_EQ(out[1].qp_num, a->qp_num());
}

// --- Waiting

TEST_F(CompletionQueueTest, GivenNothingWhenWaitTimesOutThenItTookThatLong) {
  const uint64_t before = fake->now_ns;
  EXPECT_EQ(cq->Wait(out, std::chrono::milliseconds(3)), 0u);
  EXPECT_EQ(fake->now_ns - before, 3'000'000u);
}

TEST_F(CompletionQueueTest, GivenZeroOrNegativeTimeoutWhenWaitingThenItReturnsAtOnce) {
  const uint64_t before = fake->now_ns;
  EXPECT_EQ(cq->Wait(out, std::chrono::nanoseconds(0)), 0u);
  EXPECT_EQ(cq->Wait(out, std::chrono::nanoseconds(-5)), 0u);
  EXPECT_EQ(fake->now_ns, before);
  EXPECT_EQ(fake->idle_sleeps, 0u);
}

TEST_F(CompletionQueueTest, GivenSleeperWhenACompletionArrivesThenItIsWokenByTheInterrupt) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(4, memory->Sge(0, 1)), 0);
  fake->when_idle.push_back([&] { fake->CompleteSend(HandleOf(*qp), 0); });
  ASSERT_EQ(cq->Wait(out), 1u);
  EXPECT_EQ(out[0].wr_id, 4u);
  EXPECT_EQ(fake->idle_sleeps, 1u);
}

// The race: a completion is written between the waiter's last look and its arming.
TEST_F(CompletionQueueTest, GivenCompletionBeforeTheArmDoorbellIsSeenWhenWaitingThenItIsNotLost) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(4, memory->Sge(0, 1)), 0);
  ASSERT_EQ(qp->PostSend(5, memory->Sge(0, 1)), 0);
  // Armed for the first, which leaves the queue pair's second to be waited for anew.
  fake->when_idle.push_back([&] { fake->CompleteSend(HandleOf(*qp), 0); });
  fake->when_idle.push_back([&] { fake->CompleteSend(HandleOf(*qp), 1); });
  ASSERT_EQ(cq->Wait(out), 1u);
  ASSERT_EQ(cq->Wait(out), 1u);
  EXPECT_EQ(out[0].wr_id, 5u);
  EXPECT_EQ(fake->idle_sleeps, 2u);
}

// An interrupt for something that was polled meanwhile wakes the waiter for nothing.
TEST_F(CompletionQueueTest, GivenStaleInterruptWhenWaitingThenItArmsAgainAndGetsTheNextOne) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  ASSERT_EQ(qp->PostSend(2, memory->Sge(0, 1)), 0);
  ASSERT_EQ(cq->Wait(out, std::chrono::milliseconds(1)), 0u);  // leaves the queue armed
  fake->CompleteSend(HandleOf(*qp), 0);                        // its interrupt comes here
  ASSERT_EQ(cq->Poll(out), 1u);                                // and is stale now
  fake->when_idle.push_back([&] { fake->CompleteSend(HandleOf(*qp), 1); });
  ASSERT_EQ(cq->Wait(out), 1u);
  EXPECT_EQ(out[0].wr_id, 2u);
}

TEST_F(CompletionQueueTest, GivenQueueStillArmedWhenWaitingAgainThenNoSecondDoorbellIsRung) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(cq->Wait(out, std::chrono::milliseconds(1)), 0u);
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kCqArm), 1u);
}

TEST_F(CompletionQueueTest, GivenCompletionsFewStepsAwayWhenWaitingThenNothingIsArmed) {
  auto qp = Connected();
  fake->complete_sends = true;
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  EXPECT_EQ(cq->Wait(out), 1u);
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kCqArm), 0u);
}

TEST_F(CompletionQueueTest, GivenArmDoorbellLostWhenTheNicScansThenTheWaiterArmsAgain) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(6, memory->Sge(0, 1)), 0);
  fake->SendsPosted(HandleOf(*qp));
  fake->lose_doorbells = true;  // until the NIC has scanned
  fake->when_idle.push_back([&] { fake->CompleteSend(HandleOf(*qp), 0); });
  ASSERT_EQ(cq->Wait(out), 1u);
  EXPECT_EQ(out[0].wr_id, 6u);
}

TEST_F(CompletionQueueTest, GivenOverrunWhenWaitingThenItIsAnError) {
  fake->when_idle.push_back([&] { fake->RaiseEvent(abi::EventKind::kCqError, 0); });
  EXPECT_EQ(ErrorOf([&] { (void)cq->Wait(out, std::chrono::milliseconds(1)); }), EIO);
  EXPECT_EQ(ErrorOf([&] { (void)cq->Wait(out); }), EIO);
}

TEST_F(CompletionQueueTest, GivenEmptySpanWhenPolledOrWaitedThenNothingHappens) {
  EXPECT_EQ(cq->Poll({}), 0u);
  EXPECT_EQ(cq->Wait({}), 0u);
}

// --- The descriptor

TEST_F(CompletionQueueTest, GivenArmedDescriptorWhenACompletionArrivesThenItIsReadableOnce) {
  auto qp = Connected();
  for (uint64_t i = 0; i < 3; ++i) ASSERT_EQ(qp->PostSend(i, memory->Sge(0, 1)), 0);
  const int fd = cq->fd();
  ASSERT_TRUE(cq->Arm());
  EXPECT_FALSE(Readable(fd));

  fake->CompleteSend(HandleOf(*qp), 0);
  EXPECT_TRUE(Readable(fd));
  cq->Acknowledge();
  EXPECT_FALSE(Readable(fd));

  fake->CompleteSend(HandleOf(*qp), 1);
  EXPECT_FALSE(Readable(fd)) << "one notification a call to Arm";
  EXPECT_FALSE(cq->Arm()) << "completions are there already";
  EXPECT_EQ(cq->Poll(out), 2u);

  ASSERT_TRUE(cq->Arm());
  fake->CompleteSend(HandleOf(*qp), 2);
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(cq->fd(), fd);
}

TEST_F(CompletionQueueTest, GivenAThreadThatSleepsInTheDescriptorWhenItArmsThenTheCoreGoesOnAlone) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  EXPECT_EQ(cq->Poll(out), 0u);
  EXPECT_EQ(fake->left_alone, 0u);
  ASSERT_TRUE(cq->Arm());
  EXPECT_EQ(fake->left_alone, 1u);
  EXPECT_EQ(cq->Poll(out), 0u);  // the look behind the arming, which needs none again
  ASSERT_TRUE(cq->Arm());
  EXPECT_EQ(fake->left_alone, 2u);
  fake->CompleteSend(HandleOf(*qp), 0);
  EXPECT_FALSE(cq->Arm()) << "nobody sleeps now";
  EXPECT_EQ(fake->left_alone, 2u);
}

TEST_F(CompletionQueueTest, GivenDescriptorNotArmedWhenAWaiterIsWokenThenItStaysQuiet) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  const int fd = cq->fd();
  fake->when_idle.push_back([&] { fake->CompleteSend(HandleOf(*qp), 0); });
  ASSERT_EQ(cq->Wait(out), 1u);
  EXPECT_FALSE(Readable(fd));
  cq->Acknowledge();  // nothing to acknowledge: does not block
}

TEST_F(CompletionQueueTest, GivenWaiterLeftItArmedWhenDescriptorIsArmedThenItIsNotified) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  ASSERT_EQ(cq->Wait(out, std::chrono::milliseconds(1)), 0u);
  ASSERT_TRUE(cq->Arm());
  fake->CompleteSend(HandleOf(*qp), 0);
  EXPECT_TRUE(Readable(cq->fd()));
}

// --- Capacity

TEST_F(CompletionQueueTest, GivenCapacitiesWhenCreatedThenTheyAreRoundedUpOrRefused) {
  EXPECT_EQ(nic->CreateCq(1)->capacity(), 2u);
  EXPECT_EQ(nic->CreateCq(2)->capacity(), 2u);
  EXPECT_EQ(nic->CreateCq(33)->capacity(), 64u);
  EXPECT_EQ(ErrorOf([&] { nic->CreateCq(0); }), EINVAL);
  EXPECT_EQ(ErrorOf([&] { nic->CreateCq((1u << 20) + 1); }), EINVAL);
}

TEST_F(CompletionQueueTest, GivenQueueTooSmallWhenQpIsCreatedThenTheTextSaysWhatToDo) {
  auto small = nic->CreateCq(8);
  QpOptions options = Options(4);
  options.send_cq = options.recv_cq = small.get();
  auto first = nic->CreateQp(*pd, options);  // takes all eight
  std::string what;
  EXPECT_EQ(ErrorOf([&] { nic->CreateQp(*pd, options); }, &what), ENOMEM);
  EXPECT_THAT(what, testing::HasSubstr("larger capacity"));

  first.reset();
  EXPECT_NO_THROW(nic->CreateQp(*pd, options)) << "the room was given back";
}

TEST_F(CompletionQueueTest, GivenReceiveSideTooSmallWhenQpIsCreatedThenTheSendSideIsGivenBack) {
  auto send = nic->CreateCq(4), recv = nic->CreateCq(2);
  QpOptions options = Options(4);
  options.send_cq = send.get();
  options.recv_cq = recv.get();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ErrorOf([&] { nic->CreateQp(*pd, options); }), ENOMEM);
  }
  options.recv_depth = 2;
  EXPECT_NO_THROW(nic->CreateQp(*pd, options));
}

}  // namespace
}  // namespace qpip::test
