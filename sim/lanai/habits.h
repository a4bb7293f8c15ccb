// What the application's threads have been doing lately, and what that lets the core save.
#pragma once

#include <atomic>
#include <cstdint>

namespace qpip::lanai {

/// Whether a thread that waits should spin before it sleeps: only while that has paid lately, and
/// while its processor has nobody else to run. Spinning pays only when the peer spins too, so one
/// that has stopped tries again now and then. One thread at a time (the core's lock).
class SpinHabit {
 public:
  /// Asked where a wait would begin to spin; counts.
  bool Worthwhile(uint64_t now_ns);
  /// What the thread waited for came while it spun.
  void Paid();
  /// It slept after all.
  void Failed();
  /// Giving way took so long that others have work for this processor: at once no more spinning,
  /// for 10 ms at first, then ever longer up to a second.
  void Contended(uint64_t now_ns);

 private:
  uint32_t skip_ = 0;     ///< waits that are not to spin
  uint32_t backoff_ = 0;  ///< what skip_ was last set to
  uint64_t contended_until_ns_ = 0;
  uint64_t contended_for_ns_ = 0;
};

/// Whether the application's threads come back to wait as soon as they have returned from it. Then
/// the core's thread need not look after the firmware every millisecond. Thread-safe.
class WaitHabit {
 public:
  /// A thread returns to the application, and takes note of how much it has run so far: every time
  /// as long as the habit is not steady, else now and then.
  void Left();
  /// It is back.
  void Returned();
  /// Was nobody busy or blocked elsewhere between the last 16 pairs of calls that were looked at?
  bool steady() const { return quick_.load(std::memory_order_relaxed) >= kQuickToBeSteady; }

 private:
  static constexpr uint32_t kQuickToBeSteady = 16;
  std::atomic<uint32_t> quick_{0};
};

}  // namespace qpip::lanai
