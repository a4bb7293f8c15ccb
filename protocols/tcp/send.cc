// The send side: what may go, as how large a segment, and what sending it changes.
//
//     snd.una          snd.nxt             snd.max        snd.end
//        |  in flight     |  sent, presumed   |  announced,  |  FIN, when
//     ---|----------------|  lost ------------|  never sent -|- fin_queued ---> sequence
//
// After a time-out snd.nxt goes back to snd.una and walks forward again. With SACK it does not:
// what is to be sent again is on the scoreboard.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace internal {

SequenceNumber EmptySegmentSequence(const Tcb& tcb) {
  // SND.NXT in the RFC's sense is the highest ever sent. A byte that probed a shut window was not
  // taken, and a segment behind it would be outside the peer's window.
  const SequenceNumber edge = tcb.snd.una + tcb.snd.wnd;
  return tcb.snd.max.After(edge) && IsSynchronised(tcb.state) ? edge : tcb.snd.max;
}

}  // namespace internal

namespace {

using namespace internal;

/// What a kControl intent carries, besides an acknowledgement.
enum class Control : uint8_t { kNone, kSyn, kFin };

Control ControlDue(const Tcb& tcb) {
  if (tcb.state == State::kSynSent || tcb.state == State::kSynReceived) {
    return tcb.snd.nxt == tcb.snd.iss ? Control::kSyn : Control::kNone;
  }
  if (!tcb.snd.fin_queued || !MaySendText(tcb.state)) return Control::kNone;
  const bool repeat =
      tcb.snd.fin_sent && ((tcb.retransmit_now && tcb.snd.una == tcb.snd.end) || RepeatsFin(tcb));
  return tcb.snd.nxt == tcb.snd.end || repeat ? Control::kFin : Control::kNone;
}

SendIntent ControlIntent(const Tcb& tcb, SequenceNumber sequence) {
  SendIntent intent;
  intent.kind = SendIntent::Kind::kControl;
  intent.sequence = sequence;
  intent.retransmission = sequence.Before(tcb.snd.max);
  return intent;
}

/// Fast retransmit without SACK: one segment at snd.una, of bytes that were sent before.
uint32_t RepeatLength(const Tcb& tcb) {
  if (tcb.sack_on || !tcb.retransmit_now || !MaySendText(tcb.state)) return 0;
  const SequenceNumber sent = tcb.snd.max.After(tcb.snd.end) ? tcb.snd.end : tcb.snd.max;
  return Minimum(Minimum(tcb.snd.una.DistanceTo(sent), tcb.snd.mss), tcb.snd.wnd);
}

/// Bytes that both windows let go behind what is in flight.
uint32_t UsableWindow(const Tcb& tcb) {
  const uint32_t flight = tcb.snd.una.DistanceTo(tcb.snd.nxt);
  if (tcb.sack_on) {
    const uint32_t offered = tcb.snd.wnd > flight ? tcb.snd.wnd - flight : 0;
    const uint32_t pipe = tcb.sent.Pipe();
    return Minimum(offered, tcb.cwnd > pipe ? tcb.cwnd - pipe : 0);
  }
  const uint32_t window = Minimum(tcb.snd.wnd, EffectiveCongestionWindow(tcb));
  return window > flight ? window - flight : 0;
}

/// RFC 9293 3.7.4: what is small waits while anything is unacknowledged. Not a probe, of which an
/// answer is wanted (RFC 8985 7.3, RFC 5682 2.1).
bool WaitsForNagle(const Tcb& tcb, uint32_t length) {
  return tcb.options.nagle && length < tcb.snd.mss && tcb.snd.una != tcb.snd.nxt &&
         !tcb.snd.fin_queued && !tcb.tail_probe.due && tcb.frto != FRto::kSecondAck;
}

/// Text of one packet: of one segment, or of as many full ones as whoever cuts it takes and the
/// windows allow.
uint32_t PacketText(const Tcb& tcb, uint32_t allowed, uint32_t pending) {
  constexpr uint32_t kHeaders = 40 + kMaxHeaderBytes;
  const uint32_t mss = tcb.snd.mss;
  const uint32_t limit = tcb.options.segmentation_limit;
  const uint32_t allowed_and_there = Minimum(allowed, pending);
  // Text that is repeated goes a segment at a time, as only some of it may be lost. An urgent
  // pointer would be copied, but counts from each segment's own start.
  const bool several = limit > kHeaders + mss && tcb.snd.nxt == tcb.snd.max && !tcb.snd.urgent;
  if (allowed_and_there <= mss || !several) return Minimum(allowed_and_there, mss);
  const uint32_t most = Minimum(allowed_and_there, Maximum(PacedPacket(tcb), mss));
  if (most == pending && most <= limit - kHeaders && !tcb.options.nagle) return most;
  const uint32_t room = Minimum(most, limit - kHeaders);
  uint32_t whole = mss;  // no silly last one; a core may have no divider
  while (room - whole >= mss) whole += mss;
  return whole;
}

/// Text at snd.nxt. Returns false when none may go now.
bool TextIntent(const Tcb& tcb, uint64_t now, SendIntent* intent) {
  if (tcb.snd.nxt.AtOrAfter(tcb.snd.end) || !MaySendText(tcb.state)) return false;
  const uint32_t pending = tcb.snd.nxt.DistanceTo(tcb.snd.end);
  const uint32_t usable = UsableWindow(tcb);
  const uint32_t probe = tcb.mtu_search.on ? MtuProbeSize(tcb, now) : 0;
  if (probe > usable) return false;  // cwnd has room for it once some of what is in flight arrives
  intent->mtu_probe = probe != 0;
  uint32_t length = probe != 0 ? probe : PacketText(tcb, usable, pending);
  const bool paced = tcb.pace_deadline > now && tcb.snd.nxt == tcb.snd.max;
  if (length != 0 && paced && !tcb.probe_due) return false;
  if (length == 0) {
    if (!tcb.probe_due) return false;
    length = 1;
    intent->window_probe = true;
  }
  intent->kind = SendIntent::Kind::kData;
  intent->sequence = tcb.snd.nxt;
  intent->max_length = length;
  intent->segment_size = length > tcb.snd.mss && probe == 0 ? tcb.snd.mss : 0;
  intent->retransmission = tcb.snd.nxt.Before(tcb.snd.max);
  // Section 6.1.5 and 6.1.6 of RFC 3168: new text only.
  intent->ecn_capable = tcb.ecn.on && !intent->retransmission && !intent->window_probe;
  // A length that silly-window avoidance or Nagle's algorithm may hold back must not hold back an
  // acknowledgement.
  const bool silly = length < tcb.snd.mss && length < pending && length < tcb.snd.max_wnd >> 1;
  const bool may_wait =
      !intent->retransmission && !tcb.probe_due && (silly || WaitsForNagle(tcb, length));
  return !(may_wait && AckDue(tcb, now));
}

/// What is most often found: all text has gone, none of it is to go again, nothing is owed.
bool HasNothingToSend(const Tcb& tcb, uint64_t now) {
  return tcb.state == State::kEstablished && !tcb.snd.fin_queued && !MayHaveSegment(tcb) &&
         !AckDue(tcb, now);
}

/// RFC 9293 3.8.4: a sequence number that the peer has acknowledged draws an acknowledgement.
void CommitKeepalive(Tcb& tcb, Header* header, uint64_t now) {
  header->sequence = tcb.snd.una - 1;
  tcb.owed.keepalive_due = false;
  tcb.owed.keepalive_sent_at = now;
  if (tcb.owed.keepalives_unanswered < 0xff) ++tcb.owed.keepalives_unanswered;
}

/// RFC 5482 section 2: with the SYN, and once more when the peer is sure to keep it (4.1).
void AdvertiseUserTimeout(Tcb& tcb, Header* header) {
  if (!tcb.options.user_timeout_option || !(header->Has(kSyn) || tcb.owed.user_timeout_due)) return;
  header->has_user_timeout = true;
  header->user_timeout_s = (tcb.options.user_timeout_ms + 999) / 1000;
  if (!header->Has(kSyn)) tcb.owed.user_timeout_due = false;
}

void CommitSyn(Tcb& tcb, Header* header, uint64_t now) {
  header->sequence = tcb.snd.iss;
  header->flags = tcb.state == State::kSynSent ? kSyn : kSyn | kAck;
  header->has_mss = true;
  header->mss = static_cast<uint16_t>(Minimum(tcb.options.mss, 0xffff));
  // RFC 7323 2.2: a SYN-ACK carries the options only if the SYN did.
  const bool offer = tcb.state == State::kSynSent;
  header->has_window_scale = offer ? tcb.options.window_scaling : tcb.window_scaling_on;
  header->has_timestamps = offer ? tcb.options.timestamps : tcb.timestamps_on;
  header->sack_permitted = offer ? tcb.options.sack : tcb.sack_on;
  if (tcb.snd.max != tcb.snd.iss) tcb.ecn.offer = false;  // RFC 3168 6.1.1.1: a firewall may mind
  header->flags = static_cast<uint8_t>(header->flags | EcnSynFlags(tcb));
  header->window_scale = OfferedWindowScale(tcb);
  AdvertiseUserTimeout(tcb, header);
  if (tcb.snd.max == tcb.snd.iss) {
    tcb.rtt.timing = true;
    tcb.rtt.timed_sequence = tcb.snd.iss + 1;
    tcb.rtt.timed_at = now;
  } else {
    tcb.rtt.timing = false;  // Karn
  }
  tcb.snd.nxt = tcb.snd.iss + 1;
  tcb.snd.max = tcb.snd.nxt;
  tcb.syn_ack_forgone = false;
  StartRetransmitTimer(tcb, now);
}

/// Notes that [sequence, end) goes out: snd.max, user time-out, RTT measurement, timer.
void NoteSent(Tcb& tcb, SequenceNumber sequence, SequenceNumber end, uint64_t now) {
  if (tcb.snd.una == tcb.snd.max || tcb.first_unacked_at == kNever) tcb.first_unacked_at = now;
  if (sequence.Before(tcb.snd.max)) {
    // Karn: an ACK for what was sent twice measures nothing.
    if (tcb.rtt.timing && sequence.Before(tcb.rtt.timed_sequence)) tcb.rtt.timing = false;
  } else if (!tcb.rtt.timing) {
    tcb.rtt.timing = true;
    tcb.rtt.timed_sequence = end;
    tcb.rtt.timed_at = now;
  }
  tcb.snd.max = Max(tcb.snd.max, end);
}

void CommitFin(Tcb& tcb, Header* header, uint64_t now) {
  header->sequence = tcb.snd.end;
  header->flags = kFin | kAck;
  NoteSent(tcb, tcb.snd.end, tcb.snd.end + 1, now);
  if (tcb.retransmit_deadline == kNever) StartRetransmitTimer(tcb, now);
  if (tcb.sack_on) RecoverOnSend(tcb, tcb.snd.end, tcb.snd.end + 1, now);
  tcb.snd.nxt = tcb.snd.end + 1;
  tcb.retransmit_now = false;
  if (tcb.snd.fin_sent) return;
  tcb.snd.fin_sent = true;
  SetState(tcb, tcb.state == State::kCloseWait ? State::kLastAck : State::kFinWait1);
}

void CommitText(Tcb& tcb, const SendIntent& intent, uint32_t length, uint64_t now) {
  const SequenceNumber end = intent.sequence + length;
  if (intent.window_probe) {
    // The byte is not counted as in flight: the window did not admit it (3.8.6.1).
    NoteSent(tcb, intent.sequence, end, now);
    tcb.rtt.timing = false;  // the answer comes when the window opens, not after a round trip
    tcb.probe_due = false;
    if (tcb.persist_backoff < 16) ++tcb.persist_backoff;
    UpdatePersist(tcb, now);
    return;
  }
  CongestionBeforeSend(tcb, now);
  NoteSent(tcb, intent.sequence, end, now);
  if (tcb.retransmit_deadline == kNever) StartRetransmitTimer(tcb, now);  // RFC 6298 (5.1)
  if (tcb.sack_on) {
    RecoverOnSend(tcb, intent.sequence, end, now);
  } else if (intent.sequence == tcb.snd.una) {
    tcb.retransmit_now = false;
    tcb.repeat_end = end;
  }
  if (!tcb.sack_on && intent.retransmission) NoteRepeated(tcb, intent.sequence, end, now);
  if (!intent.retransmission) Pace(tcb, length, now);
  tcb.snd.nxt = Max(tcb.snd.nxt, end);
  MtuSearchOnSend(tcb, intent, length, now);
  UpdatePersist(tcb, now);
  CongestionAfterSend(tcb);
}

/// RFC 9293 3.8.5: the pointer is to the byte behind the urgent data (MUST-62).
void PointToUrgent(SendHalf& snd, Header* header) {
  header->flags = static_cast<uint8_t>(header->flags & ~kUrg);
  header->urgent_pointer = 0;
  if (snd.urgent && snd.up.AtOrBefore(snd.una)) snd.urgent = false;
  if (!snd.urgent || !snd.up.After(header->sequence)) return;
  header->flags |= kUrg;
  header->urgent_pointer =
      static_cast<uint16_t>(Minimum(header->sequence.DistanceTo(snd.up), 0xffff));
}

void NoteAcknowledgementSent(Tcb& tcb, SequenceNumber acknowledgement) {
  tcb.owed.last_ack_sent = acknowledgement;
  tcb.owed.segments_unacked = 0;
  tcb.owed.ack_deadline = kNever;
  tcb.owed.ack_now = tcb.rcv.window_update;  // which waits until duplicates have gone
}

}  // namespace

