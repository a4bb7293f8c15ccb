// What an arriving ACK says about what we sent: RFC 9293 3.10.7.4, fifth check.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

/// SYN-RECEIVED: an acceptable ACK completes the handshake, any other is answered with RST.
bool CheckAckSynReceived(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  const Header& header = segment.header;
  if (header.acknowledgement.AtOrBefore(tcb.snd.una) || header.acknowledgement.After(tcb.snd.max)) {
    arrival->refusal = Refusal::kBadAck;
    arrival->send_reset = ResetFor(segment, &arrival->reset);
    return false;
  }
  const uint8_t syn_retransmissions = tcb.rtt.backoff;
  tcb.snd.una = header.acknowledgement;
  tcb.snd.nxt = Max(tcb.snd.nxt, tcb.snd.una);
  arrival->rtt_sampled = SampleRtt(tcb, header, now);
  tcb.snd.wnd = static_cast<uint32_t>(header.window) << tcb.snd.wscale;
  tcb.snd.max_wnd = Maximum(tcb.snd.max_wnd, tcb.snd.wnd);
  tcb.snd.wl1 = header.sequence;
  tcb.snd.wl2 = header.acknowledgement;
  EnterEstablished(tcb, syn_retransmissions, now);
  arrival->outcome = Outcome::kEstablished;
  // Receives may have been posted since the SYN-ACK told what there was then.
  if (ReceiveWindow(tcb.rcv) < kMaxWindowField) ConsiderWindowUpdate(tcb, now);
  return true;
}

/// A pure ACK that says what the last one did. While something is outstanding it is what RFC 5681
/// section 2 calls a duplicate.
bool RepeatsLast(const SendHalf& snd, const Segment& segment, uint32_t window) {
  const Header& header = segment.header;
  return header.acknowledgement == snd.una && segment.text_length == 0 &&
         !header.Has(kSyn | kFin) && window == snd.wnd;
}

/// The oldest acknowledgement that may be the peer's. RFC 5961 section 5.2 goes back by the largest
/// window that it ever offered, whether that was used or not: of a connection that has sent little
/// this covers mostly what was never sent, and a blind attacker needs so many fewer guesses. No ACK
/// is older than our initial number.
SequenceNumber OldestAck(const SendHalf& snd) {
  const SequenceNumber oldest = snd.una - snd.max_wnd;
  return snd.iss_is_far ? oldest : Max(oldest, snd.iss);
}

/// Our FIN has been acknowledged.
bool IsFinAcknowledged(const SendHalf& snd) { return snd.fin_sent && snd.una == snd.end + 1; }

/// The state changes of the fifth check. Returns false when the segment is finished with.
bool OnFinAcknowledged(Tcb& tcb, uint64_t now, Arrival* arrival) {
  switch (tcb.state) {
    case State::kFinWait1:
      SetState(tcb, State::kFinWait2);
      return true;
    case State::kClosing:
      SetState(tcb, State::kTimeWait);
      StartTimeWait(tcb, now);
      arrival->outcome = Outcome::kTimeWait;
      return true;
    case State::kLastAck:
      EnterClosed(tcb);
      arrival->outcome = Outcome::kClosed;
      return false;
    default:
      return true;
  }
}

}  // namespace

