// Congestion control: RFC 5681 with byte counting (RFC 3465), NewReno recovery (RFC 6582), limited
// transmit (RFC 3042), the initial window of RFC 6928, pacing. How the window grows in congestion
// avoidance and to what it is cut is the policy's (congestion_control.h); what repairs losses on
// connections with SACK is in recovery.cc.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

/// What a late timer may make up for, and the time that one packet of several segments may take.
constexpr uint64_t kPacingBurstNs = 1000000;

/// The partial ACK covers exactly what was repeated, although duplicates told of segments behind
/// it: the peer has dropped those, as a receiver without reassembly does. One hole a round trip,
/// and what was sent meanwhile left to a time-out, would be slow; so all of it goes again, paced by
/// the halved window.
void StartGoBack(Tcb& tcb) {
  tcb.in_recovery = false;
  tcb.go_back = true;
  tcb.recover = tcb.snd.max;
  tcb.snd.nxt = tcb.snd.una;
  tcb.cwnd = tcb.ssthresh;
  tcb.bytes_acked = 0;
  tcb.duplicate_acks = 0;
  tcb.retransmit_now = false;
}

/// RFC 6582 section 3.2 step 3: an ACK during fast recovery.
void RecoveryOnAck(Tcb& tcb, uint32_t acked) {
  if (tcb.snd.una.AtOrAfter(tcb.recover)) {  // full acknowledgement
    tcb.cwnd = Minimum(tcb.ssthresh, Maximum(FlightSize(tcb.snd), tcb.snd.mss) + tcb.snd.mss);
    tcb.in_recovery = false;
    tcb.duplicate_acks = 0;
    tcb.bytes_acked = 0;
    // All that recovery repeated has arrived, so duplicates from here on mean a new loss, be it
    // of the very next segment.
    tcb.recover = tcb.snd.una - 1;
    return;
  }
  if (tcb.snd.una == tcb.repeat_end) {
    StartGoBack(tcb);
    return;
  }
  // Partial: the next hole starts at snd.una.
  tcb.retransmit_now = true;
  tcb.cwnd -= Minimum(acked, tcb.cwnd);
  if (acked >= tcb.snd.mss) GrowWindow(tcb, tcb.snd.mss);
  tcb.cwnd = Maximum(tcb.cwnd, tcb.snd.mss);
}

/// RFC 5682 section 2, on connections without SACK: what an ACK that moves snd.una says after a
/// time-out.
void JudgeTimeout(Tcb& tcb, const Header& header, uint32_t acked) {
  UndoEvidence evidence;
  evidence.header = &header;
  evidence.advanced = acked != 0;
  evidence.original_delivered = tcb.frto == FRto::kSecondAck && acked != 0;
  if (!TryUndo(tcb, evidence)) AdvanceFRto(tcb, acked != 0, acked == 0);
}

/// Bytes a round trip: a whole window, times 2 in slow start and 1.25 after it, so that pacing is
/// not what limits growth.
uint32_t PacingRate(const Tcb& tcb) {
  return Maximum(tcb.cwnd < tcb.ssthresh ? tcb.cwnd << 1 : tcb.cwnd + (tcb.cwnd >> 2), 1);
}

uint64_t RoundTripNs(const Tcb& tcb) { return MicrosToNanos(tcb.rtt.srtt_us >> 3); }

bool IsPaced(const Tcb& tcb) { return tcb.options.pacing && tcb.rtt.valid; }

}  // namespace

uint32_t InitialWindow(uint32_t mss) {
  const uint32_t ten = (mss << 3) + (mss << 1);
  return Minimum(ten, Maximum(mss << 1, 14600));
}

void CutThreshold(Tcb& tcb, CongestionEvent event) {
  tcb.ssthresh = PolicyOf(tcb.options.congestion).cut(tcb, event);
  tcb.hystart.done = true;
  tcb.hystart.rounds_left = 0;
  NoteWindowCut(tcb);
}

void GrowOnAck(Tcb& tcb, uint32_t acked, uint64_t now) {
  const CongestionPolicy& policy = PolicyOf(tcb.options.congestion);
  // A window that was not used up says nothing about the path (RFC 5681 section 3.1: "a sender
  // that is not limited by cwnd").
  if (!tcb.cwnd_limited) {
    if (policy.pause != nullptr) policy.pause(tcb, now);
    return;
  }
  if (tcb.snd.una.AtOrAfter(tcb.limited_until)) tcb.cwnd_limited = false;
  if (tcb.cwnd < tcb.ssthresh) {
    if (tcb.sack_on && tcb.options.hystart && !tcb.timeout_recovery) {
      GrowWindow(tcb, HyStartGrowth(tcb, acked));
      return;
    }
    // RFC 3465 2.3: L = 2, but 1 in the slow start that follows a time-out.
    const uint32_t limit = tcb.timeout_recovery ? tcb.snd.mss : tcb.snd.mss << 1;
    GrowWindow(tcb, Minimum(acked, limit));
    return;
  }
  policy.avoid(tcb, acked, now);
}

void StartCongestionControl(Tcb& tcb, bool syn_lost) {
  tcb.cwnd = syn_lost ? tcb.snd.mss : InitialWindow(tcb.snd.mss);
  tcb.ssthresh = 0xffffffffu;
}

void CongestionOnAck(Tcb& tcb, const Header& header, uint32_t acked, uint64_t now) {
  JudgeTimeout(tcb, header, acked);
  if (tcb.snd.una.AtOrAfter(tcb.recover)) {
    tcb.timeout_recovery = false;
    tcb.go_back = false;
    tcb.frto = FRto::kOff;
  }
  if (tcb.in_recovery) {
    RecoveryOnAck(tcb, acked);
    return;
  }
  tcb.duplicate_acks = 0;
  tcb.retransmit_now = false;
  // `recover` follows at a distance of one: left behind, it would be ahead after 2^31 bytes.
  if (tcb.snd.una.After(tcb.recover)) tcb.recover = tcb.snd.una - 1;
  GrowOnAck(tcb, acked, now);
}