void ExtendSend(Tcb& tcb, uint32_t bytes) {
  const Invariants holds(tcb);
  if (tcb.snd.fin_queued || tcb.state == State::kClosed) return;
  tcb.snd.end += bytes;
  if (IsWindowShut(tcb) && tcb.persist_deadline == kNever && !tcb.probe_due) {
    tcb.persist_deadline = kArmPersist;
  }
}

void MarkUrgent(Tcb& tcb) {
  if (tcb.state == State::kClosed || tcb.snd.end == tcb.snd.una) return;
  tcb.snd.urgent = true;
  tcb.snd.up = tcb.snd.end;
}

void Close(Tcb& tcb, uint64_t now) {
  const Invariants holds(tcb);
  static_cast<void>(now);  // FIN's timer starts when it is sent; part of the contract
  switch (tcb.state) {
    case State::kSynSent:
      EnterClosed(tcb);
      return;
    case State::kSynReceived:  // queued until ESTABLISHED
    case State::kEstablished:
    case State::kCloseWait:
      tcb.snd.fin_queued = true;
      return;
    default:
      return;  // closing already
  }
}

SendIntent NextSend(const Tcb& tcb, uint64_t now) {
  const Invariants holds(tcb);
  SendIntent intent;
  if (tcb.state == State::kClosed || HasNothingToSend(tcb, now)) return intent;
  switch (ControlDue(tcb)) {
    case Control::kSyn:
      return ControlIntent(tcb, tcb.snd.iss);
    case Control::kFin:
      return ControlIntent(tcb, tcb.snd.end);
    case Control::kNone:
      break;
  }
  const bool repairs = tcb.sack_on && (tcb.sent.lost != 0 || tcb.tail_probe.due);
  if (repairs && (RepeatIntent(tcb, &intent) || TailProbeIntent(tcb, &intent))) return intent;
  const uint32_t repeat = RepeatLength(tcb);
  if (repeat != 0) {
    intent.kind = SendIntent::Kind::kData;
    intent.sequence = tcb.snd.una;
    intent.max_length = repeat;
    intent.retransmission = true;
    return intent;
  }
  if (TextIntent(tcb, now, &intent)) return intent;
  if (!AckDue(tcb, now) && !tcb.owed.keepalive_due) return SendIntent{};
  intent = SendIntent{};
  intent.kind = SendIntent::Kind::kControl;
  intent.sequence = EmptySegmentSequence(tcb);
  return intent;
}

