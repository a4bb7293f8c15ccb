// Attempts that fail are made ever more rarely, and again when the lack may have passed.
#include "sim/wire/backoff.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace qpip::wire::test {
namespace {

TEST(Backoff, GivenFewFailuresWhenAskedThenEachAttemptIsMade) {
  Backoff backoff;
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(backoff.Assumed(0), 0) << i;
    backoff.Note(ENOSPC, 0);
  }
  EXPECT_EQ(backoff.Assumed(0), ENOSPC);
}

TEST(Backoff, GivenManyFailuresWhenAskedAllTheWhileThenAttemptsGrowRareAndNeverStop) {
  Backoff backoff;
  uint64_t attempts = 0, latest_ns = 0, longest_ns = 0;
  constexpr uint64_t kSecond = 1'000'000'000;
  for (uint64_t now_ns = 0; now_ns < 10 * kSecond; now_ns += 20'000) {
    if (backoff.Assumed(now_ns) != 0) continue;
    ++attempts;
    longest_ns = std::max(longest_ns, now_ns - latest_ns);
    latest_ns = now_ns;
    backoff.Note(EMFILE, now_ns);
  }
  EXPECT_LT(attempts, 100u);
  EXPECT_LE(longest_ns, kSecond / 5);
}

TEST(Backoff, GivenASuccessWhenItFailsAgainThenTheNextAttemptsAreMadeAtOnce) {
  Backoff backoff;
  for (int i = 0; i < 20; ++i) backoff.Note(ENOSPC, 0);
  EXPECT_EQ(backoff.Assumed(1), ENOSPC);
  EXPECT_EQ(backoff.Assumed(1'000'000'000), 0);
  backoff.Note(0, 1'000'000'000);
  EXPECT_EQ(backoff.Assumed(1'000'000'000), 0);
  backoff.Note(ENOSPC, 1'000'000'000);
  EXPECT_EQ(backoff.Assumed(1'000'000'000), 0);
}

}  // namespace
}  // namespace qpip::wire::test
