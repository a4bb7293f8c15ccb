// The receive side: which text is taken, what window is offered, when to acknowledge.
//
//     last_ack_sent      rcv.nxt - rcv.unplaced     rcv.nxt              rcv.adv
//          |  placed, not     |   accepted, on its     |    offered, may     |
//     -----|  acknowledged ---|   way to memory -------|--- arrive ----------|----> sequence
//
// Text behind a gap is held (reassembly.h) and follows when the gap is filled.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace internal {
namespace {

constexpr uint64_t kChallengeWindowNs = 1000000000;
constexpr uint8_t kChallengesAWindow = 10;

/// Withheld window is told after this: the owner does not post what it had posted before.
constexpr uint64_t kWindowOverrideNs = 100000000;

/// Less than half of the receives that were posted together are posted now.
bool IsScarce(const ReceiveHalf& rcv) { return rcv.receives << 1 < rcv.receives_most; }

/// Up to where a whole number of the window's units has its place.
SequenceNumber EdgeOfReceives(const Tcb& tcb, uint8_t scale) {
  const SequenceNumber from = AckableSequence(tcb);
  uint32_t capacity =
      Minimum(from.DistanceTo(tcb.rcv.nxt) + tcb.rcv.wnd_limit, kMaxWindowField << scale);
  // Less than one unit of a large window is kept back, so that AdvertiseWindow can round up. Not of
  // a small one: a message that just fits the posted receive is to go at once.
  const uint32_t unit = 1u << scale;
  if (capacity >= tcb.options.mss << 3 && capacity >= unit << 3) capacity -= unit - 1;
  return from + (capacity >> scale << scale);
}

/// Whether the peer is to learn that the window reaches to `edge`: RFC 9293 3.8.6.2.2, the
/// receiver's silly window avoidance. What counts is the edge that the peer knows, which a scaled
/// field may have told short of rcv.adv: a window of less than a unit is none to the peer.
bool IsWorthTelling(const Tcb& tcb, SequenceNumber edge, bool scarce) {
  const SequenceNumber known = tcb.rcv.told;
  if (edge.AtOrBefore(known)) return false;
  // The edge moves when it can move by min(Fr * RCV.BUFF, MSS), Fr 1/2. RCV.BUFF is as many
  // receives as were posted together, but of the sizes posted now: an owner that posts one at a
  // time, large ones and small ones, is not to have its small ones withheld.
  const uint32_t growth = known.DistanceTo(edge);
  if (growth >= tcb.options.mss) return true;
  if (scarce) return false;
  if (growth >= (tcb.rcv.wnd_limit + 1) >> 1) return true;
  // The sender's half of the rules compares with the largest window it has seen (3.8.6.2.1): with
  // less than half of that left it waits, so it is told of any growth.
  const uint32_t left = known.After(tcb.rcv.nxt) ? tcb.rcv.nxt.DistanceTo(known) : 0;
  return left < tcb.options.mss && left < tcb.rcv.max_wnd >> 1;
}

/// The right edge that may be advertised when the window moves; rcv.adv when it may not.
SequenceNumber NextRightEdge(const Tcb& tcb, uint8_t scale, bool scarce) {
  const SequenceNumber edge = EdgeOfReceives(tcb, scale);
  return edge.After(tcb.rcv.adv) && IsWorthTelling(tcb, edge, scarce) ? edge : tcb.rcv.adv;
}

/// There is window to tell, if receives were not scarce.
bool IsWithheld(const Tcb& tcb) {
  return IsScarce(tcb.rcv) && IsWorthTelling(tcb, EdgeOfReceives(tcb, tcb.rcv.wscale), false);
}

/// Text that starts behind a gap: held as far as the window reaches.
void HoldText(Tcb& tcb, const Segment& segment, SequenceNumber start, Arrival* arrival) {
  NoteOutOfOrder(tcb, start + segment.text_length);
  const uint32_t room = start.Before(tcb.rcv.adv) ? start.DistanceTo(tcb.rcv.adv) : 0;
  const uint32_t length = Minimum(segment.text_length, room);
  const bool push = length == segment.text_length && segment.header.Has(kPsh);
  const TextPiece piece = Hold(tcb.rcv.held, start, length, push, tcb.options.reassembly);
  if (piece.known_before != 0) NoteDuplicate(tcb.owed, start, piece.known_before);
  if (piece.length == 0) {
    if (piece.known_before < length || length == 0) arrival->refusal = Refusal::kOutOfOrder;
    return;
  }
  arrival->text_offset = piece.offset;
  arrival->text_length = piece.length;
  arrival->text_sequence = start + piece.offset;
  arrival->push = push && piece.to_end;
  arrival->held = true;
}

/// rcv.nxt has moved: what was held behind it follows.
void ReleaseHeld(ReceiveHalf& rcv) {
  if (!rcv.held.HoldsAny()) return;
  const uint32_t released = Release(rcv.held, rcv.nxt);
  rcv.nxt += released;
  rcv.unplaced += released;
  rcv.wnd_limit -= Minimum(rcv.wnd_limit, released);
}

}  // namespace

