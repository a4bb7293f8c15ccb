// What the core makes of the way its threads wait. Time, and what threads use of it, is the test's
// own.

#include <gtest/gtest.h>

#include <algorithm>

#include "sim/lanai/habits.h"

namespace qpip::lanai {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kSpinNs = 20'000;

uint32_t WaitsUntilItSpins(SpinHabit& habit, uint64_t now_ns) {
  uint32_t waits = 1;
  while (habit.Budget(now_ns, kSpinNs) == 0) ++waits;
  return waits;
}

TEST(SpinHabits, GivenANewThreadWhenItWaitsThenItSpins) {
  SpinHabit habit;
  EXPECT_NE(habit.Budget(1, kSpinNs), 0u);
}

/// Long sleeps until they count.
void SleepLong(SpinHabit& habit, int times = 7) {
  for (int i = 0; i < times; ++i) habit.Slept(/*spun=*/true, kMs);
}

TEST(SpinHabits, GivenFewLongSleepsWhenThreadsWaitThenTheySpin) {
  SpinHabit habit;
  SleepLong(habit);
  EXPECT_NE(habit.Budget(1, kSpinNs), 0u);
}

TEST(SpinHabits, GivenSpinningThatNeverPaysWhenThreadsWaitThenOneInSixteenTries) {
  SpinHabit habit;
  SleepLong(habit);
  for (const uint32_t waits : {2u, 4u, 8u, 16u, 16u}) {
    habit.Slept(/*spun=*/true, kMs);
    EXPECT_EQ(WaitsUntilItSpins(habit, 1), waits);
  }
}

TEST(SpinHabits, GivenSpinningThatFailedWhenOneTryPaysThenAllSpinAgain) {
  SpinHabit habit;
  SleepLong(habit, 12);
  EXPECT_EQ(habit.Budget(1, kSpinNs), 0u);
  habit.Paid();
  for (int i = 0; i < 5; ++i) EXPECT_NE(habit.Budget(1, kSpinNs), 0u);
}

TEST(SpinHabits, GivenSleepsNoLongerThanTwoWakeUpsWhenThreadsWaitThenEachSpins) {
  SpinHabit habit;
  for (int i = 0; i < 20; ++i) {
    EXPECT_NE(habit.Budget(1, kSpinNs), 0u);
    habit.Slept(/*spun=*/true, kMs / 10);
  }
}

TEST(SpinHabits, GivenSpinningThatFailedWhenASleepIsShortThenAllSpinAgain) {
  SpinHabit habit;
  SleepLong(habit, 12);
  EXPECT_EQ(habit.Budget(1, kSpinNs), 0u);
  habit.Slept(/*spun=*/false, kMs / 10);
  EXPECT_NE(habit.Budget(1, kSpinNs), 0u);
}

TEST(SpinHabits, GivenShortSleepsWhenThreadsWaitThenFourSpinsAreLongAndThenNoneForAWhile) {
  SpinHabit habit;
  for (int i = 0; i < 27; ++i) {
    habit.Slept(/*spun=*/true, kMs / 20);
    EXPECT_EQ(habit.Budget(1, kSpinNs) > kSpinNs, i < 4) << i;
  }
  habit.Slept(/*spun=*/true, kMs / 20);
  EXPECT_GT(habit.Budget(1, kSpinNs), kSpinNs);
}

TEST(SpinHabits, GivenAUserWhoWantsNoSpinningWhenThreadsWaitThenNoneSpins) {
  SpinHabit habit;
  habit.Slept(/*spun=*/false, kMs / 20);
  EXPECT_EQ(habit.Budget(1, 0), 0u);
}

TEST(SpinHabits, GivenABusyProcessorWhenThreadsWaitThenNobodySpinsForEverLonger) {
  SpinHabit habit;
  uint64_t now_ns = 1;
  for (int i = 0; i < 3; ++i) habit.Contended(now_ns);
  EXPECT_NE(habit.Budget(now_ns, kSpinNs), 0u) << "few may be anything";
  for (const uint64_t ms : {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000}) {
    habit.Contended(now_ns);
    EXPECT_EQ(habit.Budget(now_ns + ms * kMs - 1, kSpinNs), 0u);
    EXPECT_NE(habit.Budget(now_ns + ms * kMs, kSpinNs), 0u);
    now_ns += ms * kMs;
  }
}

TEST(SpinHabits, GivenABusyProcessorWhenSpinningPaysInBetweenThenThatChangesNothing) {
  SpinHabit habit;
  for (int i = 0; i < 4; ++i) {
    habit.Contended(1);
    habit.Paid();
  }
  EXPECT_EQ(habit.Budget(1, kSpinNs), 0u);
  habit.Paid();
  habit.Contended(2 * kMs);
  EXPECT_EQ(habit.Budget(2 * kMs + 2 * kMs - 1, kSpinNs), 0u) << "longer than the first time";
}

TEST(SpinHabits, GivenAProcessorThatWasBusyWhenTimePassesThenItBeginsAnew) {
  SpinHabit habit;
  for (int i = 0; i < 4; ++i) habit.Contended(1);
  EXPECT_EQ(habit.Budget(1, kSpinNs), 0u);
  for (int i = 0; i < 3; ++i) habit.Contended(100 * kMs + i);
  EXPECT_NE(habit.Budget(100 * kMs + 3, kSpinNs), 0u);
}

// --- Giving way

TEST(GiveWayHabits, GivenSomebodyWithWorkOfHisOwnWhenWayIsGivenOftenThenThereIsAPause) {
  GiveWayHabit habit;
  uint64_t now_ns = kMs;
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(habit.Pays(now_ns)) << i;
    now_ns += 3 * kMs;
    habit.Back(now_ns, 3 * kMs, 0);
  }
  EXPECT_FALSE(habit.Pays(now_ns));
  EXPECT_FALSE(habit.Pays(now_ns + kMs - 1));
  EXPECT_TRUE(habit.Pays(now_ns + kMs));
}

