// Segment arrival: RFC 9293 3.10.7, step by step.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace {

using namespace internal;

constexpr uint64_t kPawsIdleNs = uint64_t{24} * 24 * 3600 * 1000000000;  // RFC 7323 section 5.5

/// RFC 7323 section 5.3, R1: an old duplicate by its timestamp.
bool PawsRejects(const Tcb& tcb, const Header& header, uint64_t now) {
  const bool older = static_cast<int32_t>(header.ts_value - tcb.ts_recent) < 0;
  return older && now - tcb.ts_recent_time < kPawsIdleNs;
}

/// RFC 7323 section 4.3 (2) and 5.3 R3: what to echo.
void RecordTimestamp(Tcb& tcb, const Header& header, uint64_t now) {
  if (!tcb.timestamps_on || !header.has_timestamps) return;
  if (header.sequence.After(tcb.owed.last_ack_sent)) return;
  tcb.ts_recent = header.ts_value;
  tcb.ts_recent_time = now;
}

/// The table of 3.10.7.4, first check, with the allowance for a shut window: what starts at rcv.nxt
/// is looked at, so that ACK, RST and FIN get through. A segment without text at the right edge is
/// how a peer acknowledges that has filled our window and lost a part of it on the way.
bool IsAcceptable(const ReceiveHalf& rcv, const Segment& segment) {
  const Header& header = segment.header;
  const uint32_t length = segment.text_length + header.ControlLength();
  const uint32_t window = ReceiveWindow(rcv);
  const uint32_t ahead = rcv.nxt.DistanceTo(header.sequence);
  if (ahead == 0) return true;
  if (length == 0) return ahead < window || (ahead == window && !header.Has(kRst));
  if (ahead < window) return true;
  // Starts before the window: some of it has to reach in. (The RFC asks for the last byte to lie
  // inside, which would refuse a segment larger than the window that covers all of it.)
  const SequenceNumber end = header.sequence + length;
  return window != 0 && header.sequence.Before(rcv.nxt) && end.After(rcv.nxt);
}

/// RFC 5961 section 3.2: the sequence numbers at which RST is believed. last_ack_sent is where a
/// peer without the connection puts it (3.10.7.1) while text is on its way to memory.
bool IsExactReset(const Tcb& tcb, const Header& header) {
  return header.sequence == tcb.rcv.nxt || header.sequence == tcb.owed.last_ack_sent;
}

void RefuseUnacceptable(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  const Header& header = segment.header;
  arrival->refusal = Refusal::kUnacceptable;
  if (header.Has(kRst)) return;  // dropped silently
  if (tcb.state == State::kTimeWait && header.Has(kFin)) StartTimeWait(tcb, now);
  if ((segment.text_length != 0 || header.Has(kFin)) && !header.Has(kSyn)) {
    tcb.owed.ack_now = true;
  } else {
    // RFC 5961 section 4.2: any SYN is challenged, wherever it is. And two ends that disagree
    // must not answer each other's ACKs for ever.
    ChallengeAck(tcb, now);
  }
}

/// First check: sequence number (and PAWS, which RFC 7323 section 5.3 puts before it).
bool CheckSequence(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  const Header& header = segment.header;
  if (tcb.timestamps_on && !header.Has(kRst)) {
    if (!header.has_timestamps) {  // RFC 7323 3.2: silently dropped
      arrival->refusal = Refusal::kPaws;
      // But for a peer that has started anew, which must learn of this connection (RFC 5961 4.2).
      if (header.Has(kSyn)) ChallengeAck(tcb, now);
      return false;
    }
    if (PawsRejects(tcb, header, now)) {
      RefuseUnacceptable(tcb, segment, now, arrival);
      arrival->refusal = Refusal::kPaws;
      return false;
    }
  }
  if (!IsAcceptable(tcb.rcv, segment) && !(header.Has(kRst) && IsExactReset(tcb, header))) {
    RefuseUnacceptable(tcb, segment, now, arrival);
    const SequenceNumber end = header.sequence + segment.text_length;
    const bool old = segment.text_length != 0 && end.AtOrBefore(tcb.rcv.nxt);
    if (old && !header.Has(kSyn)) NoteDuplicate(tcb.owed, header.sequence, segment.text_length);
    return false;
  }
  return true;
}

