// DCTCP: RFC 8257. The window is cut in proportion to how much of it the network has marked. Loss
// is met as Reno does, and so is growth.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

constexpr uint32_t kAlphaOne = 1024;
constexpr uint32_t kGainShift = 4;  // g = 1/16, section 4.2

}  // namespace

/// Section 3.3: alpha is brought up to date once a window.
void ObserveDctcp(Tcb& tcb, uint32_t acked, bool marked) {
  DctcpState& dctcp = tcb.policy.dctcp;
  dctcp.acked += acked;
  if (marked) dctcp.marked += acked;
  if (dctcp.started && tcb.snd.una.AtOrBefore(dctcp.window_end)) return;
  if (dctcp.started && dctcp.acked != 0) {
    const uint32_t share =
        static_cast<uint32_t>((uint64_t{dctcp.marked} << 10) / dctcp.acked);  // M, times 1024
    // Rounded so that it reaches zero when nothing is marked.
    const uint32_t decay = dctcp.alpha >> kGainShift;
    dctcp.alpha -= decay != 0 ? decay : dctcp.alpha;
    dctcp.alpha = Minimum(dctcp.alpha + (share >> kGainShift), kAlphaOne);
  }
  dctcp.started = true;
  dctcp.acked = 0;
  dctcp.marked = 0;
  dctcp.window_end = tcb.snd.nxt;
}

uint32_t CutDctcp(Tcb& tcb, CongestionEvent event) {
  if (event != CongestionEvent::kMark) return CutReno(tcb, event);  // section 3.4
  const uint64_t cut = uint64_t{tcb.cwnd} * tcb.policy.dctcp.alpha >> 11;
  return Maximum(tcb.cwnd - static_cast<uint32_t>(cut), tcb.snd.mss << 1);
}

}  // namespace qpip::tcp::internal
