// What the application's threads have been doing lately, and what that lets the core save.
#pragma once

#include <atomic>
#include <cstdint>

namespace qpip::lanai {

/// Whether others have had work of their own for this processor lately, so that who lets them have
/// it loses by that. One alone may be anything: believed from the fourth time in short succession
/// on, for a millisecond at first, then ever longer, up to `longest_ns`. Nothing but time ends it.
class Contention {
 public:
  explicit Contention(uint64_t longest_ns) : longest_ns_(longest_ns) {}
  void Note(uint64_t now_ns);
  bool over(uint64_t now_ns) const { return now_ns >= until_ns_; }

 private:
  const uint64_t longest_ns_;
  uint32_t times_ = 0;  ///< in short succession
  uint64_t until_ns_ = 0;
  uint64_t for_ns_ = 0;
};

/// Whether a thread that waits should spin before it sleeps: only while its processor has nobody
/// else to run, and what it waits for comes soon. Spinning pays when the peer spins too: as long as
/// sleeps are about as short as two wake-ups, each end goes on trying. One thread at a time (the
/// core's lock).
class SpinHabit {
 public:
  /// For how long a wait that would begin to spin now does so, `spin_ns` being what the user
  /// allows; 0: not at all. Counts. Longer than that, a few times, behind short sleeps: two ends
  /// that wake each other up find back to spinning.
  uint64_t Budget(uint64_t now_ns, uint64_t spin_ns);
  /// What the thread waited for came while it spun.
  void Paid();
  /// It slept for `slept_ns`, perhaps after it had spun.
  void Slept(bool spun, uint64_t slept_ns);
  /// Giving way took so long that others have work for this processor. There is no spinning as long
  /// as that is believed; that spinning pays in between changes nothing.
  void Contended(uint64_t now_ns) { contention_.Note(now_ns); }

 private:
  uint32_t skip_ = 0;     ///< waits that are not to spin
  uint32_t backoff_ = 0;  ///< what skip_ was last set to
  bool slept_briefly_ = false;
  uint32_t long_spins_ = 0;        ///< that have brought nothing
  uint32_t waits_since_long_ = 0;  ///< when there have been too many of these
  uint32_t long_sleeps_ = 0;       ///< one behind the other
  Contention contention_{1'000'000'000};
};

/// Whether a thread that is about to sleep should first let others have the processor, once. Where
/// many ports of a fabric share it, one of them brings what the thread waits for, and nobody has to
/// wake it; where nobody else is to run it costs next to nothing. But to somebody who uses up what
/// the scheduler gives him nothing is given. One thread at a time (the core's lock).
class GiveWayHabit {
 public:
  bool Pays(uint64_t now_ns) const { return contention_.over(now_ns); }
  /// It has, for `away_ns`, in which threads of the fabric's other ports had `turns` turns.
  void Back(uint64_t now_ns, uint64_t away_ns, uint32_t turns);

 private:
  Contention contention_{64'000'000};
};

/// What the calling thread has used so far.
struct ThreadUse {
  uint64_t cpu_ns = 0;
  uint64_t sleeps = 0;  ///< times that it gave the processor away to wait for something
};
ThreadUse UseOfThisThread();

/// Whether the application's threads come back to wait as soon as they have returned from it. Then
/// the core's thread need not look after the firmware every millisecond. Thread-safe.
class WaitHabit {
 public:
  /// `use`: where a thread's use comes from; tests have their own.
  explicit WaitHabit(ThreadUse (*use)() = UseOfThisThread) : use_(use) {}
  /// A thread returns to the application. When it has slept it takes note of how much it has run so
  /// far: every time as long as the habit is not steady, else now and then. One that need not sleep
  /// for many times in a row has no use for a steady habit, which ends.
  void Left(bool slept);
  /// It is back.
  void Returned();
  /// There was work that nobody had come back for.
  void Missed() { quick_.store(0, std::memory_order_relaxed); }
  /// Was nobody busy or blocked elsewhere between the last 16 pairs of calls that were looked at?
  bool steady() const { return quick_.load(std::memory_order_relaxed) >= kQuickToBeSteady; }

 private:
  static constexpr uint32_t kQuickToBeSteady = 16;
  static constexpr uint32_t kAwakeToEnd = 64;
  ThreadUse (*const use_)();
  std::atomic<uint32_t> quick_{0};
  std::atomic<uint32_t> awake_{0};  ///< waits without sleep in a row
};

}  // namespace qpip::lanai
