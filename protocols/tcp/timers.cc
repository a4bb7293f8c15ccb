// Timers: retransmission (RFC 6298), persist (RFC 9293 3.8.6.1), delayed acknowledgement, user and
// connect time-out (3.8.3), TIME-WAIT.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace internal {
namespace {

/// What a SYN was answered by waits so long for its ACK, a minute: whoever is there has repeated
/// his SYN six times by then.
constexpr uint32_t kHalfOpenLifeMs = 60000;

/// `rto_us` doubled `times` times, at most rto_max; nanoseconds.
uint64_t BackedOff(const Tcb& tcb, uint8_t times) {
  const uint64_t backed_off = static_cast<uint64_t>(tcb.rtt.rto_us) << times;
  const uint64_t limit = tcb.options.rto_max_us;
  return MicrosToNanos(backed_off < limit ? backed_off : limit);
}

/// When the connection is given up although nothing else happens; kNever when nothing is awaited.
uint64_t GiveUpDeadline(const Tcb& tcb) {
  if (!IsSynchronised(tcb.state)) {
    uint32_t limit = tcb.options.connect_timeout_ms;
    if (tcb.passive && (limit == 0 || limit > kHalfOpenLifeMs)) limit = kHalfOpenLifeMs;
    return limit == 0 ? kNever : tcb.opened_at + MillisToNanos(limit);
  }
  const uint32_t limit = tcb.user_timeout_ms;
  if (limit == 0 || tcb.snd.una == tcb.snd.max || tcb.first_unacked_at == kNever) return kNever;
  return tcb.first_unacked_at + MillisToNanos(limit);
}

/// RFC 9293 3.8.4: when to ask a silent peer whether it is there.
uint64_t KeepaliveDeadline(const Tcb& tcb) {
  if (tcb.options.keepalive_idle_s == 0 || !IsSynchronised(tcb.state)) return kNever;
  // What is in flight has its own timer, as has a shut window, and TIME-WAIT.
  if (tcb.snd.una != tcb.snd.max || tcb.persist_deadline != kNever || tcb.owed.keepalive_due ||
      tcb.state == State::kTimeWait) {
    return kNever;
  }
  if (tcb.owed.keepalives_unanswered == 0) {
    return tcb.last_heard_at + SecondsToNanos(tcb.options.keepalive_idle_s);
  }
  return tcb.owed.keepalive_sent_at + SecondsToNanos(tcb.options.keepalive_interval_s);
}

/// RFC 6298 (5.4) to (5.7), RFC 5681 3.1: everything in flight is presumed lost.
void OnRetransmissionTimeout(Tcb& tcb, uint64_t now) {
  tcb.retransmit_deadline = kNever;  // starts again when the segment goes out
  if (tcb.rtt.backoff < 16) ++tcb.rtt.backoff;
  tcb.rtt.timing = false;
  if (IsSynchronised(tcb.state)) {
    MtuSearchOnTimeout(tcb, now);
    CongestionOnTimeout(tcb, now);
  }
  tcb.timed_out = true;
  if (IsSynchronised(tcb.state) && tcb.sack_on) {
    RecoverOnTimeout(tcb);
    StartRetransmitTimer(tcb, now);
  } else {
    tcb.snd.nxt = tcb.snd.una;
  }
}

}  // namespace

uint64_t RetransmissionTimeout(const Tcb& tcb) { return BackedOff(tcb, tcb.rtt.backoff); }

void UpdatePersist(Tcb& tcb, uint64_t now) {
  if (!IsWindowShut(tcb)) {
    tcb.persist_deadline = kNever;
    tcb.persist_backoff = 0;
    tcb.probe_due = false;
  } else if (tcb.persist_deadline == kNever && !tcb.probe_due) {
    tcb.persist_deadline = now + BackedOff(tcb, tcb.persist_backoff);
  }
}

void TakeUserTimeout(Tcb& tcb, const Header& header) {
  constexpr uint32_t kUpperLimitS = 3600;  // U_LIMIT
  // Zero would be to wait for nothing: ours holds. So it does when it is for ever.
  const uint32_t ours = tcb.options.user_timeout_ms;
  if (!tcb.options.user_timeout_option || !header.has_user_timeout || ours == 0) return;
  tcb.user_timeout_ms = Maximum(ours, Minimum(header.user_timeout_s, kUpperLimitS) * 1000);
}

