// Loss detection and repair on connections with SACK: RACK-TLP (RFC 8985), what is in flight by the
// scoreboard (RFC 6675), and proportional rate reduction (RFC 6937).
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

constexpr uint8_t kWindowPersists = 16;              // RFC 8985 6.2, step 4
constexpr uint64_t kProbeSlackNs = 2 * 1000 * 1000;  // for the peer's scheduling

bool IsRecovering(const Tcb& tcb) { return tcb.in_recovery || tcb.timeout_recovery; }

/// Text sent closer together than this is one run: well below what RACK tells apart.
uint64_t JoinInterval(const Tcb& tcb) {
  return tcb.rack.min_rtt_ns == kNever ? 0 : tcb.rack.min_rtt_ns >> 4;
}

// ---------------------------------------------------------------- what an ACK tells

/// RFC 2883 section 4: the first block reports a duplicate when it lies below the acknowledgement
/// or inside the second block.
bool IsDuplicateBlock(const Header& header) {
  if (header.sack_count == 0) return false;
  const SackBlock& first = header.sack[0];
  if (first.end.AtOrBefore(header.acknowledgement)) return true;
  if (header.sack_count < 2) return false;
  const SackBlock& second = header.sack[1];
  return first.start.AtOrAfter(second.start) && first.end.AtOrBefore(second.end);
}

/// A duplicate is reported, and of something that was sent again. Others say nothing about our
/// repetitions: the network made them, or an attacker who sends old text to the peer.
bool IsDuplicateReport(const Tcb& tcb, const Header& header) {
  const Rack& rack = tcb.rack;
  return IsDuplicateBlock(header) && rack.repeated &&
         header.sack[0].start.AtOrAfter(rack.repeat_start) &&
         header.sack[0].end.AtOrBefore(rack.repeat_end);
}

/// [from, to) is sent again.
void NoteRepeatedRange(Tcb& tcb, SequenceNumber from, SequenceNumber to) {
  Rack& rack = tcb.rack;
  if (!rack.repeated || from.Before(rack.repeat_start)) rack.repeat_start = from;
  if (!rack.repeated || to.After(rack.repeat_end)) rack.repeat_end = to;
  rack.repeat_until = Max(tcb.snd.max, to);
  rack.repeated = true;
}

/// The block names text that is outstanding. It may start below snd.una when its ACK was overtaken.
bool IsSensible(const Tcb& tcb, const SackBlock& block) {
  return block.start.Before(block.end) && block.end.After(tcb.snd.una) &&
         block.end.AtOrBefore(tcb.sent.End());
}

/// Marks what the ACK's blocks name. A block that names what was never sent, or is empty, is
/// nothing: RFC 2018 section 5 has no answer to a lying peer but not to believe it.
void ReadSack(Tcb& tcb, const Header& header, bool duplicate_first, Delivery* delivery) {
  for (uint32_t i = duplicate_first ? 1 : 0; i < header.sack_count; ++i) {
    const SackBlock& block = header.sack[i];
    if (!IsSensible(tcb, block)) continue;
    SackRuns(tcb.sent, Max(block.start, tcb.snd.una), block.end, tcb.rack.fack, delivery);
  }
  for (uint32_t i = duplicate_first ? 1 : 0; i < header.sack_count; ++i) {
    if (IsSensible(tcb, header.sack[i])) {
      tcb.rack.fack = Max(tcb.rack.fack, header.sack[i].end);
    }
  }
  tcb.rack.fack = Max(tcb.rack.fack, tcb.snd.una);
}

/// RACK.min_RTT, which before any text's is the SYN's; kNever: not known.
uint64_t LeastRoundTrip(const Tcb& tcb) {
  if (tcb.rack.min_rtt_ns != kNever || !tcb.rtt.valid) return tcb.rack.min_rtt_ns;
  return MicrosToNanos(tcb.rtt.srtt_us >> 3);
}

