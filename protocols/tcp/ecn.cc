// Explicit congestion notification: RFC 3168, and RFC 8257's exact echo.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {

uint8_t EcnSynFlags(const Tcb& tcb) {
  if (tcb.state == State::kSynReceived) return tcb.ecn.on ? kEce : 0;
  return tcb.ecn.offer ? kEce | kCwr : 0;
}

void NegotiateEcn(Tcb& tcb, const Header& syn) {
  const uint8_t bits = syn.flags & (kEce | kCwr);
  if (syn.Has(kAck)) {
    tcb.ecn.on = tcb.ecn.offer && bits == kEce;  // 6.1.1: ECN-setup SYN-ACK
  } else {
    tcb.ecn.on = tcb.options.ecn != EcnMode::kOff && bits == (kEce | kCwr);
  }
}

void EcnOnText(Tcb& tcb, const Segment& segment) {
  if (!tcb.ecn.on) return;
  const bool marked = segment.ecn == EcnCodepoint::kCongestionExperienced;
  if (PolicyOf(tcb.options.congestion).exact_echo) {
    if (segment.text_length == 0) return;
    if (marked != tcb.ecn.echo) tcb.owed.ack_now = true;  // RFC 8257 section 3.2
    tcb.ecn.echo = marked;
    return;
  }
  if (segment.header.Has(kCwr)) tcb.ecn.echo = false;  // 6.1.3
  if (marked) tcb.ecn.echo = true;
}

void EcnOnAck(Tcb& tcb, const Header& header, uint32_t acked) {
  if (!tcb.ecn.on) return;
  const CongestionPolicy& policy = PolicyOf(tcb.options.congestion);
  const bool marked = header.Has(kEce);
  if (policy.observe != nullptr && acked != 0) policy.observe(tcb, acked, marked);
  // 6.1.2: once for a window of data. The peer echoes until it sees CWR, which is on the text that
  // starts at cut_until.
  const bool new_window = tcb.snd.una.After(tcb.ecn.cut_until);
  if (new_window) tcb.ecn.cut_until = tcb.snd.una - 1;  // left behind, it would be ahead in 2 GiB
  if (!marked || !new_window) return;
  if (tcb.in_recovery || tcb.timeout_recovery || tcb.go_back) return;
  tcb.ssthresh = policy.cut(tcb, CongestionEvent::kMark);
  tcb.cwnd = Minimum(tcb.cwnd, tcb.ssthresh);
  tcb.bytes_acked = 0;
  tcb.hystart.done = true;
  tcb.hystart.rounds_left = 0;
  tcb.undo.possible = false;
  NoteWindowCut(tcb);
}

void NoteWindowCut(Tcb& tcb) {
  if (!tcb.ecn.on) return;
  tcb.ecn.window_cut = true;
  tcb.ecn.cut_until = tcb.snd.max;
}

}  // namespace qpip::tcp::internal