void NoteDuplicate(Owed& owed, SequenceNumber start, uint32_t length) {
  owed.duplicate = {start, start + length};
}

void NoteOutOfOrder(Tcb& tcb, SequenceNumber end) {
  if (tcb.owed.duplicates < 0xff) ++tcb.owed.duplicates;
  tcb.rcv.gap_end = tcb.rcv.gap_open ? Max(tcb.rcv.gap_end, end) : end;
  tcb.rcv.gap_open = true;
}

void ReportHeld(Tcb& tcb, Header* header, uint32_t room) {
  constexpr uint32_t kOverhead = 4;  // two NOPs, kind, length
  header->sack_count = 0;
  if (!tcb.sack_on || room < kOverhead) return;
  uint32_t blocks = Minimum((room - kOverhead) >> 3, tcb.timestamps_on ? 3 : 4);
  uint32_t count = 0;
  const bool pure = room == kMaxHeaderBytes;  // others are refreshed, and would tell twice
  // What is accepted and not placed is neither below the acknowledgement nor told as held: a block
  // that reaches there passes for no duplicate (RFC 2883 section 4), and is told later.
  const bool recognisable = tcb.owed.duplicate.end.AtOrBefore(AckableSequence(tcb)) ||
                            tcb.owed.duplicate.start.AtOrAfter(tcb.rcv.nxt);
  if (pure && recognisable && tcb.owed.duplicate.start != tcb.owed.duplicate.end) {
    header->sack[count++] = tcb.owed.duplicate;
    tcb.owed.duplicate = SackBlock{};
  }
  if (tcb.rcv.held.HoldsAny())
    count += SackBlocks(tcb.rcv.held, &header->sack[count], blocks - count);
  header->sack_count = static_cast<uint8_t>(count);
}

void AcceptText(Tcb& tcb, uint32_t offset, uint32_t length, bool push, Arrival* arrival) {
  arrival->text_offset = offset;
  arrival->text_length = length;
  arrival->text_sequence = tcb.rcv.nxt;
  arrival->push = push;
  tcb.rcv.nxt += length;
  tcb.rcv.unplaced += length;
  tcb.rcv.wnd_limit -= Minimum(tcb.rcv.wnd_limit, length);
  ReleaseHeld(tcb.rcv);
  // Urgent data is over. Left behind, its end would be ahead again after 2^31 bytes.
  if (tcb.rcv.urgent && tcb.rcv.up.AtOrBefore(tcb.rcv.nxt)) tcb.rcv.urgent = false;
  tcb.rcv.ack_when_placed = false;  // a new batch
  tcb.owed.duplicates = 0;          // the next ACK moves on
}

void TakeText(Tcb& tcb, const Segment& segment, Arrival* arrival) {
  if (segment.text_length == 0) return;
  const Header& header = segment.header;
  if (!TakesText(tcb.state)) {
    // After the peer's FIN there can be no text: ignored (3.10.7.4, seventh step).
    arrival->refusal = Refusal::kNoText;
    tcb.owed.ack_now = true;
    return;
  }
  const SequenceNumber start = header.sequence + (header.Has(kSyn) ? 1u : 0u);
  if (start.After(tcb.rcv.nxt)) {
    HoldText(tcb, segment, start, arrival);
    return;
  }
  const uint32_t duplicate = start.DistanceTo(tcb.rcv.nxt);
  // Our ACK was lost, or is late.
  if (duplicate != 0) NoteDuplicate(tcb.owed, start, Minimum(duplicate, segment.text_length));
  if (duplicate >= segment.text_length) {
    tcb.owed.ack_now = true;
    return;
  }
  uint32_t length = segment.text_length - duplicate;
  // Beyond the right edge nothing is taken, whatever the owner could hold by now.
  const bool whole = length <= ReceiveWindow(tcb.rcv);
  if (!whole) length = ReceiveWindow(tcb.rcv);
  if (length == 0) {
    tcb.owed.ack_now = true;
    return;
  }
  AcceptText(tcb, duplicate, length, whole && header.Has(kPsh), arrival);
  // One ACK (RFC 5681 4.2): for the text, and for what of it is there already or not taken.
  if (duplicate != 0 || !whole) tcb.rcv.ack_when_placed = true;
}