void StartTimeWait(Tcb& tcb, uint64_t now) {
  tcb.retransmit_deadline = kNever;
  tcb.time_wait_deadline = now + MillisToNanos(tcb.options.time_wait_ms);
}

void StopTimers(Tcb& tcb) {
  tcb.owed.ack_deadline = kNever;
  tcb.rcv.window_deadline = kNever;
  tcb.retransmit_deadline = kNever;
  tcb.persist_deadline = kNever;
  tcb.time_wait_deadline = kNever;
  tcb.rack.deadline = kNever;
  tcb.tail_probe.deadline = kNever;
}

}  // namespace internal

using namespace internal;

TimerPlan OnTimer(Tcb& tcb, uint64_t now) {
  const Invariants holds(tcb);
  TimerPlan plan;
  if (tcb.state == State::kClosed) return plan;
  if (tcb.time_wait_deadline <= now) {
    EnterClosed(tcb);
    plan.outcome = Outcome::kClosed;
    return plan;
  }
  if (GiveUpDeadline(tcb) <= now) {
    plan.outcome = Outcome::kTimedOut;
    plan.send_reset = IsSynchronised(tcb.state);
    if (plan.send_reset) plan.reset = ResetFrom(tcb, now);
    EnterClosed(tcb);
    return plan;
  }
  if (KeepaliveDeadline(tcb) <= now) {
    if (tcb.owed.keepalives_unanswered >= tcb.options.keepalive_probes) {
      plan.outcome = Outcome::kTimedOut;
      plan.send_reset = true;
      plan.reset = ResetFrom(tcb, now);
      EnterClosed(tcb);
      return plan;
    }
    tcb.owed.keepalive_due = true;
  }
  if (tcb.pace_deadline <= now) tcb.pace_passed = true;
  if (tcb.owed.ack_deadline <= now) {
    tcb.owed.ack_deadline = kNever;
    tcb.owed.ack_now = true;
  }
  if (tcb.rcv.window_deadline <= now) OverrideWindow(tcb, now);
  // A tail loss probe that is due takes the time-out's place (RFC 8985 7.2).
  if (tcb.retransmit_deadline <= now && !ProbesTail(tcb, now)) {
    plan.retransmission_timeout = true;
    OnRetransmissionTimeout(tcb, now);
  } else {
    RecoverOnTimer(tcb, now);
  }
  if (tcb.persist_deadline == kArmPersist) {
    tcb.persist_deadline = kNever;
  } else if (tcb.persist_deadline <= now) {
    tcb.persist_deadline = kNever;
    tcb.probe_due = true;
  }
  if (IsSynchronised(tcb.state)) UpdatePersist(tcb, now);
  return plan;
}

uint64_t NextDeadline(const Tcb& tcb) {
  if (tcb.state == State::kClosed) return kNever;
  uint64_t deadline = GiveUpDeadline(tcb);
  if (tcb.owed.ack_deadline < deadline) deadline = tcb.owed.ack_deadline;
  if (tcb.rcv.window_deadline < deadline) deadline = tcb.rcv.window_deadline;
  if (tcb.retransmit_deadline < deadline) deadline = tcb.retransmit_deadline;
  if (tcb.persist_deadline < deadline) deadline = tcb.persist_deadline;
  if (tcb.rack.deadline < deadline) deadline = tcb.rack.deadline;
  if (tcb.tail_probe.deadline < deadline) deadline = tcb.tail_probe.deadline;
  if (tcb.time_wait_deadline < deadline) deadline = tcb.time_wait_deadline;
  const bool paced = !tcb.pace_passed && tcb.snd.nxt.Before(tcb.snd.end);
  if (paced && tcb.pace_deadline < deadline) deadline = tcb.pace_deadline;
  if (tcb.options.keepalive_idle_s != 0) {
    const uint64_t keepalive = KeepaliveDeadline(tcb);
    if (keepalive < deadline) deadline = keepalive;
  }
  return deadline;
}

}  // namespace qpip::tcp