/// RFC 8985 6.2, steps 1 to 3.
void UpdateRack(Tcb& tcb, const Header& header, const Delivery& delivery, uint64_t now) {
  Rack& rack = tcb.rack;
  if (delivery.reordered) rack.reordering_seen = true;
  if (!delivery.any) return;
  const uint64_t rtt = now - delivery.sent_at;
  if (delivery.resent) {
    // Whose acknowledgement is it? The first transmission's if it echoes an older clock, or comes
    // sooner than the path allows.
    const uint32_t clock = TimestampNow(tcb, delivery.sent_at);
    const bool older = tcb.timestamps_on && header.has_timestamps &&
                       static_cast<int32_t>(header.ts_echo - clock) < 0;
    if (older || rtt < LeastRoundTrip(tcb)) return;
  } else if (rtt < rack.min_rtt_ns) {
    rack.min_rtt_ns = rtt;
  }
  if (rack.valid && !SentAfter(delivery.sent_at, delivery.end, rack.sent_at, rack.end)) return;
  rack.valid = true;
  rack.sent_at = delivery.sent_at;
  rack.end = delivery.end;
  rack.rtt_ns = rtt;
}

/// RFC 8985 6.2, step 4: the window widens when duplicates show that something was repeated in
/// vain, and narrows after a number of recoveries without.
void AdaptWindow(Tcb& tcb, bool duplicate_reported) {
  Rack& rack = tcb.rack;
  if (rack.duplicate_round && tcb.snd.una.AtOrAfter(rack.round_end)) rack.duplicate_round = false;
  if (!duplicate_reported || rack.duplicate_round) return;
  rack.duplicate_round = true;
  rack.round_end = tcb.snd.nxt;
  if (rack.window_multiplier < 0xff) ++rack.window_multiplier;
  rack.window_persists = kWindowPersists;
}

uint64_t ReorderingWindow(const Tcb& tcb) {
  const Rack& rack = tcb.rack;
  if (!rack.reordering_seen) {
    if (IsRecovering(tcb) || rack.sacks >= kDuplicateAckThreshold) return 0;
  }
  uint64_t window = 0;
  for (uint32_t i = 0; i < rack.window_multiplier; ++i) window += rack.min_rtt_ns >> 2;
  const uint64_t limit = MicrosToNanos(tcb.rtt.srtt_us >> 3);
  return window < limit || !tcb.rtt.valid ? window : limit;
}

/// Something that was sent after all of `run` has been delivered.
bool IsOvertaken(const Tcb& tcb, const SentRun& run) {
  const Rack& rack = tcb.rack;
  const bool resent = (run.flags & kRunResent) != 0;
  if (!resent && run.end.AtOrBefore(rack.fack)) return true;  // first sent in sequence
  const uint64_t last = run.LastSentAt();
  // Sent again in the very moment that what was delivered was sent: where the clock stands still
  // between the two, as on a test bench, RFC 8985's rule would find it lost at once.
  if (resent && last == rack.sent_at) return false;
  return SentAfter(rack.sent_at, rack.end, last, run.end);
}

/// RFC 8985 6.2, step 5. Answers whether anything is newly deemed lost.
bool DetectLoss(Tcb& tcb, uint64_t now) {
  Rack& rack = tcb.rack;
  rack.deadline = kNever;
  if (!rack.valid) return false;
  const uint64_t patience = rack.rtt_ns + ReorderingWindow(tcb);
  bool lost = false;
  uint64_t wait = 0;
  for (uint32_t i = 0; i < tcb.sent.count; ++i) {
    const SentRun& run = tcb.sent.runs[i];
    if ((run.flags & (kRunSacked | kRunLost)) != 0) continue;
    if (!IsOvertaken(tcb, run)) continue;
    // Not later than what has overtaken it, of which only the first time is known.
    const uint64_t last = run.LastSentAt();
    const uint64_t due = (last < rack.sent_at ? last : rack.sent_at) + patience;
    if (due <= now) {
      LoseRun(tcb.sent, i);
      lost = true;
    } else if (due > wait) {
      wait = due;
    }
  }
  if (wait != 0) rack.deadline = wait;
  return lost;
}

