// The path's MTU (RFC 8201) and what TCP does when it turns out to be smaller than thought.
//
// A segment that a router has refused is no sign of congestion: the window stays, and what has been
// refused goes again at once, in smaller segments. Of which segments were too large nothing is
// recorded, so everything from the refused one on is taken for lost, once: routers refuse all that
// was in flight behind it, and each refusal is reported.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace {

using namespace internal;

constexpr uint32_t kSmallestSegment = 536;  // no IPv6 path asks for less (RFC 8200 section 5)

/// With SACK, the scoreboard has them sent again.
void LoseFromRefused(Tcb& tcb, SequenceNumber refused) {
  LoseFrom(tcb.sent, refused);
  // A probe for a lost tail has nothing to find out any more.
  tcb.tail_probe.deadline = kNever;
  tcb.tail_probe.due = false;
  tcb.tail_probe.outstanding = false;
}

/// Without, snd.nxt walks forward again, as after a time-out.
void GoBack(Tcb& tcb) {
  if (tcb.in_recovery) tcb.cwnd = Maximum(tcb.ssthresh, tcb.snd.mss);
  tcb.in_recovery = false;
  tcb.go_back = false;
  tcb.mtu_search.repairing = false;
  tcb.retransmit_now = false;
  tcb.duplicate_acks = 0;
  tcb.recover = tcb.snd.max;  // duplicates of what is repeated are no news of loss
  tcb.snd.nxt = tcb.snd.una;
}

}  // namespace

void internal::SetSegmentSize(Tcb& tcb, uint32_t size) {
  tcb.snd.mss = size;
  tcb.cwnd = Maximum(tcb.cwnd, size);
  tcb.ssthresh = Maximum(tcb.ssthresh, size << 1);
}

void SetPathMtu(Tcb& tcb, uint32_t mtu) {
  if (tcb.negotiated_mss == 0) {
    tcb.negotiated_mss = tcb.mtu_search.on ? tcb.mtu_search.ceiling : tcb.snd.mss;
    tcb.refused_until = tcb.snd.una;
  }
  const uint32_t headers = kPlainHeaderBytes + (tcb.timestamps_on ? kTimestampBytes : 0);
  const uint32_t fits = mtu > headers ? mtu - headers : 0;
  const uint32_t ceiling = Minimum(tcb.negotiated_mss, Maximum(fits, kSmallestSegment));
  SetSegmentSize(tcb, BoundMtuSearch(tcb, ceiling));
}

bool IsOutstanding(const Tcb& tcb, SequenceNumber sequence) {
  return tcb.state != State::kClosed && sequence.AtOrAfter(tcb.snd.una) &&
         sequence.Before(tcb.snd.max);
}

bool OnPacketTooBig(Tcb& tcb, SequenceNumber refused, uint32_t mtu, uint64_t now) {
  const Invariants holds(tcb);
  if (!IsSynchronised(tcb.state) || !IsOutstanding(tcb, refused)) return false;
  const uint32_t before = tcb.snd.mss;
  SetPathMtu(tcb, mtu);
  // The router's word comes behind the loss of a probe that it is about.
  const bool probe_known = tcb.mtu_search.failed && refused == tcb.mtu_search.probe_start;
  if (tcb.snd.mss >= before && probe_known) return false;
  if (tcb.snd.mss >= before && TakeProbeRefusal(tcb, refused, now)) {
    StartRetransmitTimer(tcb, now);
    return true;
  }
  const bool known = tcb.snd.mss >= before && refused.Before(tcb.refused_until) &&
                     tcb.refused_until.AtOrBefore(tcb.snd.max);
  if (known) return false;
  tcb.refused_until = tcb.snd.max;
  tcb.rtt.timing = false;  // Karn
  // What was refused goes now: new text, by which F-RTO judges a time-out, would be refused as
  // well.
  tcb.frto = FRto::kOff;
  if (tcb.sack_on) {
    LoseFromRefused(tcb, refused);
  } else {
    GoBack(tcb);
  }
  StartRetransmitTimer(tcb, now);
  return true;
}

}  // namespace qpip::tcp
