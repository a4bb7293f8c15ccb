// Until when somebody waits.
#pragma once

#include <chrono>

namespace qpip::preload {

using Clock = std::chrono::steady_clock;
inline constexpr Clock::time_point kForEver = Clock::time_point::max();
/// Times of thirty years and more, which programs give to say "without an end", have none: added to
/// the clock they might be more than it counts.
constexpr bool IsForEver(std::chrono::seconds time) { return time.count() >= 1'000'000'000; }
/// When so much is over.
inline Clock::time_point DeadlineAfter(std::chrono::seconds time, std::chrono::nanoseconds rest) {
  return IsForEver(time) ? kForEver : Clock::now() + time + rest;
}

}  // namespace qpip::preload
