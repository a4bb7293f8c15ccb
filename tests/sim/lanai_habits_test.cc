// What the core makes of the way its threads wait. Time is the test's own, except where a thread's
// use of the processor is what is looked at.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "sim/lanai/habits.h"

namespace qpip::lanai {
namespace {

constexpr uint64_t kMs = 1'000'000;

uint32_t WaitsUntilItSpins(SpinHabit& habit, uint64_t now_ns) {
  uint32_t waits = 1;
  while (!habit.Worthwhile(now_ns)) ++waits;
  return waits;
}

TEST(SpinHabits, GivenANewThreadWhenItWaitsThenItSpins) {
  SpinHabit habit;
  EXPECT_TRUE(habit.Worthwhile(1));
}

TEST(SpinHabits, GivenSpinningThatNeverPaysWhenThreadsWaitThenOneInSixteenTries) {
  SpinHabit habit;
  uint32_t last = 0;
  for (const uint32_t waits : {2u, 4u, 8u, 16u, 16u}) {
    habit.Failed();
    last = WaitsUntilItSpins(habit, 1);
    EXPECT_EQ(last, waits);
  }
}

TEST(SpinHabits, GivenSpinningThatFailedWhenOneTryPaysThenAllSpinAgain) {
  SpinHabit habit;
  for (int i = 0; i < 5; ++i) habit.Failed();
  habit.Paid();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(habit.Worthwhile(1));
}

TEST(SpinHabits, GivenABusyProcessorWhenThreadsWaitThenNobodySpinsForEverLonger) {
  SpinHabit habit;
  uint64_t now_ns = 1;
  for (const uint64_t ms : {10, 20, 40, 80, 160, 320, 640, 1000, 1000}) {
    habit.Contended(now_ns);
    EXPECT_FALSE(habit.Worthwhile(now_ns + ms * kMs - 1));
    EXPECT_TRUE(habit.Worthwhile(now_ns + ms * kMs));
    now_ns += ms * kMs;
  }
}

TEST(SpinHabits, GivenAProcessorThatWasBusyWhenSpinningPaysThenTheNextTimeIsShortAgain) {
  SpinHabit habit;
  habit.Contended(1);
  habit.Contended(1);
  habit.Paid();
  habit.Contended(100 * kMs);
  EXPECT_TRUE(habit.Worthwhile(110 * kMs));
}

uint64_t CpuNs() {
  rusage usage = {};
  getrusage(RUSAGE_THREAD, &usage);
  const auto ns = [](const timeval& t) {
    return static_cast<uint64_t>(t.tv_sec) * 1000 * kMs + static_cast<uint64_t>(t.tv_usec) * 1000;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

void BeBusy() {
  for (const uint64_t begin_ns = CpuNs(); CpuNs() - begin_ns < kMs / 2;) {
  }
}

void ComeBackAtOnce(WaitHabit& habit, int times) {
  for (int i = 0; i < times; ++i) {
    habit.Left();
    habit.Returned();
  }
}

TEST(WaitHabits, GivenAThreadThatComesBackAtOnceWhenItHasDoneSoOftenThenItIsSteady) {
  WaitHabit habit;
  ComeBackAtOnce(habit, 15);
  EXPECT_FALSE(habit.steady());
  ComeBackAtOnce(habit, 1);
  EXPECT_TRUE(habit.steady());
}

TEST(WaitHabits, GivenASteadyThreadWhenItIsBusyElsewhereThenThatIsSeenWithin32Returns) {
  WaitHabit habit;
  ComeBackAtOnce(habit, 16);
  for (int i = 0; i < 32; ++i) {
    habit.Left();
    BeBusy();
    habit.Returned();
  }
  EXPECT_FALSE(habit.steady());
  habit.Left();
  BeBusy();
  habit.Returned();
  ComeBackAtOnce(habit, 15);
  EXPECT_FALSE(habit.steady()) << "counted from the last busy return";
}

TEST(WaitHabits, GivenTwoCoresWhenAThreadLeavesOneAndWaitsAtTheOtherThenThatSaysNothing) {
  WaitHabit habit;
  WaitHabit other;
  ComeBackAtOnce(habit, 16);
  for (int i = 0; i < 64; ++i) {
    other.Left();
    BeBusy();
    habit.Returned();
  }
  EXPECT_TRUE(habit.steady());
}

}  // namespace
}  // namespace qpip::lanai