void ChallengeAck(Tcb& tcb, uint64_t now) {
  if (now - tcb.challenge_window >= kChallengeWindowNs) {
    tcb.challenge_window = now;
    tcb.challenges_sent = 0;
  }
  if (tcb.challenges_sent >= kChallengesAWindow) return;
  ++tcb.challenges_sent;
  tcb.owed.ack_now = true;
}

uint16_t AdvertiseWindow(Tcb& tcb, SequenceNumber acknowledgement, bool is_syn) {
  if (is_syn) {  // RFC 7323 2.2: never scaled
    const uint32_t window = Minimum(tcb.rcv.wnd_limit, kMaxWindowField);
    tcb.rcv.adv = tcb.rcv.told = Max(tcb.rcv.adv, tcb.rcv.nxt + window);
    return static_cast<uint16_t>(tcb.rcv.nxt.DistanceTo(tcb.rcv.adv));
  }
  const uint8_t scale = tcb.rcv.wscale;
  // The edge stays while the acknowledgement does, unless there is something to tell: otherwise a
  // duplicate ACK would pass for a window update, and fast retransmit at the peer would fail.
  const bool duplicates_first = tcb.owed.duplicates != 0 && tcb.rcv.unplaced == 0;
  const bool may_move =
      acknowledgement != tcb.owed.last_ack_sent || (tcb.rcv.window_update && !duplicates_first);
  SequenceNumber edge = tcb.rcv.adv;
  if (may_move && !tcb.rcv.fin_received) {
    tcb.rcv.window_update = false;
    edge = NextRightEdge(tcb, scale, IsScarce(tcb.rcv));
  }
  tcb.rcv.told = acknowledgement;
  if (edge.AtOrBefore(acknowledgement)) return 0;
  const uint32_t span = Minimum(acknowledgement.DistanceTo(edge), kMaxWindowField << scale);
  uint32_t field = span >> scale;
  const uint32_t up = (field + 1) << scale;
  if ((acknowledgement + (field << scale)).Before(tcb.rcv.adv) && field < kMaxWindowField &&
      up <= acknowledgement.DistanceTo(tcb.rcv.nxt + tcb.rcv.wnd_limit)) {
    // Rounding down would retract the edge, and there is room to round up.
    ++field;
  }
  // Without that room the edge as the peer computes it retracts by less than one unit of the
  // scale, which RFC 7323 section 2.4 foresees; text up to rcv.adv is still taken.
  tcb.rcv.told += field << scale;
  tcb.rcv.adv = Max(tcb.rcv.adv, tcb.rcv.told);
  tcb.rcv.max_wnd = Maximum(tcb.rcv.max_wnd, field << scale);
  return static_cast<uint16_t>(field);
}

void ConsiderWindowUpdate(Tcb& tcb, uint64_t now) {
  if (!TakesText(tcb.state)) return;
  // As much as a SYN can tell (RFC 7323 2.2) is plenty to begin with: the first ACK tells the rest.
  if (tcb.rcv.nxt == tcb.rcv.irs + 1 && ReceiveWindow(tcb.rcv) >= kMaxWindowField) return;
  if (IsWorthTelling(tcb, EdgeOfReceives(tcb, tcb.rcv.wscale), IsScarce(tcb.rcv))) {
    tcb.rcv.window_update = true;
    tcb.owed.ack_now = true;
    tcb.rcv.window_deadline = kNever;
  } else if (!IsWithheld(tcb)) {
    tcb.rcv.window_deadline = kNever;
  } else if (tcb.rcv.window_deadline == kNever) {
    tcb.rcv.window_deadline = now + kWindowOverrideNs;
  }
}

