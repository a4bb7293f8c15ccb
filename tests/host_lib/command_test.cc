// The command channel under its harder conditions: wraps, answers out of order, lost doorbells.
#include <thread>

#include "nic_test.h"

namespace qpip::test {
namespace {

using abi::CommandOpcode;

class CommandTest : public NicTest {};

TEST_F(CommandTest, GivenManyCommandsWhenRingsWrapThenEachIsAnsweredOnce) {
  std::array<uint32_t, 2> keys{};
  for (uint32_t i = 0; i < 1000; ++i) {
    auto region = pd->Allocate(64);
    EXPECT_NE(region->lkey(), keys[i % 2]);
    keys[i % 2] = region->lkey();
  }
  EXPECT_EQ(fake->Count(CommandOpcode::kDeregisterMemory), 1000u);
}

TEST_F(CommandTest, GivenManyEventsWhenTheirRingWrapsThenNoneIsMissed) {
  auto qp = Connected();
  for (int i = 0; i < 500; ++i) {
    fake->RaiseEvent(abi::EventKind::kPeerClosed, HandleOf(*qp));
    if (i % 3 == 0) PollAll();
  }
  fake->RaiseEvent(abi::EventKind::kDisconnected, HandleOf(*qp));
  PollAll();
  EXPECT_EQ(qp->state(), QpState::kClosed);
}

TEST_F(CommandTest, GivenDoorbellLostWhenTheNicScansThenTheCommandIsAnnouncedAgain) {
  fake->lose_doorbells = true;
  EXPECT_NO_THROW(pd->Allocate(64));
  EXPECT_GE(fake->Doorbells(abi::DoorbellKind::kCommand), 2u);
}

TEST_F(CommandTest, GivenDoorbellLostWhenTheNicScansBeforeAnybodyWaitsThenItIsAnnouncedAgain) {
  const size_t before = fake->Doorbells(abi::DoorbellKind::kCommand);
  fake->lose_doorbells = fake->scan_at_once = true;
  EXPECT_NO_THROW(pd->Allocate(64));  // registered, again, then deregistered
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kCommand), before + 3);
}

TEST_F(CommandTest, GivenEventsBetweenCommandsWhenNothingIsLostThenEachIsAnnouncedOnce) {
  auto qp = Connected();
  const size_t before = fake->Doorbells(abi::DoorbellKind::kCommand);
  for (int i = 0; i < 5; ++i) {
    fake->RaiseEvent(abi::EventKind::kPeerClosed, HandleOf(*qp));
    EXPECT_NO_THROW(pd->Allocate(64));  // registered, then deregistered
  }
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kCommand), before + 10);
}

TEST_F(CommandTest, GivenAnswersOutOfOrderWhenThreadsWaitThenEachGetsItsOwn) {
  fake->threaded = true;
  fake->held.insert(CommandOpcode::kRegisterMemory);
  std::array<std::vector<std::byte>, 3> memories;
  std::array<std::unique_ptr<MemoryRegion>, 3> regions;
  std::vector<std::thread> threads;
  std::array<uint64_t, 3> sent{};
  for (size_t i = 0; i < 3; ++i) {
    memories[i].resize(100 + i);
    threads.emplace_back([&, i] {
      regions[i] = pd->Register(memories[i].data(), memories[i].size(), IBV_ACCESS_LOCAL_WRITE);
    });
    // The fake sees the commands in a known order.
    while (fake->HeldCount() <= i) fake->Drive(false);
    sent[i] = memories[i].size();
  }

  fake->Release(/*reversed=*/true);
  for (std::thread& thread : threads) thread.join();
  fake->held.clear();

  // Keys are given in the order of the answers: the last command's comes first.
  EXPECT_LT(regions[2]->lkey(), regions[1]->lkey());
  EXPECT_LT(regions[1]->lkey(), regions[0]->lkey());
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(regions[i]->size(), sent[i]);
}

}  // namespace
}  // namespace qpip::test
