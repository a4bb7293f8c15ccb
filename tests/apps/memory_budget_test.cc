#include "apps/nbd/memory_budget.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace qpip::nbd {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(MemoryBudgetTest, GivenAllOfItTakenThenThereIsNoneUntilSomeIsBack) {
  MemoryBudget budget(4 * kMiB);
  const auto first = budget.TryTake(2 * kMiB);
  const auto second = budget.TryTake(kMiB + 1);  // counts as 2 MiB
  ASSERT_GE(first.size(), 2 * kMiB);
  ASSERT_GE(second.size(), kMiB + 1);
  EXPECT_TRUE(budget.TryTake(1).empty());
  budget.Put(second);
  const auto third = budget.TryTake(2 * kMiB);
  EXPECT_FALSE(third.empty());
  budget.Put(first);
  budget.Put(third);
}

TEST(MemoryBudgetTest, GivenMemoryPutBackWhenAsMuchIsTakenThenItIsTheSameWithoutNewPages) {
  MemoryBudget budget(64 * kMiB);
  const auto before = budget.TryTake(kMiB - 5);
  std::fill(before.begin(), before.end(), std::byte{7});
  budget.Put(before);
  const auto after = budget.TryTake(kMiB);
  EXPECT_EQ(after.data(), before.data());
  EXPECT_EQ(std::count(after.begin(), after.end(), std::byte{7}),
            static_cast<std::ptrdiff_t>(before.size()));
  budget.Put(after);
}

TEST(MemoryBudgetTest, GivenKeptMemoryWhenAnotherSizeNeedsTheRoomThenItHasIt) {
  MemoryBudget budget(MemoryBudget::kKeptBytes);
  const auto small = budget.TryTake(kMiB);
  const auto other = budget.TryTake(kMiB);
  budget.Put(small);
  budget.Put(other);
  const auto whole = budget.TryTake(MemoryBudget::kKeptBytes);
  EXPECT_EQ(whole.size(), MemoryBudget::kKeptBytes);
  budget.Put(whole);
}

TEST(MemoryBudgetTest, GivenMoreThanIsKeptPutBackThenTheRestIsTheSystems) {
  MemoryBudget budget(4 * MemoryBudget::kKeptBytes);
  const auto kept = budget.TryTake(MemoryBudget::kKeptBytes);
  const auto rest = budget.TryTake(MemoryBudget::kKeptBytes);
  std::fill(rest.begin(), rest.end(), std::byte{7});
  budget.Put(kept);
  budget.Put(rest);
  EXPECT_EQ(budget.TryTake(MemoryBudget::kKeptBytes).data(), kept.data());
  const auto fresh = budget.TryTake(MemoryBudget::kKeptBytes);
  EXPECT_EQ(fresh[0], std::byte{0});  // maybe where the other was, but new
  budget.Put(kept);
  budget.Put(fresh);
}

TEST(MemoryBudgetTest, GivenMoreThanThereWillEverBeThenThereIsNone) {
  MemoryBudget budget(kMiB);
  EXPECT_TRUE(budget.TryTake(kMiB + 1).empty());
  budget.Put(budget.TryTake(kMiB));
}

TEST(MemoryBudgetTest, GivenAQuarterOfItInOneHandThenNoMoreIsFairButAFirstRequestIs) {
  const MemoryBudget budget(64 * kMiB);
  EXPECT_TRUE(budget.IsFair(0, 64 * kMiB));
  EXPECT_TRUE(budget.IsFair(8 * kMiB, 8 * kMiB));
  EXPECT_FALSE(budget.IsFair(8 * kMiB, 8 * kMiB + 1));  // counts as 16 MiB
  EXPECT_FALSE(budget.IsFair(16 * kMiB, 1));
}

}  // namespace
}  // namespace qpip::nbd