uint32_t AllowedLength(const Tcb& tcb, const SendIntent& intent, uint32_t message_rest) {
  if (intent.kind != SendIntent::Kind::kData) return 0;
  // A message that is too short for the probe is a smaller one; one that says nothing new is none.
  const uint32_t smallest = Minimum(intent.max_length, tcb.snd.mss + kSmallestMtuStep);
  const bool plain = intent.mtu_probe && message_rest < smallest;
  const uint32_t most = plain ? tcb.snd.mss : intent.max_length;
  const uint32_t length = Minimum(most, message_rest);
  // Data that was sent before, or whose override time-out has come, goes in any size.
  if (intent.retransmission || intent.window_probe || tcb.probe_due) return length;
  if (WaitsForNagle(tcb, length)) return 0;
  // RFC 9293 3.8.6.2.1: (1) a full segment, (2) all of the message, (3) half of the largest window.
  const bool worthwhile =
      length >= tcb.snd.mss || length == message_rest || length >= tcb.snd.max_wnd >> 1;
  return worthwhile ? length : 0;
}

Header CommitSend(Tcb& tcb, const SendIntent& intent, uint32_t length, bool push, uint64_t now) {
  const Invariants holds(tcb);
  Header header;
  if (intent.kind == SendIntent::Kind::kData && length != 0) {
    header.sequence = intent.sequence;
    header.flags = push ? kAck | kPsh : kAck;
    if (tcb.ecn.window_cut && intent.ecn_capable) {
      header.flags |= kCwr;  // RFC 3168 6.1.2
      tcb.ecn.window_cut = false;
    }
    CommitText(tcb, intent, Minimum(length, intent.max_length), now);
    RefreshHeader(tcb, &header, length, now);
    return header;
  }
  switch (ControlDue(tcb)) {
    case Control::kSyn:
      CommitSyn(tcb, &header, now);
      RefreshHeader(tcb, &header, 0, now);
      break;
    case Control::kFin:
      CommitFin(tcb, &header, now);
      RefreshHeader(tcb, &header, 0, now);
      break;
    case Control::kNone: {
      header.sequence = EmptySegmentSequence(tcb);
      header.flags = kAck;
      if (tcb.owed.keepalive_due) CommitKeepalive(tcb, &header, now);
      AdvertiseUserTimeout(tcb, &header);
      // The window stays as it was while duplicates are owed: see AdvertiseWindow.
      RefreshHeader(tcb, &header, 0, now);
      if (tcb.owed.duplicates != 0 && tcb.rcv.unplaced == 0) --tcb.owed.duplicates;
      break;
    }
  }
  return header;
}

