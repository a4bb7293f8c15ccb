// The doorbell FIFO: order, overflow, several writers.

#include "sim/lanai/doorbell_fifo.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace qpip::lanai {
namespace {

abi::Doorbell Make(uint32_t object, uint32_t producer) {
  return abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, object, producer, ~producer);
}

TEST(DoorbellFifo, GivenEntriesWhenPoppedThenTheyComeInOrderAndWhole) {
  auto fifo = std::make_unique<DoorbellFifo>();
  abi::Doorbell out;
  EXPECT_FALSE(fifo->Pop(&out));
  // Several laps of the ring, at fill levels that do not divide it.
  uint32_t pushed = 0;
  uint32_t popped = 0;
  while (pushed < 5 * DoorbellFifo::kEntries) {
    for (int i = 0; i < 7; ++i) EXPECT_TRUE(fifo->Push(Make(3, pushed++)));
    while (popped < pushed - 2) {
      ASSERT_TRUE(fifo->Pop(&out));
      EXPECT_EQ(out.kind(), abi::DoorbellKind::kSendPosted);
      EXPECT_EQ(out.object(), 3u);
      EXPECT_EQ(out.producer, popped);
      EXPECT_EQ(out.posted_bytes, ~popped);
      ++popped;
    }
  }
  EXPECT_FALSE(fifo->TakeOverflow());
}

TEST(DoorbellFifo, GivenAFullFifoWhenPushedThenTheFlagSticksAndWhatWasThereStays) {
  auto fifo = std::make_unique<DoorbellFifo>();
  for (uint32_t i = 0; i < DoorbellFifo::kEntries; ++i) ASSERT_TRUE(fifo->Push(Make(0, i)));
  EXPECT_FALSE(fifo->Push(Make(0, 77777)));
  EXPECT_FALSE(fifo->Push(Make(0, 77778)));
  abi::Doorbell out;
  ASSERT_TRUE(fifo->Pop(&out));
  EXPECT_EQ(out.producer, 0u);
  EXPECT_TRUE(fifo->Push(Make(0, DoorbellFifo::kEntries)));
  EXPECT_TRUE(fifo->TakeOverflow());
  EXPECT_FALSE(fifo->TakeOverflow());
  for (uint32_t i = 1; i <= DoorbellFifo::kEntries; ++i) {
    ASSERT_TRUE(fifo->Pop(&out));
    EXPECT_EQ(out.producer, i);
  }
  EXPECT_FALSE(fifo->Pop(&out));
}

TEST(DoorbellFifo, GivenSeveralWritersWhenTheyPushThenEachOnesOrderHoldsAndNothingIsLostSilently) {
  constexpr uint32_t kWriters = 4;
  constexpr uint32_t kEach = 20000;
  auto fifo = std::make_unique<DoorbellFifo>();
  std::atomic<uint32_t> refused{0};
  std::atomic<uint32_t> finished{0};
  std::vector<std::thread> writers;
  for (uint32_t writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (uint32_t i = 1; i <= kEach; ++i) {
        if (!fifo->Push(Make(writer, i))) refused.fetch_add(1);
      }
      finished.fetch_add(1);
    });
  }
  uint32_t last[kWriters] = {};
  uint32_t received = 0;
  bool overflowed = false;
  abi::Doorbell out;
  for (;;) {
    const bool all_pushed = finished.load() == kWriters;
    if (fifo->Pop(&out)) {
      ASSERT_LT(out.object(), kWriters);
      EXPECT_GT(out.producer, last[out.object()]);
      EXPECT_EQ(out.posted_bytes, ~out.producer);
      last[out.object()] = out.producer;
      ++received;
      continue;
    }
    overflowed |= fifo->TakeOverflow();
    if (all_pushed) break;
    std::this_thread::yield();
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(received + refused.load(), kWriters * kEach);
  EXPECT_EQ(overflowed, refused.load() != 0);
}

}  // namespace
}  // namespace qpip::lanai
