#include "sim/lanai/futex.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>

#include "sim/lanai/clock.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace qpip::lanai {

namespace {

// A wait shorter than this many rounds (about two microseconds) is not worth a system call.
constexpr uint32_t kRoundsWithoutYield = 24;
constexpr uint32_t kRoundsPerYield = 4;

// A yield that took so many cycles let another thread run. When that was short, it may well have
// been the one this thread waits for, on the same processor: then the next yields come at once.
// When it was long, it was somebody with work of his own, to whom nothing is given before it is
// due.
constexpr uint64_t kSwitchCycles = 3000;
constexpr uint64_t kLongCycles = 100000;
// So long only somebody who uses up what the scheduler gives him has it.
constexpr uint64_t kSliceCycles = 500000;
constexpr uint32_t kYieldsRemembered = 16;
thread_local uint32_t yields_at_once = 0;

/// True: somebody with work of his own has had it.
bool Yield() {
  const uint64_t before = ReadCycles();
  sched_yield();
  const uint64_t took = ReadCycles() - before;
  if (took > kSwitchCycles && took < kLongCycles) {
    yields_at_once = kYieldsRemembered;
  } else if (yields_at_once > 0) {
    --yields_at_once;
  }
  return took >= kSliceCycles;
}

}  // namespace

void FutexWait(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) {
  timespec deadline = {};
  const timespec* timeout = nullptr;
  if (deadline_ns != UINT64_MAX) {
    deadline.tv_sec = static_cast<time_t>(deadline_ns / 1000000000ull);
    deadline.tv_nsec = static_cast<long>(deadline_ns % 1000000000ull);
    timeout = &deadline;
  }
  // The bitset form takes an absolute CLOCK_MONOTONIC time, the plain form a relative one.
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, timeout, nullptr,
          FUTEX_BITSET_MATCH_ANY);
}

void FutexWakeAll(const uint32_t* word) {
  syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, 0);
}

uint32_t LoadWord(const uint32_t* word) {
  // atomic_ref of a const object comes with C++26; a load does not write.
  return std::atomic_ref<uint32_t>(*const_cast<uint32_t*>(word)).load(std::memory_order_seq_cst);
}

bool Spinner::Pause() {
  ++rounds_;
  if (yields_at_once > 0 || (rounds_ > kRoundsWithoutYield && rounds_ % kRoundsPerYield == 0)) {
    return Yield();
  }
#if defined(__x86_64__)
  _mm_pause();
#endif
  return false;
}

}  // namespace qpip::lanai