void OverrideWindow(Tcb& tcb, uint64_t now) {
  tcb.rcv.window_deadline = kNever;
  if (!IsWithheld(tcb)) return;  // an acknowledgement has told it
  tcb.rcv.receives_most = tcb.rcv.receives;
  ConsiderWindowUpdate(tcb, now);
}

}  // namespace internal

SequenceNumber AckableSequence(const Tcb& tcb) {
  if (tcb.rcv.unplaced == 0) return tcb.rcv.nxt;
  // A FIN behind text that is not placed is not covered either.
  return tcb.rcv.nxt - tcb.rcv.unplaced - (tcb.rcv.fin_received ? 1u : 0u);
}

uint32_t WindowUnit(const Tcb& tcb) { return 1u << tcb.rcv.wscale; }

void OnPlaced(Tcb& tcb, uint32_t bytes, uint64_t now, bool last_piece) {
  const internal::Invariants holds(tcb);
  tcb.rcv.unplaced -= internal::Minimum(bytes, tcb.rcv.unplaced);
  if (bytes == 0 || tcb.state == State::kClosed) return;
  // What an offload engine has put together counts as the segments that it was; where the end of a
  // batch is acknowledged as well, as one: an acknowledgement for every second train is enough.
  const bool train = bytes > tcb.options.mss && !tcb.options.ack_on_batch_end;
  const uint32_t segments = !last_piece ? 0 : train ? 2 : 1;
  tcb.owed.segments_unacked =
      static_cast<uint8_t>(internal::Minimum(tcb.owed.segments_unacked + segments, 0xff));
  const bool all_placed = tcb.rcv.unplaced == 0;
  if (tcb.rcv.gap_open) {
    // RFC 5681 4.2: text that fills a gap is acknowledged at once.
    tcb.owed.ack_now = true;
    if (tcb.rcv.nxt.AtOrAfter(tcb.rcv.gap_end)) tcb.rcv.gap_open = false;
  }
  if (tcb.owed.segments_unacked >= tcb.options.ack_every) tcb.owed.ack_now = true;  // 3.8.6.3
  if (all_placed && (tcb.rcv.fin_received || tcb.rcv.ack_when_placed)) tcb.owed.ack_now = true;
  // The peer may be held up by our window: less than two segments of it are left.
  if (last_piece && internal::ReceiveWindow(tcb.rcv) < tcb.options.mss << 1)
    tcb.owed.ack_now = true;
  if (all_placed) tcb.rcv.ack_when_placed = false;
  if (!tcb.owed.ack_now && tcb.owed.ack_deadline == kNever) {
    tcb.owed.ack_deadline = now + internal::MicrosToNanos(tcb.options.ack_delay_us);
  }
}

bool NextReleased(Tcb& tcb, HeldRange* out) {
  const internal::Invariants holds(tcb);
  return tcb.rcv.held.released != 0 && TakeReleased(tcb.rcv.held, AckableSequence(tcb), out);
}

void SetReceiveWindow(Tcb& tcb, uint32_t bytes, uint64_t now) {
  const internal::Invariants holds(tcb);
  tcb.rcv.wnd_limit = internal::Minimum(bytes, tcb.options.receive_buffer);
  internal::ConsiderWindowUpdate(tcb, now);
}

void NoteReceives(Tcb& tcb, uint32_t posted) {
  tcb.rcv.receives = posted;
  tcb.rcv.receives_most = internal::Maximum(tcb.rcv.receives_most, posted);
}

void OnBatchEnd(Tcb& tcb) {
  const internal::Invariants holds(tcb);
  if (!tcb.options.ack_on_batch_end || tcb.state < State::kSynReceived) return;
  if (tcb.rcv.unplaced != 0) {
    tcb.rcv.ack_when_placed = true;
  } else if (AckableSequence(tcb) != tcb.owed.last_ack_sent) {
    tcb.owed.ack_now = true;
  }
}

bool AckDue(const Tcb& tcb, uint64_t now) {
  if (tcb.state < State::kSynReceived) return false;
  return tcb.owed.ack_now || tcb.owed.ack_deadline <= now ||
         (tcb.owed.duplicates != 0 && tcb.rcv.unplaced == 0);
}

}  // namespace qpip::tcp