/// Second check: RST.
bool CheckReset(Tcb& tcb, const Header& header, uint64_t now, Arrival* arrival) {
  if (!header.Has(kRst)) return true;
  if (tcb.state == State::kTimeWait) {  // RFC 1337: no assassination
    arrival->refusal = Refusal::kUnacceptable;
    return false;
  }
  if (!IsExactReset(tcb, header)) {  // RFC 5961 3.2: in the window, but not exact
    arrival->refusal = Refusal::kUnacceptable;
    ChallengeAck(tcb, now);
    return false;
  }
  arrival->outcome = tcb.state == State::kSynReceived ? Outcome::kRefused : Outcome::kReset;
  EnterClosed(tcb);
  return false;
}

/// Fourth check: SYN.
bool CheckSyn(Tcb& tcb, const Header& header, uint64_t now, Arrival* arrival) {
  if (!header.Has(kSyn)) return true;
  arrival->refusal = Refusal::kUnacceptable;
  if (tcb.state == State::kSynReceived && tcb.passive) {
    // "Return this connection to the LISTEN state": the listener is the owner's.
    arrival->outcome = Outcome::kRefused;
    EnterClosed(tcb);
    return false;
  }
  ChallengeAck(tcb, now);  // RFC 5961 section 4.2
  return false;
}

/// A FIN in order: this segment's, or one that was seen before the text it ends.
bool IsFinDue(Tcb& tcb, const Segment& segment, Arrival* arrival) {
  const Header& header = segment.header;
  // The peer has sent text behind its FIN: it was none.
  if (tcb.rcv.fin_held && tcb.rcv.fin_held_at.Before(tcb.rcv.nxt)) tcb.rcv.fin_held = false;
  if (header.Has(kFin)) {
    const SequenceNumber fin = header.sequence + (header.Has(kSyn) ? 1u : 0u) + segment.text_length;
    if (fin == tcb.rcv.nxt) return true;
    // Text before it is missing: because it was lost, or because the window cut it off.
    const bool ahead = fin.After(tcb.rcv.nxt) && fin.AtOrBefore(tcb.rcv.adv);
    if (tcb.options.reassembly != 0 && ahead && !tcb.rcv.fin_held) {
      tcb.rcv.fin_held = true;
      tcb.rcv.fin_held_at = fin;
      if (segment.text_length == 0) NoteOutOfOrder(tcb, fin);
    } else if (segment.text_length == 0) {
      arrival->refusal = Refusal::kOutOfOrder;
      tcb.owed.ack_now = true;
    }
  }
  return tcb.rcv.fin_held && tcb.rcv.fin_held_at == tcb.rcv.nxt;
}

/// Eighth step: FIN.
void CheckFin(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  if (tcb.rcv.fin_received || !IsFinDue(tcb, segment, arrival)) return;
  tcb.rcv.nxt += 1;
  tcb.rcv.adv = Max(tcb.rcv.adv, tcb.rcv.nxt);
  tcb.rcv.fin_received = true;
  tcb.rcv.fin_held = false;
  tcb.rcv.held.count = tcb.rcv.held.released;  // nothing lies behind a FIN
  tcb.rcv.gap_open = false;
  tcb.owed.duplicates = 0;
  tcb.rcv.window_update = false;
  arrival->peer_closed = true;
  if (tcb.rcv.unplaced == 0) tcb.owed.ack_now = true;  // else OnPlaced does
  switch (tcb.state) {
    case State::kEstablished:
      SetState(tcb, State::kCloseWait);
      break;
    case State::kFinWait1:
      SetState(tcb, State::kClosing);  // were our FIN acknowledged, this were FIN-WAIT-2
      break;
    case State::kFinWait2:
      SetState(tcb, State::kTimeWait);
      StartTimeWait(tcb, now);
      arrival->outcome = Outcome::kTimeWait;
      break;
    default:
      break;
  }
}