void TakeBackSyn(Tcb& tcb, bool first) {
  if (tcb.state != State::kSynSent && tcb.state != State::kSynReceived) return;
  tcb.snd.nxt = tcb.snd.iss;
  if (first) tcb.snd.max = tcb.snd.iss;  // so that the next one is the first (RTT, ECN)
}

void TakeBackSent(Tcb& tcb, SequenceNumber from, SequenceNumber to, uint32_t repeated) {
  const Invariants holds(tcb);
  if (!from.AtOrAfter(tcb.snd.una) || to.After(tcb.snd.nxt)) return;
  tcb.undo.repeated = repeated;
  if (tcb.sack_on) {
    LoseBetween(tcb.sent, from, to);
    // No probe answers for it, and F-RTO does not wait for the answer to what has not gone.
    tcb.tail_probe.deadline = kNever;
    tcb.tail_probe.due = false;
    tcb.tail_probe.outstanding = false;
    tcb.frto = FRto::kOff;
    RateReduction& prr = tcb.rate_reduction;
    if (tcb.in_recovery) prr.sent -= Minimum(prr.sent, from.DistanceTo(to));
  } else if (to == tcb.snd.nxt) {
    tcb.snd.nxt = from;
  } else if (from == tcb.snd.una) {
    tcb.retransmit_now = true;
  }
}

