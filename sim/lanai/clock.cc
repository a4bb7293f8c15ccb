#include "sim/lanai/clock.h"

#include <algorithm>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace qpip::lanai {

namespace {

// A base is used for at most this many cycles (0.8 ms at 2.6 GHz): a scale that is wrong by
// 100 ppm is then wrong by 80 ns.
constexpr uint64_t kWindowCycles = 1ull << 21;
// Before so much time has been seen, reading both clocks is too coarse to divide one by the other.
constexpr uint64_t kCalibrationNs = 2000000;
// Reading the kernel's clock takes some 50 cycles; anything close to it is a good pair.
constexpr uint64_t kGoodPairCycles = 400;
constexpr int kPairAttempts = 8;

bool CounterIsInvariant() {
#if defined(__x86_64__)
  // Intel SDM volume 3, 18.17.1: CPUID.80000007H:EDX[8].
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) != 0 && (edx & (1u << 8)) != 0;
#else
  return false;
#endif
}

}  // namespace

CycleClock::CycleClock() : first_(ReadBoth()), invariant_(CounterIsInvariant()) {}

// A thread that loses its processor between the two readings would pair moments that are
// milliseconds apart: the closest of a few pairs is taken, the first good one as a rule.
CycleClock::Moment CycleClock::ReadBoth() {
  Moment best;
  uint64_t best_gap = UINT64_MAX;
  for (int attempt = 0; attempt < kPairAttempts && best_gap > kGoodPairCycles; ++attempt) {
    const uint64_t before = ReadCycles();
    const uint64_t ns = MonotonicNs();
    const uint64_t gap = ReadCycles() - before;
    if (gap >= best_gap) continue;
    best_gap = gap;
    best = {before + gap / 2, ns};
  }
  return best;
}

uint64_t CycleClock::Align(uint64_t cycles) {
  if (!invariant_) return MonotonicNs();
  // What was handed out last may be a few nanoseconds ahead of the real clock.
  const uint64_t since = cycles - base_cycles_;
  uint64_t not_before = base_ns_;
  if (window_ != 0) not_before += (std::min(since, window_) * scale_) >> 32;
  const Moment now = ReadBoth();
  if (now.ns - first_.ns >= kCalibrationNs && now.cycles > first_.cycles) {
    const double ratio =
        static_cast<double>(now.ns - first_.ns) / static_cast<double>(now.cycles - first_.cycles);
    scale_ = static_cast<uint64_t>(ratio * 4294967296.0);
    window_ = kWindowCycles;
  }
  base_cycles_ = now.cycles;
  base_ns_ = std::max(now.ns, not_before);
  return base_ns_;
}

double CycleClock::NanosecondsPerCycle() const {
#if defined(__x86_64__)
  Moment now = ReadBoth();
  while (now.ns - first_.ns < kCalibrationNs || now.cycles <= first_.cycles) now = ReadBoth();
  return static_cast<double>(now.ns - first_.ns) / static_cast<double>(now.cycles - first_.cycles);
#else
  return 1.0;
#endif
}

}  // namespace qpip::lanai
