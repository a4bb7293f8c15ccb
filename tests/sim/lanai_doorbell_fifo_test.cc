// The doorbell FIFO: order, overflow, several writers.

#include "sim/lanai/doorbell_fifo.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
#include <vector>

namespace qpip::lanai {
namespace {

abi::Doorbell Make(uint32_t object, uint32_t producer) {
  return abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, object, producer, ~producer);
}

class DoorbellFifos : public ::testing::TestWithParam<uint32_t> {
 protected:
  const uint32_t entries_ = GetParam();
  DoorbellFifo fifo_{entries_};
};
INSTANTIATE_TEST_SUITE_P(Entries, DoorbellFifos,
                         ::testing::Values(DoorbellFifo::kMinEntries, 4u,
                                           DoorbellFifo::kDefaultEntries,
                                           DoorbellFifo::kMaxEntries));

TEST(DoorbellFifo, GivenNoPowerOfTwoOrOneOutOfRangeWhenMadeThenItIsRefused) {
  for (const uint32_t entries : {0u, 1u, 3u, 1000u, 131072u, 1u << 31, 0xffffffffu}) {
    EXPECT_THROW(DoorbellFifo{entries}, std::invalid_argument) << entries;
  }
}

TEST_P(DoorbellFifos, GivenEntriesWhenPoppedThenTheyComeInOrderAndWhole) {
  abi::Doorbell out;
  EXPECT_FALSE(fifo_.Pop(&out));
  // Several laps of the ring, at fill levels that do not divide it.
  uint32_t pushed = 0;
  uint32_t popped = 0;
  const uint32_t burst = entries_ > 7 ? 7 : 1;
  while (pushed < 5 * entries_) {
    for (uint32_t i = 0; i < burst; ++i) EXPECT_TRUE(fifo_.Push(Make(3, pushed++)));
    while (popped + burst / 3 < pushed) {
      ASSERT_TRUE(fifo_.Pop(&out));
      EXPECT_EQ(out.kind(), abi::DoorbellKind::kSendPosted);
      EXPECT_EQ(out.object(), 3u);
      EXPECT_EQ(out.producer, popped);
      EXPECT_EQ(out.posted_bytes, ~popped);
      ++popped;
    }
  }
  EXPECT_FALSE(fifo_.TakeOverflow());
}

TEST_P(DoorbellFifos, GivenAFullFifoWhenPushedThenTheFlagSticksAndWhatWasThereStays) {
  for (uint32_t i = 0; i < entries_; ++i) ASSERT_TRUE(fifo_.Push(Make(0, i)));
  EXPECT_FALSE(fifo_.Push(Make(0, 77777)));
  EXPECT_FALSE(fifo_.Push(Make(0, 77778)));
  abi::Doorbell out;
  ASSERT_TRUE(fifo_.Pop(&out));
  EXPECT_EQ(out.producer, 0u);
  EXPECT_TRUE(fifo_.Push(Make(0, entries_)));
  EXPECT_TRUE(fifo_.TakeOverflow());
  EXPECT_FALSE(fifo_.TakeOverflow());
  for (uint32_t i = 1; i <= entries_; ++i) {
    ASSERT_TRUE(fifo_.Pop(&out));
    EXPECT_EQ(out.producer, i);
  }
  EXPECT_FALSE(fifo_.Pop(&out));
}

TEST_P(DoorbellFifos,
       GivenSeveralWritersWhenTheyPushThenEachOnesOrderHoldsAndNothingIsLostSilently) {
  constexpr uint32_t kWriters = 4;
  constexpr uint32_t kEach = 20000;
  std::atomic<uint32_t> refused{0};
  std::atomic<uint32_t> finished{0};
  std::vector<std::thread> writers;
  for (uint32_t writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (uint32_t i = 1; i <= kEach; ++i) {
        if (!fifo_.Push(Make(writer, i))) refused.fetch_add(1);
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
    if (fifo_.Pop(&out)) {
      ASSERT_LT(out.object(), kWriters);
      EXPECT_GT(out.producer, last[out.object()]);
      EXPECT_EQ(out.posted_bytes, ~out.producer);
      last[out.object()] = out.producer;
      ++received;
      continue;
    }
    overflowed |= fifo_.TakeOverflow();
    if (all_pushed) break;
    std::this_thread::yield();
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(received + refused.load(), kWriters * kEach);
  EXPECT_EQ(overflowed, refused.load() != 0);
}

}  // namespace
}  // namespace qpip::lanai