void ForgoSynAck(Tcb& tcb, uint64_t now) {
  if (tcb.state != State::kSynReceived || !tcb.snd.nxt.Before(tcb.snd.max)) return;
  tcb.snd.nxt = tcb.snd.max;
  tcb.syn_ack_forgone = true;
  StartRetransmitTimer(tcb, now);
}

void RefreshHeader(Tcb& tcb, Header* header, uint32_t text_length, uint64_t now) {
  const bool is_syn = header->Has(kSyn);
  if (header->Has(kAck) && !is_syn) {
    // A segment that was cut before the path's MTU fell has no room left.
    const uint32_t room = tcb.snd.mss > text_length ? tcb.snd.mss - text_length : 0;
    const bool told = tcb.rcv.held.HoldsAny() || tcb.owed.duplicate.start != tcb.owed.duplicate.end;
    header->sack_count = 0;
    if (told) ReportHeld(tcb, header, text_length == 0 ? kMaxHeaderBytes : room);
  }
  if (header->Has(kAck)) {
    const SequenceNumber acknowledgement = AckableSequence(tcb);
    header->acknowledgement = acknowledgement;
    header->window = AdvertiseWindow(tcb, acknowledgement, is_syn);
    NoteAcknowledgementSent(tcb, acknowledgement);
    if (!is_syn) {
      header->flags =
          static_cast<uint8_t>(tcb.ecn.echo ? header->flags | kEce : header->flags & ~kEce);
    }
  } else {
    header->window = AdvertiseWindow(tcb, tcb.rcv.nxt, is_syn);
  }
  if (!is_syn && header->Has(kAck)) PointToUrgent(tcb.snd, header);
  if (!is_syn) header->has_timestamps = tcb.timestamps_on;
  if (header->has_timestamps) {
    header->ts_value = TimestampNow(tcb, now);
    header->ts_echo = header->Has(kAck) ? tcb.ts_recent : 0;
  }
}

}  // namespace qpip::tcp