/// Sixth step: URG. The data is data of the stream; the owner is told how far it reaches, once for
/// each time that the peer moves the end (MUST-32).
void CheckUrgent(Tcb& tcb, const Header& header, Arrival* arrival) {
  if (!header.Has(kUrg) || !TakesText(tcb.state)) return;
  const SequenceNumber end = header.sequence + header.urgent_pointer;
  if (end.AtOrBefore(tcb.rcv.urgent ? tcb.rcv.up : tcb.rcv.nxt)) return;
  tcb.rcv.urgent = true;
  tcb.rcv.up = end;
  arrival->urgent = true;
}

/// Steps from the sixth on, which SYN-SENT joins after the handshake.
void TakeTextAndFin(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  CheckUrgent(tcb, segment.header, arrival);
  TakeText(tcb, segment, arrival);
  CheckFin(tcb, segment, now, arrival);
}

// ---------------------------------------------------------------- SYN-SENT (3.10.7.3)

void ArriveInSynSent(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  const Header& header = segment.header;
  const bool has_ack = header.Has(kAck);
  // First check: ACK in (ISS, SND.NXT].
  if (has_ack && (header.acknowledgement.AtOrBefore(tcb.snd.iss) ||
                  header.acknowledgement.After(tcb.snd.max))) {
    arrival->refusal = Refusal::kBadAck;
    arrival->send_reset = ResetFor(segment, &arrival->reset);
    return;
  }
  // Second check: RST counts only with an acceptable ACK.
  if (header.Has(kRst)) {
    if (!has_ack) {
      arrival->refusal = Refusal::kUnacceptable;
      return;
    }
    arrival->outcome = Outcome::kRefused;
    EnterClosed(tcb);
    return;
  }
  // Fourth check: SYN. Fifth: without it the segment is dropped.
  if (!header.Has(kSyn)) {
    arrival->refusal = Refusal::kUnacceptable;
    return;
  }
  TakeSyn(tcb, header, now);
  if (!has_ack) {
    // Simultaneous open (3.5, figure 8): our SYN again, now with an ACK. Text comes again.
    SetState(tcb, State::kSynReceived);
    tcb.snd.nxt = tcb.snd.iss;
    tcb.retransmit_deadline = kNever;
    if (segment.text_length != 0) arrival->refusal = Refusal::kNoText;
    return;
  }
  const uint8_t syn_retransmissions = tcb.rtt.backoff;
  tcb.snd.una = header.acknowledgement;
  tcb.snd.nxt = Max(tcb.snd.nxt, tcb.snd.una);
  tcb.snd.wl2 = header.acknowledgement;
  arrival->rtt_sampled = SampleRtt(tcb, header, now);
  EnterEstablished(tcb, syn_retransmissions, now);
  arrival->outcome = Outcome::kEstablished;
  tcb.owed.ack_now = true;
  TakeTextAndFin(tcb, segment, now, arrival);
}

// ---------------------------------------------------------------- other states (3.10.7.4)

void ArriveInOtherStates(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  if (!CheckSequence(tcb, segment, now, arrival)) return;
  if (!CheckReset(tcb, segment.header, now, arrival)) return;
  if (!CheckSyn(tcb, segment.header, now, arrival)) return;
  if (!CheckAck(tcb, segment, now, arrival)) return;
  // Not before the ACK is known to be good: the timestamp of a blind guess at the sequence number
  // would have PAWS refuse all that the peer sends from then on.
  RecordTimestamp(tcb, segment.header, now);
  NoteHeard(tcb, now);
  TakeUserTimeout(tcb, segment.header);
  EcnOnText(tcb, segment);
  TakeTextAndFin(tcb, segment, now, arrival);
}

