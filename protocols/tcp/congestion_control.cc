#include "protocols/tcp/congestion_control.h"

#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace {

constexpr CongestionPolicy kPolicies[kCongestionAlgorithms] = {
    {"reno", internal::AvoidReno, internal::CutReno, nullptr, nullptr, false},
    {"cubic", internal::AvoidCubic, internal::CutCubic, internal::PauseCubic, nullptr, false},
    {"dctcp", internal::AvoidReno, internal::CutDctcp, nullptr, internal::ObserveDctcp, true},
};

}  // namespace

const CongestionPolicy& PolicyOf(CongestionAlgorithm algorithm) {
  const uint32_t index = static_cast<uint32_t>(algorithm);
  return kPolicies[index < kCongestionAlgorithms ? index : 0];
}

namespace internal {

void AvoidReno(Tcb& tcb, uint32_t acked, uint64_t now) {
  static_cast<void>(now);
  // RFC 3465 2.1: a segment more for each window that is acknowledged. Of the window that is what
  // whole segments fit into: nothing can be sent in the rest.
  tcb.bytes_acked += acked;
  if (tcb.bytes_acked + tcb.snd.mss <= tcb.cwnd) return;
  const uint32_t usable = tcb.cwnd - tcb.cwnd % tcb.snd.mss;
  if (tcb.bytes_acked < usable) return;
  tcb.bytes_acked -= usable;
  GrowWindow(tcb, tcb.snd.mss);
}

uint32_t CutReno(Tcb& tcb, CongestionEvent event) {
  // RFC 5681 equation 4, without what limited transmit has sent beyond cwnd (3.2 step 2). In a
  // time-out cwnd may be that of a recovery.
  const uint32_t flight = FlightSize(tcb.snd);
  const bool loss = event == CongestionEvent::kLoss;
  return Maximum((loss ? Minimum(flight, tcb.cwnd) : flight) >> 1, tcb.snd.mss << 1);
}

}  // namespace internal
}  // namespace qpip::tcp
