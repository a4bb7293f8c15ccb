// HyStart++ (RFC 9406): slow start that ends when round trips grow longer, before it has lost a
// window's worth. A round is what was in flight when it began. Its round-trip times are RACK's, so
// it serves connections with SACK.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

// Section 4.3.
constexpr uint64_t kMinThresholdNs = 4 * 1000 * 1000;
constexpr uint64_t kMaxThresholdNs = 16 * 1000 * 1000;
constexpr uint8_t kRoundSamples = 8;
constexpr uint8_t kConservativeRounds = 5;
constexpr uint32_t kLimitShift = 3;   // L = 8, unpaced
constexpr uint32_t kGrowthShift = 2;  // CSS_GROWTH_DIVISOR = 4

void BeginRound(Tcb& tcb) {
  HyStart& h = tcb.hystart;
  h.last_round_min_ns = h.round_min_ns;
  h.round_min_ns = kNever;
  h.samples = 0;
  h.round_end = tcb.snd.nxt;
  h.in_round = true;
}

uint64_t Threshold(const HyStart& h) {
  const uint64_t eighth = h.last_round_min_ns >> 3;
  if (eighth < kMinThresholdNs) return kMinThresholdNs;
  return eighth < kMaxThresholdNs ? eighth : kMaxThresholdNs;
}

/// Section 4.2: round trips have grown.
bool HasGrown(const HyStart& h) {
  return h.samples >= kRoundSamples && h.round_min_ns != kNever && h.last_round_min_ns != kNever &&
         h.round_min_ns >= h.last_round_min_ns + Threshold(h);
}

void EndRound(Tcb& tcb) {
  HyStart& h = tcb.hystart;
  const bool last = h.rounds_left == 1;
  if (h.rounds_left != 0) --h.rounds_left;
  if (last) {
    tcb.ssthresh = tcb.cwnd;  // congestion avoidance
    h.done = true;
  }
  BeginRound(tcb);
}

}  // namespace

void HyStartOnAck(Tcb& tcb, uint64_t round_trip_ns) {
  HyStart& h = tcb.hystart;
  if (h.done || !tcb.options.hystart || tcb.cwnd >= tcb.ssthresh) return;
  if (!h.in_round) BeginRound(tcb);
  if (round_trip_ns != kNever) {
    if (round_trip_ns < h.round_min_ns) h.round_min_ns = round_trip_ns;
    if (h.samples < 0xff) ++h.samples;
  }
  if (h.rounds_left == 0) {
    if (HasGrown(h)) {
      h.baseline_min_ns = h.round_min_ns;
      h.rounds_left = kConservativeRounds;
    }
  } else if (h.samples >= kRoundSamples && h.round_min_ns < h.baseline_min_ns) {
    // Back to what it was: the growth was jitter.
    h.rounds_left = 0;
    h.baseline_min_ns = kNever;
  }
  if (tcb.snd.una.AtOrAfter(h.round_end)) EndRound(tcb);
}

uint32_t HyStartGrowth(Tcb& tcb, uint32_t acked) {
  HyStart& h = tcb.hystart;
  const uint32_t bytes = tcb.options.pacing ? acked : Minimum(acked, tcb.snd.mss << kLimitShift);
  if (h.rounds_left == 0) return bytes;
  h.growth += bytes;
  const uint32_t grown = h.growth >> kGrowthShift;
  h.growth -= grown << kGrowthShift;
  return grown;
}

}  // namespace qpip::tcp::internal
