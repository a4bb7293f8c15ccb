// Times that are longer than the clock counts.
#include "preload/core/deadline.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <limits>
#include <optional>

#include "preload/core/options.h"

namespace qpip::preload {
namespace {

using namespace std::chrono_literals;

constexpr time_t kLongest = std::numeric_limits<time_t>::max();

TEST(Deadline, GivenATimeThenItIsSoFarAway) {
  const Clock::time_point before = Clock::now();
  const Clock::time_point deadline = DeadlineAfter(3600s, 5ns);
  EXPECT_GE(deadline, before + 3600s + 5ns);
  EXPECT_LE(deadline, Clock::now() + 3600s + 5ns);
}

TEST(Deadline, GivenTheLongestTimeThenThereIsNone) {
  EXPECT_EQ(DeadlineAfter(std::chrono::seconds(kLongest), 999999999ns), kForEver);
}

TEST(Deadline, GivenASocketWithTheLongestTimeOutThenItHasNone) {
  Options options(AF_INET6);
  const timeval hour = {.tv_sec = 3600, .tv_usec = 0};
  options.Note(SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof hour);
  EXPECT_EQ(options.receive_timeout(), 3600s);
  const timeval longest = {.tv_sec = kLongest, .tv_usec = 0};
  options.Note(SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
  EXPECT_EQ(options.receive_timeout(), std::nullopt);
}

}  // namespace
}  // namespace qpip::preload
