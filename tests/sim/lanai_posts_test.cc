// What is posted to be sent leaves at once, whoever drives the core otherwise, and wakes nobody.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "lanai_lone_nic.h"

namespace qpip::lanai::testing {
namespace {

using scripted::kTimed;

class Posts : public LoneNic {
 protected:
  void Post(uint32_t object, uint32_t producer) {
    nic_->Ring(abi::DoorbellKind::kSendPosted, object, producer);
  }
  void AwaitMailbox(uint32_t object, uint32_t value) {
    while (nic_->mailboxes().Read(object) != value) std::this_thread::yield();
  }
};

TEST_F(Posts, GivenNobodyDrivesWhenPostedThenTheFrameHasLeftBeforeThePostReturns) {
  AwaitSleeper();
  for (uint32_t i = 1; i <= 100; ++i) {
    Post(1, i);
    ASSERT_EQ(wire_->sent.load(), i);
  }
  EXPECT_EQ(CoreCounter("posts"), 100u);
}

TEST_F(Posts, GivenTheCoreThreadSleepsWhenPostedThenItSleepsOn) {
  AwaitSleeper();
  const uint32_t before = WakeUps();
  for (uint32_t i = 1; i <= 100; ++i) Post(1, i);
  EXPECT_EQ(WakeUps(), before);
  EXPECT_EQ(link_->ends[0].sleepers.load(), 1);
}

TEST_F(Posts, GivenASleeperWhenAReceiveIsPostedThenItIsCarriedOutAndNobodyWakes) {
  AwaitSleeper();
  const uint32_t before = WakeUps();
  for (uint32_t i = 1; i <= 100; ++i) {
    nic_->Ring(abi::DoorbellKind::kRecvPosted, 1, /*producer=*/0);  // leaves nothing behind
    ASSERT_EQ(nic_->mailboxes().Read(1), i);
  }
  EXPECT_EQ(WakeUps(), before);
  EXPECT_EQ(link_->ends[0].sleepers.load(), 1);
}

TEST_F(Posts, GivenASleeperWhenAPostedReceiveLeavesWorkBehindThenItIsDone) {
  constexpr uint32_t kLeft = 3;
  for (int i = 0; i < 20; ++i) {
    AwaitSleeper();
    const uint64_t before = CoreCounter("handlers");
    nic_->Ring(abi::DoorbellKind::kRecvPosted, 1, kLeft);
    while (CoreCounter("handlers") < before + 1 + kLeft) std::this_thread::yield();
  }
}

TEST_F(Posts, GivenAThreadWaitsWhenAnotherPostsThenTheWaiterSleepsOn) {
  StartWaiter();
  const uint32_t before = WakeUps();
  for (uint32_t i = 1; i <= 100; ++i) Post(1, i);
  EXPECT_EQ(wire_->sent.load(), 100u);
  EXPECT_EQ(WakeUps(), before);
  StopWaiter();
}

TEST_F(Posts, GivenADeadlineThatIsNowEarlierWhenPostedThenTheSleeperKeepsIt) {
  for (uint32_t i = 1; i <= 20; ++i) {
    AwaitSleeper();
    Post(kTimed, 100);
    AwaitMailbox(kTimed, i);  // by the core thread: nobody else drives
  }
}

TEST_F(Posts, GivenALaterDeadlineWhenPostedThenTheSleeperIsLeftAlone) {
  constexpr uint32_t kAnHourUs = 3'600'000'000u;
  AwaitSleeper();
  Post(kTimed, kAnHourUs);  // wakes it, once
  Post(kTimed, kAnHourUs);
  while (WakeUps() == 0) std::this_thread::yield();
  // It sleeps again until the deadline when it has been asked to, and has run.
  const uint64_t parks = CoreCounter("parks_core_thread");
  if (parks < 2) {
    while (CoreCounter("parks_core_thread") < 2) std::this_thread::yield();
  }
  AwaitSleeper();
  const uint32_t before = WakeUps();
  for (uint32_t i = 0; i < 100; ++i) Post(kTimed, kAnHourUs + i);
  EXPECT_EQ(WakeUps(), before);
}

TEST_F(Posts, GivenAThreadThatPollsWhenOthersPostThenEverythingLeaves) {
  constexpr uint32_t kThreads = 3;
  constexpr uint32_t kPosts = 300;  // all of them fit into the doorbell FIFO
  std::atomic<bool> stop{false};
  std::thread poller([&] {
    while (!stop) nic_->port().Drive(false);
  });
  std::vector<std::thread> posters;
  for (uint32_t t = 0; t < kThreads; ++t) {
    posters.emplace_back([&, t] {
      for (uint32_t i = 1; i <= kPosts; ++i) Post(t, i);
    });
  }
  for (std::thread& poster : posters) poster.join();
  while (wire_->sent.load() != kThreads * kPosts) std::this_thread::yield();
  stop = true;
  poller.join();
}

TEST_F(Posts, GivenANicThatIsClosedWhenPostedThenNothingHappens) {
  nic_->port().Stop();
  Post(1, 1);
  EXPECT_EQ(nic_->mailboxes().Read(1), 0u);
}

}  // namespace
}  // namespace qpip::lanai::testing
