#include "sim/lanai/habits.h"

#include <sys/resource.h>

#include <algorithm>

namespace qpip::lanai {

namespace {

constexpr uint32_t kMostWaitsSkipped = 15;
constexpr uint64_t kShortSleepNs = 200'000;
constexpr uint64_t kLongSpinNs = 100'000;
constexpr uint32_t kLongSpins = 4;
constexpr uint32_t kWaitsBetweenLongSpins = 24;
constexpr uint32_t kLongSleepsToBelieve = 8;
constexpr uint64_t kFirstContentionNs = 1'000'000;
constexpr uint64_t kSameContentionNs = 50'000'000;
constexpr uint32_t kContentionsToBelieve = 4;

// Threads of ports that have been waked or given way to need some ten microseconds before they wait
// again, with cold caches thirty. Whoever has work of his own keeps a processor for longer than all
// of them.
constexpr uint64_t kLongAwayNs = 500'000;
constexpr uint64_t kLongTurnNs = 60'000;

// Asking the kernel costs some hundred nanoseconds.
constexpr uint32_t kReturnsPerSample = 32;
constexpr uint64_t kBusyNs = 100'000;

/// What a thread had used when it last left a core.
struct Sample {
  const void* of = nullptr;  ///< whose; nullptr: none
  ThreadUse use;
};
thread_local Sample sample;
thread_local uint32_t returns = 0;

}  // namespace

ThreadUse UseOfThisThread() {
  rusage usage = {};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto nanoseconds = [](const timeval& t) {
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 +
           static_cast<uint64_t>(t.tv_usec) * 1000;
  };
  return {nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime),
          static_cast<uint64_t>(usage.ru_nvcsw)};
}

void Contention::Note(uint64_t now_ns) {
  // Those that come long after the last are others.
  if (now_ns > until_ns_ + std::max(8 * for_ns_, kSameContentionNs)) {
    for_ns_ = 0;
    times_ = 0;
  }
  if (++times_ < kContentionsToBelieve) {
    until_ns_ = now_ns;
    return;
  }
  for_ns_ = std::clamp(2 * for_ns_, kFirstContentionNs, longest_ns_);
  until_ns_ = now_ns + for_ns_;
}

uint64_t SpinHabit::Budget(uint64_t now_ns, uint64_t spin_ns) {
  if (spin_ns == 0 || !contention_.over(now_ns)) return 0;
  if (skip_ != 0) {
    --skip_;
    return 0;
  }
  if (long_spins_ == kLongSpins) {
    if (++waits_since_long_ < kWaitsBetweenLongSpins) return spin_ns;
    long_spins_ = waits_since_long_ = 0;
  }
  if (!slept_briefly_) return spin_ns;
  ++long_spins_;
  return std::max(spin_ns, kLongSpinNs);
}

void SpinHabit::Paid() {
  skip_ = backoff_ = long_sleeps_ = 0;
  slept_briefly_ = false;
  long_spins_ = waits_since_long_ = 0;
}

void SpinHabit::Slept(bool spun, uint64_t slept_ns) {
  slept_briefly_ = slept_ns < kShortSleepNs;
  if (slept_briefly_) {
    skip_ = backoff_ = long_sleeps_ = 0;
    return;
  }
  if (!spun || ++long_sleeps_ < kLongSleepsToBelieve) return;
  backoff_ = std::min(2 * backoff_ + 1, kMostWaitsSkipped);
  skip_ = backoff_;
}

void GiveWayHabit::Back(uint64_t now_ns, uint64_t away_ns, uint32_t turns) {
  if (away_ns >= kLongAwayNs && away_ns / (turns + 1) >= kLongTurnNs) contention_.Note(now_ns);
}

void WaitHabit::Left(bool slept) {
  if (!slept) {
    sample.of = nullptr;
    if (awake_.load(std::memory_order_relaxed) < kAwakeToEnd) {
      awake_.fetch_add(1, std::memory_order_relaxed);
    } else if (quick_.load(std::memory_order_relaxed) != 0) {
      quick_.store(0, std::memory_order_relaxed);
    }
    return;
  }
  awake_.store(0, std::memory_order_relaxed);
  if (!steady() || ++returns % kReturnsPerSample == 0) sample = {this, use_()};
}

void WaitHabit::Returned() {
  if (sample.of != this) return;
  const ThreadUse now = use_();
  // Waiting for a processor is neither busy nor blocked: it says nothing of the application.
  if (now.cpu_ns - sample.use.cpu_ns > kBusyNs || now.sleeps != sample.use.sleeps) {
    quick_.store(0, std::memory_order_relaxed);
  } else if (!steady()) {
    quick_.fetch_add(1, std::memory_order_relaxed);
  }
  sample.of = nullptr;
}

}  // namespace qpip::lanai
