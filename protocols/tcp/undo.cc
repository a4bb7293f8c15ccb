// Taking back a reduction of the congestion window that was for nothing: what was presumed lost had
// only been late. Three witnesses, whichever speaks first:
//
//     timestamps   an ACK for what was sent again echoes a clock from before that (RFC 3522)
//     F-RTO        after a time-out, what was sent once only is acknowledged (RFC 5682)
//     D-SACK       the peer reports all that was sent again as duplicates (RFC 3708)
//
// The response is RFC 4015's: the former threshold, and a window that slow start brings back.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

/// RFC 4015 section 4: the windows as they were, without a burst.
void TakeBack(Tcb& tcb) {
  Undo& undo = tcb.undo;
  undo.possible = false;
  const uint32_t initial = InitialWindow(tcb.snd.mss);
  const uint32_t flight = tcb.sack_on ? tcb.snd.una.DistanceTo(tcb.snd.nxt) : FlightSize(tcb.snd);
  tcb.ssthresh = Maximum(tcb.ssthresh, Maximum(undo.ssthresh, undo.cwnd));
  tcb.cwnd = Maximum(tcb.cwnd, Minimum(undo.cwnd, flight + initial));
  tcb.policy = undo.policy;
  tcb.bytes_acked = 0;
  tcb.in_recovery = false;
  tcb.timeout_recovery = false;
  tcb.go_back = false;
  tcb.retransmit_now = false;
  tcb.duplicate_acks = 0;
  tcb.frto = FRto::kOff;
  tcb.cwnd_limited = true;
  tcb.limited_until = tcb.snd.max;
  tcb.ecn.window_cut = false;
  if (tcb.sack_on) {
    FindAll(tcb.sent);
  } else {
    tcb.snd.nxt = tcb.snd.max;
    tcb.recover = tcb.snd.una - 1;
  }
}

/// RFC 3522: the first ACK for what was sent again.
bool IsOlderThanRepetition(const Tcb& tcb, const Header& header) {
  if (!tcb.undo.stamped || !tcb.timestamps_on || !header.has_timestamps) return false;
  if (tcb.snd.una.Before(tcb.undo.first_repeat_end)) return false;
  return static_cast<int32_t>(header.ts_echo - tcb.undo.first_repeat_stamp) < 0;
}

}  // namespace

void PrepareUndo(Tcb& tcb, bool by_timer, uint64_t now) {
  Undo& undo = tcb.undo;
  undo.until = tcb.snd.max;
  // The timer has cut a recovery short. What there is to go back to is from before the recovery, so
  // what proves it must be about what the recovery repeated: not about what the timer repeats,
  // whose originals may be on their way while a real loss is being repaired.
  const bool recovering = tcb.in_recovery || tcb.timeout_recovery || tcb.go_back;
  if (by_timer && undo.possible && recovering) return;
  undo.cwnd = tcb.cwnd;
  undo.ssthresh = tcb.ssthresh;
  undo.policy = tcb.policy;
  undo.possible = tcb.options.undo;
  undo.stamped = false;
  undo.repeated = 0;
  undo.reduced_at = now;
}

void NoteRepeated(Tcb& tcb, SequenceNumber from, SequenceNumber to, uint64_t now) {
  Undo& undo = tcb.undo;
  if (!undo.possible) return;
  undo.repeated += from.DistanceTo(to);
  undo.until = tcb.snd.max;  // D-SACKs come with the ACKs of one round trip more
  if (undo.stamped) return;
  undo.stamped = true;
  undo.first_repeat_end = to;
  undo.first_repeat_stamp = TimestampNow(tcb, now);
}

bool TryUndo(Tcb& tcb, const UndoEvidence& evidence) {
  Undo& undo = tcb.undo;
  if (!undo.possible) return false;
  bool spurious = evidence.advanced && IsOlderThanRepetition(tcb, *evidence.header);
  if (tcb.frto != FRto::kOff && evidence.original_delivered) spurious = true;
  if (evidence.duplicate_bytes != 0 && undo.repeated != 0) {
    undo.repeated -= Minimum(undo.repeated, evidence.duplicate_bytes);
    if (undo.repeated == 0) spurious = true;
  }
  if (spurious) {
    TakeBack(tcb);
    return true;
  }
  if (tcb.snd.una.After(undo.until)) undo.possible = false;
  return false;
}

// ---------------------------------------------------------------- F-RTO

void StartFRto(Tcb& tcb, bool first_event) {
  // RFC 5682 section 2.1, step 1: not when the timer has cut a recovery short.
  tcb.frto = tcb.options.undo && first_event ? FRto::kFirstAck : FRto::kOff;
}

void AdvanceFRto(Tcb& tcb, bool advanced, bool told_of_new) {
  if (tcb.frto == FRto::kOff) return;
  if (!advanced && !told_of_new) return;
  // Step 2b: up to two new segments tell more than a repetition. If they can go.
  const bool first = tcb.frto == FRto::kFirstAck;
  const bool new_text = tcb.snd.max.Before(tcb.snd.end) &&
                        (tcb.snd.max + tcb.snd.mss).AtOrBefore(tcb.snd.una + tcb.snd.wnd);
  if (first && advanced && new_text && tcb.snd.una.Before(tcb.recover)) {
    tcb.frto = FRto::kSecondAck;
    tcb.frto_limit = tcb.snd.max + (tcb.snd.mss << 1);
    if (!tcb.sack_on) tcb.snd.nxt = tcb.snd.max;
  } else {
    tcb.frto = FRto::kOff;  // step 2a, 3a: the time-out was right
  }
}

}  // namespace qpip::tcp::internal
