// Time on a host thread: the monotonic clock, and the processor's cycle counter turned into it.
#pragma once

#include <time.h>

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace qpip::lanai {

/// CLOCK_MONOTONIC in nanoseconds: the time base of futex deadlines. Thread-safe.
inline uint64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000ull + static_cast<uint64_t>(now.tv_nsec);
}

/// The cheapest counter of elapsed time there is: the time stamp counter, or nanoseconds on a
/// processor whose counter this file does not know. Thread-safe.
inline uint64_t ReadCycles() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return MonotonicNs();
#endif
}

/// Nanoseconds of CLOCK_MONOTONIC at the cost of reading the cycle counter. It is re-aligned with
/// the real clock every fraction of a millisecond, so it neither drifts from the kernel's
/// deadlines nor depends on a calibration run at start; it never goes backwards. Not thread-safe:
/// it belongs to whoever holds the core.
class CycleClock {
 public:
  CycleClock();

  uint64_t NowNs() {
    const uint64_t cycles = ReadCycles();
    const uint64_t since = cycles - base_cycles_;
    if (since < window_) [[likely]]
      return base_ns_ + ((since * scale_) >> 32);
    return Align(cycles);
  }

  /// Length of one cycle as measured since construction; waits up to a few milliseconds when
  /// that was only just now.
  double NanosecondsPerCycle() const;

 private:
  /// Both clocks at one moment.
  struct Moment {
    uint64_t cycles = 0;
    uint64_t ns = 0;
  };
  static Moment ReadBoth();
  uint64_t Align(uint64_t cycles);

  uint64_t base_cycles_ = 0;
  uint64_t base_ns_ = 0;
  uint64_t window_ = 0;  ///< cycles the present base is good for; 0: always ask the kernel
  uint64_t scale_ = 0;   ///< nanoseconds a cycle, 32 fraction bits
  Moment first_;
  bool invariant_ = false;  ///< the counter runs at one rate in all power states
};

}  // namespace qpip::lanai