/// SYN-RECEIVED sees the peer's SYN once more in two ways that the sequence check would turn away.
void ArriveInSynReceived(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  const Header& header = segment.header;
  const bool same_syn = header.Has(kSyn) && header.sequence == tcb.rcv.irs && !header.Has(kRst);
  if (same_syn && !header.Has(kAck)) {
    // Our SYN-ACK was lost or is late: repeat it now rather than at the time-out. Nobody repeats
    // his SYN for that reason before half of it is over, and others get no more answers by it.
    arrival->refusal = Refusal::kUnacceptable;
    const uint64_t patience = MicrosToNanos(tcb.options.rto_initial_us / 2);
    const bool lately = tcb.retransmit_deadline != kNever && !tcb.syn_ack_forgone &&
                        tcb.retransmit_deadline - RetransmissionTimeout(tcb) + patience > now;
    if (!lately) tcb.snd.nxt = tcb.snd.iss;
    return;
  }
  if (!same_syn) {
    ArriveInOtherStates(tcb, segment, now, arrival);
    return;
  }
  // SYN-ACK of a simultaneous open (figure 8, line 6): what counts is its ACK.
  Segment without_syn = segment;
  without_syn.header.flags = static_cast<uint8_t>(header.flags & ~kSyn);
  without_syn.header.sequence = header.sequence + 1;
  // Its window is that of a SYN, not scaled (RFC 7323 2.2).
  without_syn.header.window = static_cast<uint16_t>(header.window >> tcb.snd.wscale);
  ArriveInOtherStates(tcb, without_syn, now, arrival);
  // The peer may wait for its own SYN to be acknowledged.
  if (tcb.state != State::kClosed) tcb.owed.ack_now = true;
}

/// Header prediction, which 3.10.7.4 permits: the next text, or an ACK, with nothing unusual about
/// it. The peer's window may have moved: it follows the receives that are posted there, and does so
/// with most of the messages. Returns false when the steps have to be taken one by one.
bool ArrivePredicted(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival) {
  const Header& header = segment.header;
  if ((header.flags & ~kPsh) != kAck || header.sequence != tcb.rcv.nxt) return false;
  if (tcb.rcv.fin_held || header.sack_count != 0 || header.has_user_timeout) return false;
  if (header.acknowledgement.Before(tcb.snd.una) || header.acknowledgement.After(tcb.snd.max)) {
    return false;
  }
  const uint32_t window = static_cast<uint32_t>(header.window) << tcb.snd.wscale;
  if (tcb.timestamps_on) {
    if (!header.has_timestamps) return false;
    if (static_cast<int32_t>(header.ts_value - tcb.ts_recent) < 0) return false;
  }
  const bool acknowledges = header.acknowledgement != tcb.snd.una;
  if (!acknowledges && segment.text_length == 0) return false;
  if (segment.text_length > ReceiveWindow(tcb.rcv)) return false;

  const SequenceNumber una_before = tcb.snd.una;
  if (acknowledges) AdvanceUnacknowledged(tcb, header, now, arrival);
  if (tcb.sack_on) RecoverOnAck(tcb, header, una_before, false, now);
  EcnOnAck(tcb, header, una_before.DistanceTo(tcb.snd.una));
  UpdateSendWindow(tcb, header, window);
  if (tcb.snd.wnd == 0) tcb.first_unacked_at = kNever;  // as in CheckAck: who only sends has none
  RecordTimestamp(tcb, header, now);
  NoteHeard(tcb, now);
  EcnOnText(tcb, segment);
  if (segment.text_length != 0) {
    AcceptText(tcb, 0, segment.text_length, header.Has(kPsh), arrival);
  }
  return true;
}

}  // namespace

namespace {

Arrival Arrive(Tcb& tcb, const Segment& segment, uint64_t now, bool predicts) {
  const Invariants holds(tcb);
  Arrival arrival;
  switch (tcb.state) {
    case State::kClosed:  // 3.10.7.1
      arrival.refusal = Refusal::kUnacceptable;
      arrival.send_reset = ResetFor(segment, &arrival.reset);
      return arrival;
    case State::kSynSent:
      ArriveInSynSent(tcb, segment, now, &arrival);
      break;
    case State::kSynReceived:
      ArriveInSynReceived(tcb, segment, now, &arrival);
      break;
    case State::kEstablished:
      if (!predicts || !ArrivePredicted(tcb, segment, now, &arrival)) {
        ArriveInOtherStates(tcb, segment, now, &arrival);
      }
      break;
    default:
      ArriveInOtherStates(tcb, segment, now, &arrival);
      break;
  }
  if (IsSynchronised(tcb.state)) UpdatePersist(tcb, now);
  return arrival;
}

}  // namespace

Arrival OnSegment(Tcb& tcb, const Segment& segment, uint64_t now) {
  return Arrive(tcb, segment, now, true);
}

Arrival OnSegmentInSteps(Tcb& tcb, const Segment& segment, uint64_t now) {
  return Arrive(tcb, segment, now, false);
}

}  // namespace qpip::tcp