// ---------------------------------------------------------------- how much to send

/// RFC 8985 7.1: a recovery begins, which has its own answer to whatever was lost.
void DropTailProbe(Tcb& tcb) {
  tcb.tail_probe.deadline = kNever;
  tcb.tail_probe.due = false;
  tcb.tail_probe.outstanding = false;
}

void EnterRecovery(Tcb& tcb, uint64_t now) {
  PrepareUndo(tcb, false, now);
  CutThreshold(tcb, CongestionEvent::kLoss);
  tcb.recover = tcb.snd.max;
  tcb.in_recovery = true;
  tcb.bytes_acked >>= 1;  // as large a part of a window as it was
  tcb.rate_reduction = RateReduction{};
  tcb.rate_reduction.flight_size = Maximum(tcb.snd.una.DistanceTo(tcb.snd.nxt), 1);
  DropTailProbe(tcb);
  // What goes now has a round trip of its own before it, whatever detecting the loss has taken
  // (RFC 6675 section 6).
  StartRetransmitTimer(tcb, now);
}

/// RFC 6937 section 3, with slow-start reduction bound.
void ReduceRate(Tcb& tcb, uint32_t delivered, bool safe) {
  RateReduction& prr = tcb.rate_reduction;
  prr.delivered += delivered;
  const uint32_t pipe = tcb.sent.Pipe();
  uint32_t send = 0;
  if (pipe > tcb.ssthresh) {
    const uint64_t share = uint64_t{prr.delivered} * tcb.ssthresh + prr.flight_size - 1;
    const uint64_t target = share / prr.flight_size;
    if (target > prr.sent) send = static_cast<uint32_t>(target - prr.sent);
  } else {
    uint32_t limit = prr.delivered > prr.sent ? prr.delivered - prr.sent : 0;
    limit = Maximum(limit, delivered);
    if (safe) limit += tcb.snd.mss;
    send = Minimum(tcb.ssthresh - pipe, limit);
  }
  if (prr.sent == 0) send = Maximum(send, tcb.snd.mss);  // the fast retransmit itself
  tcb.cwnd = Maximum(pipe + send, tcb.snd.mss);
}

/// Everything that was in flight when loss was detected is acknowledged.
void EndRecovery(Tcb& tcb) {
  if (tcb.in_recovery) {
    tcb.cwnd = Maximum(tcb.ssthresh, tcb.snd.mss);
  }
  tcb.in_recovery = false;
  tcb.timeout_recovery = false;
  tcb.frto = FRto::kOff;
  Rack& rack = tcb.rack;
  if (rack.window_persists != 0) --rack.window_persists;
  if (rack.window_persists == 0) {
    rack.window_multiplier = 1;
    rack.window_persists = kWindowPersists;
  }
}

// ---------------------------------------------------------------- tail loss probe

/// RFC 8985 7.2: when to probe, if nothing is heard until then. What 7.3 has a sender check when
/// the time has come is checked here, as only an ACK could change it: no other probe is in flight,
/// and the round trip has been measured since the last one or, before any, at all.
void ScheduleTailProbe(Tcb& tcb, uint64_t now) {
  TailProbe& probe = tcb.tail_probe;
  probe.deadline = kNever;
  const uint32_t flight = tcb.sent.start.DistanceTo(tcb.sent.End());
  if (flight == 0 || probe.outstanding || probe.due || IsRecovering(tcb)) return;
  if (tcb.sent.sacked != 0 || tcb.sent.lost != 0 || !tcb.rtt.fresh) return;
  uint64_t wait = (MicrosToNanos(tcb.rtt.srtt_us >> 3) << 1) + kProbeSlackNs;
  // A lone segment may wait for the peer's delayed acknowledgement. TLP.max_ack_delay is what a
  // time-out allows for at least, as in Linux.
  if (flight <= tcb.snd.mss) wait += MicrosToNanos(tcb.options.rto_min_us);
  const uint64_t deadline = now + wait;
  // Not later than the time-out, whose place it takes then.
  probe.deadline = deadline < tcb.retransmit_deadline ? deadline : tcb.retransmit_deadline;
}

