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

CycleClock::CycleClock()
    : first_cycles_(ReadCycles()), first_ns_(MonotonicNs()), invariant_(CounterIsInvariant()) {}

uint64_t CycleClock::Align(uint64_t cycles) {
  const uint64_t now_ns = MonotonicNs();
  if (!invariant_) return now_ns;
  // What was handed out last may be a few nanoseconds ahead of the real clock.
  const uint64_t since = cycles - base_cycles_;
  uint64_t not_before = base_ns_;
  if (window_ != 0) not_before += (std::min(since, window_) * scale_) >> 32;
  UpdateScale(cycles, now_ns);
  base_cycles_ = cycles;
  base_ns_ = std::max(now_ns, not_before);
  return base_ns_;
}

void CycleClock::UpdateScale(uint64_t cycles, uint64_t now_ns) {
  const uint64_t elapsed_ns = now_ns - first_ns_;
  if (elapsed_ns < kCalibrationNs || cycles <= first_cycles_) return;
  const double ratio =
      static_cast<double>(elapsed_ns) / static_cast<double>(cycles - first_cycles_);
  scale_ = static_cast<uint64_t>(ratio * 4294967296.0);
  window_ = kWindowCycles;
}

double CycleClock::NanosecondsPerCycle() {
#if defined(__x86_64__)
  uint64_t cycles = ReadCycles();
  uint64_t now_ns = MonotonicNs();
  while (now_ns - first_ns_ < kCalibrationNs || cycles <= first_cycles_) {
    cycles = ReadCycles();
    now_ns = MonotonicNs();
  }
  return static_cast<double>(now_ns - first_ns_) / static_cast<double>(cycles - first_cycles_);
#else
  return 1.0;
#endif
}

}  // namespace qpip::lanai