void AdvanceUnacknowledged(Tcb& tcb, const Header& header, uint64_t now, Arrival* arrival) {
  const uint32_t acked = tcb.snd.una.DistanceTo(header.acknowledgement);
  tcb.snd.una = header.acknowledgement;
  if (tcb.snd.una.Before(tcb.snd.iss)) tcb.snd.iss_is_far = true;
  // After a time-out snd.nxt went back; the peer may have kept more than we thought.
  tcb.snd.nxt = Max(tcb.snd.nxt, tcb.snd.una);
  arrival->acked_bytes = acked - (IsFinAcknowledged(tcb.snd) ? 1 : 0);
  tcb.first_unacked_at = now;
  tcb.timed_out = false;
  MtuSearchOnAck(tcb);
  arrival->rtt_sampled = SampleRtt(tcb, header, now);
  // RFC 6582 3.2 step 3: only the first partial ACK restarts the timer, so that a window with many
  // holes ends in a time-out rather than in one round trip a hole.
  const bool restart_timer =
      tcb.sack_on || !tcb.in_recovery || !tcb.partial_seen || tcb.snd.una.AtOrAfter(tcb.recover);
  if (tcb.in_recovery) tcb.partial_seen = true;
  if (!tcb.sack_on) CongestionOnAck(tcb, header, acked, now);
  if (tcb.snd.una == tcb.snd.nxt) {
    tcb.retransmit_deadline = kNever;  // RFC 6298 (5.2)
  } else if (restart_timer) {
    StartRetransmitTimer(tcb, now);  // RFC 6298 (5.3)
  }
}

void UpdateSendWindow(Tcb& tcb, const Header& header, uint32_t window) {
  const bool newer =
      tcb.snd.wl1.Before(header.sequence) ||
      (tcb.snd.wl1 == header.sequence && tcb.snd.wl2.AtOrBefore(header.acknowledgement));
  if (!newer) return;
  // A FIN that went into a shut window may have been refused: repeat it when the window opens.
  if (tcb.snd.wnd == 0 && window != 0 && tcb.snd.fin_sent && tcb.snd.una == tcb.snd.end &&
      tcb.snd.nxt != tcb.snd.una) {
    tcb.retransmit_now = true;
  }
  tcb.snd.wnd = window;
  tcb.snd.max_wnd = Maximum(tcb.snd.max_wnd, window);
  tcb.snd.wl1 = header.sequence;
  tcb.snd.wl2 = header.acknowledgement;
}

bool CheckAck(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  const Header& header = segment.header;
  if (!header.Has(kAck)) {
    arrival->refusal = Refusal::kBadAck;
    return false;
  }
  if (tcb.state == State::kSynReceived) {
    return CheckAckSynReceived(tcb, segment, now, arrival);
  }
  // RFC 5961 section 5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT, else ACK and drop.
  if (header.acknowledgement.After(tcb.snd.max) ||
      header.acknowledgement.Before(OldestAck(tcb.snd))) {
    arrival->refusal = Refusal::kBadAck;
    ChallengeAck(tcb, now);
    return false;
  }
  if (header.acknowledgement.Before(tcb.snd.una)) {
    // Overtaken: its text may be new, and so may be what it says the peer holds (RFC 6675 5).
    if (tcb.sack_on && header.sack_count != 0) RecoverOnAck(tcb, header, tcb.snd.una, false, now);
    return true;
  }
  const uint32_t window = static_cast<uint32_t>(header.window) << tcb.snd.wscale;
  const SequenceNumber una_before = tcb.snd.una;
  const bool repeats_last = RepeatsLast(tcb.snd, segment, window);
  if (header.acknowledgement.After(tcb.snd.una)) {
    AdvanceUnacknowledged(tcb, header, now, arrival);
  } else if (!tcb.sack_on && repeats_last && tcb.snd.nxt != tcb.snd.una) {
    CongestionOnDuplicateAck(tcb, now);
  }
  if (tcb.sack_on) RecoverOnAck(tcb, header, una_before, repeats_last, now);
  EcnOnAck(tcb, header, una_before.DistanceTo(tcb.snd.una));
  UpdateSendWindow(tcb, header, window);
  // RFC 9293 3.8.6.1: a peer that answers may keep its window shut for ever. The user time-out
  // starts again with the next probe, which may be further away than the time-out is long.
  if (tcb.snd.wnd == 0) tcb.first_unacked_at = kNever;
  return !IsFinAcknowledged(tcb.snd) || OnFinAcknowledged(tcb, now, arrival);
}

}  // namespace qpip::tcp::internal
