// qpip_fw_receive: what has arrived is delivered, and nothing else is done. qpip_fw_due: whether
// there is anything else.
#include <gtest/gtest.h>

#include <algorithm>

#include "firmware_bench.h"
#include "nic_fw/firmware.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

constexpr uint32_t kBudget = 64;

class ReceiveEntry : public ::testing::Test {
 protected:
  ReceiveEntry()
      : source_(pair_.a.hardware, 1000),
        sink_(pair_.b.hardware, 1000),
        text_(pair_.b.hardware, 100),
        answer_(pair_.a.hardware, 100) {
    pair_.b.hardware.DmaTakesNoTime();
    key_ = pair_.a.Register(source_, 0);
    sink_key_ = pair_.b.Register(sink_);
    text_key_ = pair_.b.Register(text_, 0);
    pair_.a.PostRecv(*pair_.qp_a, {SgeOf(answer_, pair_.a.Register(answer_), 0, 100)});
    pair_.cable.Run();
  }
  void PostSendAtB() { pair_.b.PostSend(*pair_.qp_b, {SgeOf(text_, text_key_, 0, 100)}); }
  void PostRecv() { pair_.b.PostRecv(*pair_.qp_b, {SgeOf(sink_, sink_key_, 0, 1000)}); }
  /// A sends so many messages; they wait at B's link.
  void Arrive(int messages) {
    for (int i = 0; i < messages; ++i) {
      pair_.a.PostSend(*pair_.qp_a, {SgeOf(source_, key_, 0, 100)});
    }
    pair_.a.Run();
    for (Frame& frame : pair_.a.hardware.outgoing) {
      pair_.b.hardware.incoming.push_back(std::move(frame));
    }
    pair_.a.hardware.outgoing.clear();
    pair_.b.hardware.outgoing.clear();
  }
  uint32_t Receive(uint32_t budget = kBudget) {
    FirmwareBench& b = pair_.b;
    return qpip_fw_receive(b.arena.data(), &b.hardware.platform(), b.now, budget);
  }
  bool Due() const { return qpip_fw_due(pair_.b.arena.data(), pair_.b.now) != 0; }

  ConnectedPair pair_;
  HostMemory source_, sink_, text_, answer_;
  uint32_t key_ = 0;
  uint32_t sink_key_ = 0;
  uint32_t text_key_ = 0;
};

TEST_F(ReceiveEntry, GivenReceivesWhoseDoorbellsWaitWhenMessagesArriveThenOneCallDeliversThem) {
  for (int i = 0; i < 4; ++i) PostRecv();
  pair_.b.Run();
  pair_.cable.Run();
  for (int i = 0; i < 2; ++i) PostRecv();
  Arrive(4);
  Receive();
  EXPECT_EQ(pair_.b.Poll(*pair_.cq_b).size(), 4u);
  EXPECT_EQ(pair_.b.Counter(abi::NicCounter::kOverflowPoolBytes), 0u);
}

TEST_F(ReceiveEntry, GivenDoorbellsOfBothQueuesInTurnWhenTheyAreTakenThenEachCounts) {
  const uint64_t before = pair_.b.Counter(abi::NicCounter::kDoorbells);
  PostRecv();
  PostRecv();
  PostSendAtB();
  PostRecv();
  PostSendAtB();
  PostRecv();
  Receive();
  EXPECT_EQ(pair_.b.Counter(abi::NicCounter::kDoorbells), before + 7) << "and the command's";
  pair_.b.Run();
  pair_.cable.Run();
  Arrive(4);
  Receive();
  const auto done = pair_.b.Poll(*pair_.cq_b);
  const auto is_receive = [](const abi::Cqe& cqe) {
    return cqe.opcode == static_cast<uint8_t>(abi::CompletionOpcode::kRecv);
  };
  EXPECT_EQ(std::count_if(done.begin(), done.end(), is_receive), 4);
  EXPECT_EQ(pair_.a.Poll(*pair_.cq_a).size(), 1u) << "A has one receive, which a send has filled";
}

TEST_F(ReceiveEntry, GivenADoorbellThatIsOlderBehindANewerOneWhenTheyAreTakenThenTheNewerCounts) {
  for (int i = 0; i < 3; ++i) PostRecv();
  const abi::Doorbell older =
      abi::Doorbell::Make(abi::DoorbellKind::kRecvPosted, pair_.qp_b->handle,
                          pair_.qp_b->recv_producer - 2, pair_.qp_b->posted_bytes - 2000);
  pair_.b.hardware.Ring(older);
  Receive();
  pair_.b.Run();
  pair_.cable.Run();
  Arrive(3);
  Receive();
  EXPECT_EQ(pair_.b.Poll(*pair_.cq_b).size(), 3u);
  EXPECT_EQ(pair_.b.Counter(abi::NicCounter::kOverflowPoolBytes), 0u);
}

TEST_F(ReceiveEntry, GivenMessagesWhenDeliveredThenTheirAcknowledgementIsLeftToAStep) {
  for (int i = 0; i < 4; ++i) PostRecv();
  pair_.b.Run();
  pair_.cable.Run();
  Arrive(4);
  Receive();
  EXPECT_TRUE(pair_.b.hardware.outgoing.empty());
  EXPECT_TRUE(Due());
  pair_.b.Run();
  EXPECT_FALSE(pair_.b.hardware.outgoing.empty());
  EXPECT_FALSE(Due());
}

TEST_F(ReceiveEntry, GivenAMessageWhenItsAnswerHasLeftThenNoAcknowledgementIsDue) {
  PostRecv();
  pair_.b.Run();
  pair_.cable.Run();
  Arrive(1);
  Receive();
  EXPECT_TRUE(Due());
  PostSendAtB();
  FirmwareBench& b = pair_.b;
  qpip_fw_transmit(b.arena.data(), &b.hardware.platform(), b.now, kBudget);
  EXPECT_EQ(b.hardware.outgoing.size(), 1u);
  EXPECT_FALSE(Due());
}

TEST_F(ReceiveEntry, GivenMoreFramesThanTheBudgetWhenReceivedThenTheRestWaitsAtTheLink) {
  for (int i = 0; i < 4; ++i) PostRecv();
  pair_.b.Run();
  pair_.cable.Run();
  Arrive(4);
  EXPECT_EQ(Receive(3), 3u);
  EXPECT_EQ(pair_.b.hardware.incoming.size(), 1u);
  EXPECT_EQ(Receive(), 1u);
  EXPECT_EQ(Receive(), 0u);
}

TEST_F(ReceiveEntry, GivenNothingToDoWhenAskedThenNothingIsDueUntilATimerIs) {
  pair_.b.Run();
  EXPECT_FALSE(Due());
  PostSendAtB();
  pair_.b.Run();
  const uint64_t deadline = qpip_fw_next_deadline(pair_.b.arena.data());
  ASSERT_NE(deadline, UINT64_MAX);
  EXPECT_EQ(qpip_fw_due(pair_.b.arena.data(), deadline - 1), 0u);
  EXPECT_NE(qpip_fw_due(pair_.b.arena.data(), deadline), 0u);
}

TEST_F(ReceiveEntry, GivenAFrameThatTheWireRefusesWhenAskedThenItIsDue) {
  pair_.b.hardware.wire_full = true;
  PostSendAtB();
  pair_.b.Run();
  EXPECT_TRUE(Due());
}

}  // namespace
}  // namespace qpip::fw::test
