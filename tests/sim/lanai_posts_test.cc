// What is posted to be sent leaves at once, whoever drives the core otherwise, and wakes nobody.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "lanai_scripted.h"

namespace qpip::lanai::testing {
namespace {

using scripted::kTimed;

/// A NIC and the wire's other end, which is nobody's.
class Posts : public ::testing::Test {
 protected:
  Posts() {
    auto wire = std::make_unique<ScriptedWire>(link_, 0);
    wire_ = wire.get();
    nic_ = std::make_unique<ScriptedNic>(std::move(wire), /*spin_us=*/0);
  }
  void Post(uint32_t object, uint32_t producer) {
    nic_->Ring(abi::DoorbellKind::kSendPosted, object, producer);
  }
  uint64_t CoreCounter(const char* name) {
    return nlohmann::json::parse(nic_->port().StatisticsJson())["core"][name].get<uint64_t>();
  }
  /// Until somebody sleeps in the wire, for nothing but what others bring.
  void AwaitSleeper() {
    while (link_->ends[0].sleepers.load() == 0) std::this_thread::yield();
  }
  uint32_t WakeUps() const { return link_->ends[0].word.load() >> 1; }
  void AwaitMailbox(uint32_t object, uint32_t value) {
    while (nic_->mailboxes().Read(object) != value) std::this_thread::yield();
  }

  std::shared_ptr<ScriptedLink> link_ = std::make_shared<ScriptedLink>();
  ScriptedWire* wire_;
  std::unique_ptr<ScriptedNic> nic_;
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

TEST_F(Posts, GivenAThreadWaitsWhenAnotherPostsThenTheWaiterSleepsOn) {
  uint32_t word = 0;
  std::thread waiter;
  const auto start = [&] {
    waiter = std::thread(
        [this, &word, seen = word] { nic_->port().DriveUntil(&word, seen, UINT64_MAX); });
  };
  const auto stop = [&] {
    std::atomic_ref<uint32_t>(word).fetch_add(1);
    nic_->port().platform().Wake(&word);
    waiter.join();
  };
  start();
  // One that finds the core's lock taken, as the look at the counters takes it, sleeps on its word
  // instead of in the wire: then the next is tried.
  while (CoreCounter("parks_runner") == 0) {
    stop();
    start();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  }
  AwaitSleeper();
  const uint32_t before = WakeUps();
  for (uint32_t i = 1; i <= 100; ++i) Post(1, i);
  EXPECT_EQ(wire_->sent.load(), 100u);
  EXPECT_EQ(WakeUps(), before);
  stop();
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
