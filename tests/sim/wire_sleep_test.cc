// Sleeping and waking on both fabrics, and two threads that do.
#include <sched.h>

#include <thread>

#include "wire_fabric.h"

namespace qpip::wire::test {
namespace {

class FabricSleep : public FabricTest {};

INSTANTIATE_TEST_SUITE_P(Kinds, FabricSleep, kFabricKinds,
                         [](const auto& tested) { return tested.param.name; });

TEST_P(FabricSleep, GivenAFrameAfterPrepareSleepWhenSleepingThenItReturnsAtOnce) {
  auto a = Open(1);
  auto b = Open(2);
  InFrame frame;
  b->PrepareSleep();
  ASSERT_FALSE(b->Receive(&frame));
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 1)), SendResult::kSent);
  a->Flush();
  b->Sleep(UINT64_MAX);  // would never return
  EXPECT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Counter(*a, "wakes_sent"), 1u);
  // Awake, it costs senders nothing.
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 1)), SendResult::kSent);
  a->Flush();
  EXPECT_EQ(Counter(*a, "wakes_sent"), 1u);
}

TEST_P(FabricSleep, GivenAWakeBetweenPrepareAndSleepThenItReturnsAtOnceThoughOthersPrepareToo) {
  auto a = Open(1);
  a->PrepareSleep();
  std::thread other([&] {
    a->Wake();
    a->PrepareSleep();
    a->CancelSleep();
  });
  other.join();
  a->Sleep(UINT64_MAX);  // would never return
}

/// The calling thread stays on the processor that it has, until the end.
class OnOneProcessor {
 public:
  OnOneProcessor() {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
  }
  ~OnOneProcessor() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_;
};

TEST_P(FabricSleep, GivenTwoPortsWhenTheirThreadsHaveTurnsAtAProcessorThenEachKnowsOfTheOthers) {
  auto a = Open(1);
  auto b = Open(2);
  const OnOneProcessor here;
  const Turn first = a->TakeTurn().value();
  EXPECT_EQ(first.processor, static_cast<uint32_t>(sched_getcpu()));
  for (int i = 0; i < 3; ++i) b->TakeTurn();
  b->PrepareSleep();
  b->Wake();
  b->Sleep(UINT64_MAX);  // to have slept is to have a turn
  const Turn second = a->TakeTurn().value();
  EXPECT_EQ(second.processor, first.processor);
  EXPECT_EQ(second.number - first.number, 5u);
}

TEST_P(FabricSleep, GivenAPortBehindFaultsAndARecorderThenItsTurnsAreTheFabrics) {
  auto plain = Open(1);
  auto a = DecoratePcap(DecorateFault(Open(2), {}), "/dev/null");
  const OnOneProcessor here;
  const Turn first = plain->TakeTurn().value();
  EXPECT_EQ(a->TakeTurn().value().number, first.number + 1);
}

TEST_P(FabricSleep, GivenADeadlineWhenNothingHappensThenSleepEnds) {
  auto a = Open(1);
  a->PrepareSleep();
  const uint64_t deadline = MonotonicNs() + 2'000'000;
  a->Sleep(deadline);
  EXPECT_GE(MonotonicNs(), deadline);
}

TEST_P(FabricSleep, GivenSeveralSleepersWhenWakeIsCalledThenAllReturn) {
  auto a = Open(1);
  std::atomic<int> awake = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&] {
      while (!stop.load()) a->Sleep(MonotonicNs() + 20'000'000'000);
      ++awake;
    });
  }
  stop = true;
  // A thread may have looked at `stop` before and fall asleep after the first call.
  while (awake.load() < 4) {
    a->Wake();
    std::this_thread::yield();
  }
  for (auto& sleeper : sleepers) sleeper.join();
}

TEST_P(FabricSleep, GivenASenderAsleepOnAFullRingWhenRoomIsMadeThenItWakes) {
  auto a = Open(1);
  auto b = Open(2);
  const Bytes bytes = MakeFrame(Address(2), 30000, 1);
  while (SendBytes(a.get(), bytes) == SendResult::kSent) {
  }
  a->PrepareSleep();
  InFrame frame;
  while (b->Receive(&frame)) b->Release(frame);
  a->Sleep(UINT64_MAX);  // would never return
  EXPECT_EQ(SendBytes(a.get(), bytes), SendResult::kSent);
}

TEST_P(FabricSleep, GivenRoomMadeBeforePrepareSleepWhenSleepingThenItReturnsAtOnce) {
  auto a = Open(1);
  auto b = Open(2);
  const Bytes bytes = MakeFrame(Address(2), 30000, 1);
  while (SendBytes(a.get(), bytes) == SendResult::kSent) {
  }
  InFrame frame;
  while (b->Receive(&frame)) b->Release(frame);
  a->PrepareSleep();
  a->Sleep(UINT64_MAX);  // would never return
  EXPECT_EQ(SendBytes(a.get(), bytes), SendResult::kSent);
}

TEST_P(FabricSleep, GivenTwoThreadsWhenTheyExchangeReferencesAndSleepThenNothingIsLost) {
  constexpr int kRounds = 2000;
  auto a = Open(1);
  auto b = Open(2);
  std::thread echo([&] {
    for (int i = 0; i < kRounds; ++i) {
      InFrame frame;
      ASSERT_TRUE(ReceiveWithin(b.get(), &frame));
      Bytes reply = MakeFrame(Address(1), 40, 0);
      uint32_t sum = 0;
      for (const uint8_t byte : Content(frame)) sum += byte;
      reply.insert(reply.end(), reinterpret_cast<uint8_t*>(&sum),
                   reinterpret_cast<uint8_t*>(&sum) + 4);
      b->Release(frame);
      ASSERT_TRUE(SendWithin(b.get(), reply));
    }
  });
  auto* memory = static_cast<uint8_t*>(a->AllocateShared(3000));
  const Bytes header = MakeFrame(Address(2), 60, 9);
  uint32_t header_sum = 0;
  for (const uint8_t byte : header) header_sum += byte;
  for (int i = 0; i < kRounds; ++i) {
    std::memset(memory, i, 3000);
    const iovec piece = {memory, 3000};
    uint64_t lease = 0;
    ASSERT_EQ(a->Send({header, {&piece, 1}, true}, &lease), SendResult::kSent);
    a->Flush();
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(a.get(), &frame));
    uint32_t sum = 0;
    std::memcpy(&sum, Content(frame).data() + 40, 4);
    EXPECT_EQ(sum, header_sum + 3000u * static_cast<uint8_t>(i));
    a->Release(frame);
    ASSERT_FALSE(a->LeasePending(lease)) << "the reply came after the release";
  }
  echo.join();
}

TEST_P(FabricSleep, GivenTwoThreadsWhenOneStreamsThenAllArrivesInOrder) {
  constexpr uint64_t kFrames = 5000;
  auto a = Open(1);
  auto b = Open(2);
  std::thread sender([&] {
    for (uint64_t i = 0; i < kFrames; ++i) {
      ASSERT_TRUE(SendWithin(a.get(), MakeFrame(Address(2), 41 + i * 37 % 3000, i)));
    }
  });
  for (uint64_t i = 0; i < kFrames; ++i) {
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(b.get(), &frame));
    ASSERT_EQ(Content(frame), MakeFrame(Address(2), 41 + i * 37 % 3000, i));
    b->Release(frame);
  }
  sender.join();
}

}  // namespace
}  // namespace qpip::wire::test