/// RFC 8985 7.4.2: whether the probe has repaired a loss, which then counts as congestion.
/// `repeats_last`: the ACK says what the last one did.
void JudgeTailProbe(Tcb& tcb, const Header& header, bool duplicate_reported, bool repeats_last) {
  TailProbe& probe = tcb.tail_probe;
  const SequenceNumber acknowledged = header.acknowledgement;  // of an overtaken ACK, below snd.una
  if (!probe.outstanding || acknowledged.Before(probe.end)) return;
  const bool at_end = acknowledged == probe.end;
  // Both have arrived: the peer reports the duplicate, or, if it reports none, acknowledges twice.
  const bool in_vain = (duplicate_reported && header.sack[0].end == probe.end) ||
                       (at_end && repeats_last && header.sack_count == 0);
  if (probe.repeats && !in_vain) {
    if (at_end) return;  // the answer to either; the next one tells
    if (!IsRecovering(tcb)) {
      CutThreshold(tcb, CongestionEvent::kLoss);
      tcb.cwnd = Minimum(tcb.cwnd, tcb.ssthresh);
    }
  }
  probe.outstanding = false;
}

// ---------------------------------------------------------------- was it for nothing?

/// What this ACK says about whether the last reduction was for nothing. Answers whether it was.
bool JudgeReduction(Tcb& tcb, const Header& header, const Delivery& delivery, bool advanced,
                    bool duplicate_reported, bool thrown_away) {
  UndoEvidence evidence;
  evidence.header = &header;
  evidence.advanced = advanced;
  evidence.original_delivered = delivery.original_sent_at < tcb.undo.reduced_at;
  if (duplicate_reported) {
    evidence.duplicate_bytes = header.sack[0].start.DistanceTo(header.sack[0].end);
  }
  if (TryUndo(tcb, evidence)) return true;
  // The answers to what went behind the first repetition say which it was.
  const bool refuted = thrown_away && tcb.frto == FRto::kSecondAck;
  if (refuted) LoseAll(tcb.sent, false);
  AdvanceFRto(tcb, advanced, delivery.sacked_bytes != 0 || refuted);
  return false;
}

/// Whether the ACK answers to what came behind a gap and names nothing held there, though the peer
/// has permitted SACK: it has thrown that away.
bool SaysThrownAway(const Tcb& tcb, const Header& header, bool repeats_last) {
  return repeats_last && header.sack_count == 0 && tcb.sent.sacked == 0 && tcb.sent.count != 0;
}

/// RFC 8985 6.2: segments sacked, as far as matters. Small ones sacked together count as one.
void CountSacked(Tcb& tcb, uint32_t bytes) {
  if (bytes == 0) return;
  uint32_t segments = 1;
  for (uint32_t more = tcb.snd.mss << 1; more <= bytes && segments < kDuplicateAckThreshold;) {
    ++segments;
    more += tcb.snd.mss;
  }
  tcb.rack.sacks = static_cast<uint8_t>(Minimum(tcb.rack.sacks + segments, 0xff));
}

/// The acknowledgement that HyStart++ learns from.
uint64_t MeasuredRoundTrip(const Delivery& delivery, uint64_t now) {
  return delivery.any && !delivery.resent ? now - delivery.sent_at : kNever;
}

}  // namespace

void StartRecovery(Tcb& tcb) {
  ResetScoreboard(tcb.sent, tcb.snd.una);
  tcb.rack = Rack{};
  tcb.rack.fack = tcb.snd.una;
  tcb.tail_probe = TailProbe{};
}

