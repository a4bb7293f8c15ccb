#include "sim/lanai/habits.h"

#include <sys/resource.h>

#include <algorithm>

namespace qpip::lanai {

namespace {

constexpr uint32_t kMostWaitsSkipped = 15;
constexpr uint64_t kFirstContentionNs = 10'000'000;
constexpr uint64_t kLongestContentionNs = 1'000'000'000;

// Asking the kernel costs some hundred nanoseconds.
constexpr uint32_t kReturnsPerSample = 32;
constexpr uint64_t kBusyNs = 100'000;

/// What a thread had done when it last left a core.
struct Sample {
  const void* of = nullptr;  ///< whose; nullptr: none
  uint64_t cpu_ns = 0;
  long sleeps = 0;
};
thread_local Sample sample;
thread_local uint32_t returns = 0;

Sample TakeSample(const void* of) {
  rusage usage = {};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto nanoseconds = [](const timeval& t) {
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 +
           static_cast<uint64_t>(t.tv_usec) * 1000;
  };
  return {of, nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime), usage.ru_nvcsw};
}

}  // namespace

bool SpinHabit::Worthwhile(uint64_t now_ns) {
  if (now_ns < contended_until_ns_) return false;
  if (skip_ == 0) return true;
  --skip_;
  return false;
}

void SpinHabit::Paid() {
  skip_ = backoff_ = 0;
  contended_for_ns_ = 0;
}

void SpinHabit::Failed() {
  backoff_ = std::min(2 * backoff_ + 1, kMostWaitsSkipped);
  skip_ = backoff_;
}

void SpinHabit::Contended(uint64_t now_ns) {
  contended_for_ns_ = std::clamp(2 * contended_for_ns_, kFirstContentionNs, kLongestContentionNs);
  contended_until_ns_ = now_ns + contended_for_ns_;
}

void WaitHabit::Left() {
  if (!steady() || ++returns % kReturnsPerSample == 0) sample = TakeSample(this);
}

void WaitHabit::Returned() {
  if (sample.of != this) return;
  const Sample now = TakeSample(this);
  // Waiting for a processor is neither busy nor blocked: it says nothing of the application.
  if (now.cpu_ns - sample.cpu_ns > kBusyNs || now.sleeps != sample.sleeps) {
    quick_.store(0, std::memory_order_relaxed);
  } else if (!steady()) {
    quick_.fetch_add(1, std::memory_order_relaxed);
  }
  sample.of = nullptr;
}

}  // namespace qpip::lanai
