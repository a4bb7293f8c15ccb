// CUBIC: RFC 9438, in whole bytes and ticks of 2^20 ns, without floating point.
//
//     W_cubic(t) = C * (t - K)^3 + W_max,  C = 0.4 segments / s^3
//
// With d = t - K in ticks (1.048576 ms) the cubic term is d^3 * SMSS * 0.4 * 0.001048576^3 bytes,
// which is d^3 * SMSS * 1014.15 / 2^41.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

constexpr uint32_t kTickShift = 20;           // nanoseconds to ticks
constexpr uint32_t kCubeScale = 1014;         // C, as above
constexpr uint32_t kInverseCubeScale = 1034;  // 2^20 / kCubeScale
constexpr uint64_t kLongestTicks = 1u << 18;  // 275 s either side of the plateau: d^3 is 54 bits

/// bytes * beta_cubic, 0.7; and, for fast convergence, * (1 + beta_cubic) / 2 (section 4.7).
uint32_t TimesBeta(uint32_t bytes) { return static_cast<uint32_t>(uint64_t{bytes} * 717 >> 10); }
uint32_t TimesConvergence(uint32_t bytes) {
  return static_cast<uint32_t>(uint64_t{bytes} * 870 >> 10);
}

/// The largest integer whose cube is at most `value`, digit by digit.
uint32_t CubeRoot(uint64_t value) {
  uint64_t root = 0;
  for (int32_t shift = 63; shift >= 0; shift -= 3) {
    root <<= 1;
    const uint64_t step = 3 * root * (root + 1) + 1;
    if ((value >> shift) < step) continue;
    value -= step << shift;
    ++root;
  }
  return static_cast<uint32_t>(root);
}

/// Equation 2: how long the window takes to climb `bytes`.
uint32_t PlateauTicks(uint32_t bytes, uint32_t mss) {
  return CubeRoot(((uint64_t{bytes} << 21) / mss) * kInverseCubeScale);
}

/// Equation 1.
uint32_t CubicWindow(const Tcb& tcb, uint64_t ticks) {
  const CubicState& cubic = tcb.policy.cubic;
  const bool before = ticks < cubic.plateau_ticks;
  uint64_t distance = before ? cubic.plateau_ticks - ticks : ticks - cubic.plateau_ticks;
  if (distance > kLongestTicks) distance = kLongestTicks;
  const uint64_t cube = distance * distance * distance;
  const uint64_t bytes = (cube >> 20) * tcb.snd.mss * kCubeScale >> 21;
  if (before) return bytes < cubic.window_max ? cubic.window_max - static_cast<uint32_t>(bytes) : 0;
  const uint64_t window = cubic.window_max + bytes;
  return window < kLargestWindow ? static_cast<uint32_t>(window) : kLargestWindow;
}

/// Section 4.2: a stage of congestion avoidance begins.
void BeginEpoch(Tcb& tcb, uint64_t now) {
  CubicState& cubic = tcb.policy.cubic;
  cubic.in_epoch = true;
  cubic.epoch_start = now;
  cubic.last_ack_at = now;
  cubic.growth = 0;
  cubic.reno_growth = 0;
  cubic.reno_window = tcb.cwnd;
  // Sections 4.8 and 4.10: after a time-out, or a slow start that no loss has ended, the plateau is
  // here.
  if (cubic.after_timeout || cubic.window_max <= tcb.cwnd) {
    cubic.window_max = tcb.cwnd;
    cubic.plateau_ticks = 0;
  } else {
    cubic.plateau_ticks = PlateauTicks(cubic.window_max - tcb.cwnd, tcb.snd.mss);
  }
  cubic.after_timeout = false;
}

/// Equation 4: what Reno would have by now. alpha_cubic is 3 * 0.3 / 1.7 = 9 / 17 up to cwnd_prior,
/// and 1 from there on.
void GrowRenoWindow(Tcb& tcb, uint32_t acked) {
  CubicState& cubic = tcb.policy.cubic;
  const uint32_t alpha = cubic.reno_window < cubic.prior_window ? 9 : 17;
  const uint64_t unit = uint64_t{tcb.cwnd} * 17;
  cubic.reno_growth += uint64_t{acked} * tcb.snd.mss * alpha;
  if (cubic.reno_growth < unit) return;
  const uint64_t bytes = cubic.reno_growth / unit;
  cubic.reno_growth -= bytes * unit;
  cubic.reno_window = Minimum(cubic.reno_window + static_cast<uint32_t>(bytes), kLargestWindow);
}

/// Sections 4.4 and 4.5: towards where the curve is in a round trip, at most half as much again.
void GrowTowards(Tcb& tcb, uint32_t target, uint32_t acked) {
  CubicState& cubic = tcb.policy.cubic;
  target = Minimum(target, tcb.cwnd + (tcb.cwnd >> 1));
  if (target <= tcb.cwnd) return;
  cubic.growth += uint64_t{acked} * (target - tcb.cwnd);
  if (cubic.growth < tcb.cwnd) return;
  const uint64_t bytes = cubic.growth / tcb.cwnd;
  cubic.growth -= bytes * tcb.cwnd;
  GrowWindow(tcb, static_cast<uint32_t>(bytes));
}

}  // namespace

void AvoidCubic(Tcb& tcb, uint32_t acked, uint64_t now) {
  CubicState& cubic = tcb.policy.cubic;
  if (!cubic.in_epoch) BeginEpoch(tcb, now);
  cubic.last_ack_at = now;
  const uint64_t ticks = (now - cubic.epoch_start) >> kTickShift;
  GrowRenoWindow(tcb, acked);
  if (CubicWindow(tcb, ticks) < cubic.reno_window) {  // section 4.3
    if (cubic.reno_window > tcb.cwnd) tcb.cwnd = cubic.reno_window;
    return;
  }
  const uint64_t round_trip = MicrosToNanos(tcb.rtt.srtt_us >> 3) >> kTickShift;
  GrowTowards(tcb, CubicWindow(tcb, ticks + round_trip), acked);
}

/// Sections 4.6 and 4.7.
uint32_t CutCubic(Tcb& tcb, CongestionEvent event) {
  CubicState& cubic = tcb.policy.cubic;
  // A window that was not used up is not what the path has borne.
  const uint32_t window = Minimum(tcb.cwnd, Maximum(FlightSize(tcb.snd), tcb.snd.mss));
  cubic.window_max = tcb.cwnd < cubic.window_max ? TimesConvergence(window) : window;
  cubic.prior_window = window;
  cubic.in_epoch = false;
  cubic.after_timeout = event == CongestionEvent::kTimeout;
  return Maximum(TimesBeta(window), tcb.snd.mss << 1);
}

void PauseCubic(Tcb& tcb, uint64_t now) {
  CubicState& cubic = tcb.policy.cubic;
  if (!cubic.in_epoch) return;
  // Section 5.8: time in which the window could not be used up does not count.
  cubic.epoch_start += now - cubic.last_ack_at;
  cubic.last_ack_at = now;
}

}  // namespace qpip::tcp::internal