TEST(GiveWayHabits, GivenWorkOfOthersThatNeverEndsThenAPauseEndsWithin64Milliseconds) {
  GiveWayHabit habit;
  uint64_t now_ns = kMs, longest_ns = 0;
  for (int i = 0; i < 40; ++i) {
    now_ns += 3 * kMs;
    habit.Back(now_ns, 3 * kMs, 1);
    const uint64_t paused_ns = now_ns;
    while (!habit.Pays(now_ns)) now_ns += kMs;
    longest_ns = std::max(longest_ns, now_ns - paused_ns);
  }
  EXPECT_EQ(longest_ns, 64 * kMs);
}

TEST(GiveWayHabits, GivenACrowdOfPortsWhenEachHasAShortTurnThenWayIsGivenThoughItTakesLong) {
  GiveWayHabit habit;
  for (int i = 1; i < 100; ++i) {
    habit.Back(i * 5 * kMs, 5 * kMs, 128);
    EXPECT_TRUE(habit.Pays(i * 5 * kMs));
  }
}

TEST(GiveWayHabits, GivenNobodyElseWhenWayIsGivenThenItIsAgain) {
  GiveWayHabit habit;
  for (int i = 1; i < 100; ++i) {
    habit.Back(i * 1000, 400, 0);
    EXPECT_TRUE(habit.Pays(i * 1000));
  }
}

// --- Coming back

ThreadUse used;
ThreadUse Used() { return used; }

void BeBusy() { used.cpu_ns += kMs / 2; }

void ComeBackAtOnce(WaitHabit& habit, int times) {
  for (int i = 0; i < times; ++i) {
    habit.Left(/*slept=*/true);
    habit.Returned();
  }
}

TEST(WaitHabits, GivenAThreadThatComesBackAtOnceWhenItHasDoneSoOftenThenItIsSteady) {
  WaitHabit habit(Used);
  ComeBackAtOnce(habit, 15);
  EXPECT_FALSE(habit.steady());
  ComeBackAtOnce(habit, 1);
  EXPECT_TRUE(habit.steady());
}

TEST(WaitHabits, GivenASteadyThreadWhenItIsBusyElsewhereThenThatIsSeenWithin32Returns) {
  WaitHabit habit(Used);
  ComeBackAtOnce(habit, 16);
  for (int i = 0; i < 32; ++i) {
    habit.Left(/*slept=*/true);
    BeBusy();
    habit.Returned();
  }
  EXPECT_FALSE(habit.steady());
  habit.Left(/*slept=*/true);
  BeBusy();
  habit.Returned();
  ComeBackAtOnce(habit, 15);
  EXPECT_FALSE(habit.steady()) << "counted from the last busy return";
}

TEST(WaitHabits, GivenASteadyThreadWhenItSleepsElsewhereThenThatIsSeenWithin32Returns) {
  WaitHabit habit(Used);
  ComeBackAtOnce(habit, 16);
  for (int i = 0; i < 32; ++i) {
    habit.Left(/*slept=*/true);
    ++used.sleeps;
    habit.Returned();
  }
  EXPECT_FALSE(habit.steady());
}

TEST(WaitHabits, GivenThisThreadWhenItComputesThenItsUseGrows) {
  const ThreadUse before = UseOfThisThread();
  while (UseOfThisThread().cpu_ns == before.cpu_ns) continue;
  EXPECT_GT(UseOfThisThread().cpu_ns, before.cpu_ns);
}

TEST(WaitHabits, GivenASteadyThreadWhenItNeedNotSleepThenItIsSteadyNoMore) {
  WaitHabit habit(Used);
  ComeBackAtOnce(habit, 16);
  for (int i = 0; i < 64; ++i) habit.Left(/*slept=*/false);
  EXPECT_TRUE(habit.steady());
  habit.Left(/*slept=*/false);
  EXPECT_FALSE(habit.steady());
}

TEST(WaitHabits, GivenASteadyThreadWhenWorkWasMissedThenItHasToShowAgain) {
  WaitHabit habit(Used);
  ComeBackAtOnce(habit, 16);
  habit.Missed();
  EXPECT_FALSE(habit.steady());
  ComeBackAtOnce(habit, 16);
  EXPECT_TRUE(habit.steady());
}

TEST(WaitHabits, GivenTwoCoresWhenAThreadLeavesOneAndWaitsAtTheOtherThenThatSaysNothing) {
  WaitHabit habit(Used);
  WaitHabit other(Used);
  ComeBackAtOnce(habit, 16);
  for (int i = 0; i < 64; ++i) {
    other.Left(/*slept=*/true);
    BeBusy();
    habit.Returned();
  }
  EXPECT_TRUE(habit.steady());
}

}  // namespace
}  // namespace qpip::lanai