void RecoverOnAck(Tcb& tcb, const Header& header, SequenceNumber una_before, bool repeats_last,
                  uint64_t now) {
  Delivery delivery;
  const bool advanced = tcb.snd.una != una_before;
  if (advanced) AcknowledgeRuns(tcb.sent, tcb.snd.una, tcb.rack.fack, &delivery);
  const bool duplicate_reported = IsDuplicateReport(tcb, header);
  ReadSack(tcb, header, IsDuplicateBlock(header), &delivery);
  CountSacked(tcb, delivery.sacked_bytes);
  if (tcb.sent.sacked == 0) tcb.rack.sacks = 0;
  UpdateRack(tcb, header, delivery, now);
  AdaptWindow(tcb, duplicate_reported);
  JudgeTailProbe(tcb, header, duplicate_reported, repeats_last);

  const bool thrown_away = !advanced && SaysThrownAway(tcb, header, repeats_last);
  const bool undone =
      JudgeReduction(tcb, header, delivery, advanced, duplicate_reported, thrown_away);
  const bool ended = undone || (IsRecovering(tcb) && tcb.snd.una.AtOrAfter(tcb.recover));
  const bool after_timeout = ended && !undone && tcb.timeout_recovery;
  if (ended && !undone) EndRecovery(tcb);
  HyStartOnAck(tcb, MeasuredRoundTrip(delivery, now));
  const bool lost = tcb.sent.count != 0 && DetectLoss(tcb, now);
  if (lost && !IsRecovering(tcb) && !TakeProbeLoss(tcb, now)) EnterRecovery(tcb, now);
  if (tcb.in_recovery) {
    if (delivery.bytes != 0 || lost) ReduceRate(tcb, delivery.bytes, advanced && !lost);
  } else if (after_timeout) {
    // The last ACK of that slow start. Much of what it covers was delivered before: one segment, as
    // RFC 3465 2.3 has it for all of it.
    GrowOnAck(tcb, Minimum(delivery.bytes, tcb.snd.mss), now);
  } else if (ended) {
    // The window is what the end of the recovery has made of it, and grows from the next ACK on.
    // Most of what this one covers was delivered before.
    tcb.bytes_acked += delivery.bytes;
  } else if (advanced) {
    GrowOnAck(tcb, una_before.DistanceTo(tcb.snd.una), now);
  }
  if (tcb.snd.una.After(tcb.rack.repeat_until)) tcb.rack.repeated = false;
  if (tcb.sent.count == 0) tcb.tail_probe.due = false;
  if (advanced || delivery.sacked_bytes != 0) ScheduleTailProbe(tcb, now);
}

bool ProbesTail(Tcb& tcb, uint64_t now) {
  if (tcb.tail_probe.deadline > now) return false;
  // Not into what a shrunk window has left outside (RFC 9293 3.8.6): there the oldest segment goes,
  // at the time-out. A FIN goes one beyond the window.
  if (tcb.snd.una.DistanceTo(tcb.snd.nxt) <= tcb.snd.wnd + (tcb.snd.fin_sent ? 1u : 0u))
    return true;
  tcb.tail_probe.deadline = kNever;
  return false;
}

void RecoverOnTimer(Tcb& tcb, uint64_t now) {
  if (tcb.rack.deadline <= now && DetectLoss(tcb, now)) {
    if (!IsRecovering(tcb) && !TakeProbeLoss(tcb, now)) EnterRecovery(tcb, now);
    if (tcb.in_recovery) ReduceRate(tcb, 0, false);
  }
  if (ProbesTail(tcb, now)) {
    tcb.tail_probe.deadline = kNever;
    tcb.tail_probe.due = true;
    // RFC 8985 7.3, whether or not it can go at once.
    StartRetransmitTimer(tcb, now);
  }
}

void RecoverOnTimeout(Tcb& tcb) {
  // A peer that does not acknowledge what it has sacked has thrown it away (RFC 2018 section 8).
  const bool reneged = tcb.sent.count != 0 && (tcb.sent.runs[0].flags & kRunSacked) != 0;
  if (reneged) tcb.frto = FRto::kOff;
  LoseAll(tcb.sent, reneged);
  tcb.rack.deadline = kNever;
  DropTailProbe(tcb);
}