void CongestionOnDuplicateAck(Tcb& tcb, uint64_t now) {
  if (tcb.duplicate_acks < 0xff) ++tcb.duplicate_acks;
  if (tcb.in_recovery) {
    GrowWindow(tcb, tcb.snd.mss);  // RFC 5681 3.2 step 4: a segment has left the network
    return;
  }
  if (tcb.frto == FRto::kSecondAck) {
    // RFC 5682 2.1 step 3a: the time-out was right.
    tcb.frto = FRto::kOff;
    tcb.snd.nxt = tcb.snd.una;
    return;
  }
  if (tcb.duplicate_acks != kDuplicateAckThreshold) return;
  if (tcb.go_back && tcb.snd.una.Before(tcb.recover)) {
    tcb.snd.nxt = tcb.snd.una;  // lost again; the same congestion event, so the window stays
    return;
  }
  // RFC 6582 3.2 step 1: duplicates of what a time-out repeated are no news of loss.
  if (tcb.snd.una.AtOrBefore(tcb.recover)) return;
  if (TakeProbeLoss(tcb, now)) {
    StartRetransmitTimer(tcb, now);
    return;
  }
  tcb.mtu_search.repairing = false;
  PrepareUndo(tcb, false, now);
  CutThreshold(tcb, CongestionEvent::kLoss);
  tcb.recover = tcb.snd.max;
  tcb.in_recovery = true;
  tcb.partial_seen = false;
  tcb.retransmit_now = true;
  const uint32_t three = (tcb.snd.mss << 1) + tcb.snd.mss;
  tcb.cwnd = Minimum(tcb.ssthresh + three, kLargestWindow);
  StartRetransmitTimer(tcb, now);
}

void CongestionOnTimeout(Tcb& tcb, uint64_t now) {
  StartFRto(tcb, !tcb.in_recovery && !tcb.timeout_recovery && !tcb.go_back);
  // RFC 5681 3.1: a segment that was already repeated by the timer does not cut again.
  if (!tcb.timed_out) {
    PrepareUndo(tcb, true, now);
    CutThreshold(tcb, CongestionEvent::kTimeout);
  }
  tcb.cwnd = tcb.snd.mss;  // loss window
  tcb.bytes_acked = 0;
  tcb.recover = tcb.snd.max;  // RFC 6582 3.2 step 4
  tcb.in_recovery = false;
  tcb.go_back = false;
  tcb.timeout_recovery = true;
  tcb.duplicate_acks = 0;
  tcb.retransmit_now = false;
  tcb.cwnd_limited = true;
  tcb.limited_until = tcb.snd.max;
}

void CongestionBeforeSend(Tcb& tcb, uint64_t now) {
  const bool idle = tcb.snd.una == tcb.snd.max && tcb.last_sent_at != 0;
  if (idle && now - tcb.last_sent_at > MicrosToNanos(tcb.rtt.rto_us)) {
    tcb.cwnd = Minimum(tcb.cwnd, InitialWindow(tcb.snd.mss));
  }
  tcb.last_sent_at = now;
}

void CongestionAfterSend(Tcb& tcb) {
  const uint32_t flight = tcb.sack_on ? tcb.sent.Pipe() : tcb.snd.una.DistanceTo(tcb.snd.nxt);
  if (flight + tcb.snd.mss <= tcb.cwnd) return;
  tcb.cwnd_limited = true;
  tcb.limited_until = tcb.snd.max;
}

void Pace(Tcb& tcb, uint32_t bytes, uint64_t now) {
  if (!IsPaced(tcb)) return;
  const uint64_t round_trip = RoundTripNs(tcb);
  const uint32_t rate = PacingRate(tcb);
  // While less than an initial window is in flight, all of that may go at once, as without pacing:
  // a short message would wait for nothing.
  const uint32_t initial = InitialWindow(tcb.snd.mss);
  uint64_t credit = kPacingBurstNs;
  if (FlightSize(tcb.snd) < initial) {
    const uint64_t whole = round_trip * initial / rate;
    if (whole > credit) credit = whole;
  }
  const uint64_t earliest = now > credit ? now - credit : 0;
  const uint64_t from = tcb.pace_deadline > earliest ? tcb.pace_deadline : earliest;
  tcb.pace_deadline = from + round_trip * bytes / rate;
  tcb.pace_passed = tcb.pace_deadline <= now;
}

uint32_t PacedPacket(const Tcb& tcb) {
  const uint64_t round_trip = RoundTripNs(tcb);
  if (!IsPaced(tcb) || round_trip <= kPacingBurstNs) return 0xffffffffu;
  return static_cast<uint32_t>(uint64_t{PacingRate(tcb)} * kPacingBurstNs / round_trip);
}

uint32_t EffectiveCongestionWindow(const Tcb& tcb) {
  if (tcb.frto == FRto::kSecondAck) return tcb.snd.una.DistanceTo(tcb.frto_limit);
  if (tcb.in_recovery || tcb.timeout_recovery || tcb.go_back) return tcb.cwnd;
  if (tcb.duplicate_acks == 0 || tcb.duplicate_acks >= kDuplicateAckThreshold) return tcb.cwnd;
  return tcb.cwnd + (tcb.duplicate_acks == 1 ? tcb.snd.mss : tcb.snd.mss << 1);
}

}  // namespace qpip::tcp::internal
