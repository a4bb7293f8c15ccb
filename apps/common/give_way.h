// Giving way before a sleep: whoever is to be waited for may share the processor.
#pragma once

#include <sched.h>

#include <chrono>

namespace qpip::apps {

/// Lets others run while that is short. Beside one that computes, the scheduler keeps whoever gives
/// way waiting for milliseconds, where one that sleeps and is waked runs at once: then it stays
/// away from it for a while. One thread.
class GiveWay {
 public:
  /// Returns false, having done nothing, while it has not paid.
  bool Try() {
    if (skip_ > 0) {
      --skip_;
      return false;
    }
    const auto before = std::chrono::steady_clock::now();
    sched_yield();
    const bool long_away = std::chrono::steady_clock::now() - before > kLong;
    penalty_ = long_away ? (penalty_ < kMostSkipped ? penalty_ * 2 : penalty_) : kLeastSkipped;
    if (long_away) skip_ = penalty_;
    return true;
  }

 private:
  static constexpr std::chrono::microseconds kLong{500};
  static constexpr int kLeastSkipped = 16;
  static constexpr int kMostSkipped = 4096;

  int skip_ = 0;  ///< attempts
  int penalty_ = kLeastSkipped;
};

}  // namespace qpip::apps
