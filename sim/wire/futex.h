// The two futex calls, on a word that lives in one process or in memory that several share.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>

namespace qpip::wire {

/// Blocks while `word == expected`, until woken or CLOCK_MONOTONIC reaches `deadline_ns`
/// (UINT64_MAX: no deadline). May return early.
inline void FutexWait(std::atomic<uint32_t>* word, uint32_t expected, uint64_t deadline_ns,
                      bool shared) {
  timespec deadline = {};
  deadline.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000);
  deadline.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000);
  // WAIT_BITSET because its time-out is absolute.
  ::syscall(SYS_futex, word, FUTEX_WAIT_BITSET | (shared ? 0 : FUTEX_PRIVATE_FLAG), expected,
            deadline_ns == UINT64_MAX ? nullptr : &deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
}

/// Wakes all who wait on `word`.
inline void FutexWakeAll(std::atomic<uint32_t>* word, bool shared) {
  ::syscall(SYS_futex, word, FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG), INT_MAX, nullptr,
            nullptr, 0);
}

/// CLOCK_MONOTONIC in nanoseconds.
inline uint64_t MonotonicNs() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace qpip::wire