void RecoverOnSend(Tcb& tcb, SequenceNumber from, SequenceNumber to, uint64_t now) {
  const bool repeats = from.Before(tcb.sent.End());
  NoteSentRun(tcb.sent, from, to, now, JoinInterval(tcb));
  if (tcb.in_recovery) tcb.rate_reduction.sent += from.DistanceTo(to);
  if (repeats) NoteRepeatedRange(tcb, from, to);
  if (repeats && !tcb.tail_probe.due) NoteRepeated(tcb, from, to, now);
  TailProbe& probe = tcb.tail_probe;
  // Of several segments that went as one packet, the last.
  if (!repeats) probe.last_start = Max(from, to - tcb.snd.mss);
  if (probe.due) {
    probe.due = false;
    probe.outstanding = true;
    probe.repeats = repeats;
    probe.end = tcb.sent.End();
    tcb.rtt.fresh = false;
    StartRetransmitTimer(tcb, now);  // RFC 8985 7.3
  }
  if (!repeats) ScheduleTailProbe(tcb, now);
}

bool RepeatsFin(const Tcb& tcb) {
  if (!tcb.sack_on) return false;
  SequenceNumber start;
  uint32_t length = 0;
  if (FirstLost(tcb.sent, &start, &length)) return start == tcb.snd.end;
  return tcb.tail_probe.due && tcb.snd.nxt == tcb.snd.end + 1;
}

bool RepeatIntent(const Tcb& tcb, SendIntent* intent) {
  if (tcb.frto == FRto::kSecondAck) return false;  // new text first (RFC 5682)
  SequenceNumber start;
  uint32_t length = 0;
  if (!MaySendText(tcb.state) || !FirstLost(tcb.sent, &start, &length)) return false;
  length = Minimum(Minimum(length, tcb.snd.mss), start.DistanceTo(tcb.snd.end));
  // RFC 9293 3.8.6: what a shrunk window has left outside waits, but never for all of it: the
  // oldest segment goes at the retransmission timer's pace.
  const uint32_t offset = tcb.snd.una.DistanceTo(start);
  if (offset != 0) {
    length = Minimum(length, tcb.snd.wnd > offset ? tcb.snd.wnd - offset : 0);
  }
  const uint32_t pipe = tcb.sent.Pipe();
  if (length == 0 || (pipe != 0 && pipe + length > tcb.cwnd)) return false;
  intent->kind = SendIntent::Kind::kData;
  intent->sequence = start;
  intent->max_length = length;
  intent->retransmission = true;
  return true;
}

bool TailProbeIntent(const Tcb& tcb, SendIntent* intent) {
  if (!tcb.tail_probe.due || !MaySendText(tcb.state)) return false;
  const uint32_t flight = tcb.snd.una.DistanceTo(tcb.snd.nxt);
  const uint32_t offered = tcb.snd.wnd > flight ? tcb.snd.wnd - flight : 0;
  const bool more = tcb.snd.nxt.Before(tcb.snd.end);
  const uint32_t pending = more ? tcb.snd.nxt.DistanceTo(tcb.snd.end) : 0;
  uint32_t fresh = Minimum(Minimum(pending, offered), tcb.snd.mss);
  if (fresh < pending && fresh < tcb.snd.mss) fresh = 0;  // silly window
  intent->kind = SendIntent::Kind::kData;
  if (fresh != 0) {
    intent->sequence = tcb.snd.nxt;
    intent->max_length = fresh;
    intent->retransmission = tcb.snd.nxt.Before(tcb.snd.max);
    return true;
  }
  SequenceNumber start = Max(tcb.tail_probe.last_start, tcb.snd.una);
  const SequenceNumber end = tcb.snd.nxt.After(tcb.snd.end) ? tcb.snd.end : tcb.snd.nxt;
  if (start.AtOrAfter(end)) {
    *intent = SendIntent{};
    return false;  // a FIN: RepeatsFin
  }
  intent->sequence = start;
  intent->max_length = Minimum(start.DistanceTo(end), tcb.snd.mss);
  intent->retransmission = true;
  return true;
}

}  // namespace qpip::tcp::internal
