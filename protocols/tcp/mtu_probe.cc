// The path's MTU found by what gets through (RFC 4821), for paths whose routers say nothing.
//
//     base            snd.mss                 high                  ceiling
//      |  all paths     |  gets through         |  may              |  the link, the peer, a router
//     -|----------------|----- probe sizes -----|---- have failed --|-> size
//
// Full segments that time out again and again, and nothing else, are a black hole: the size falls
// to what every IPv6 path takes. From there it rises by probes: now and then one segment of new
// text that is larger than the others. A probe that is lost alone tells of its size, not of
// congestion; its text goes again in segments that are known to get through.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace internal {
namespace {

constexpr uint32_t kBaseMtu = 1280;         // RFC 4821 section 7.2: IPv6
constexpr uint8_t kBlackHoleTimeouts = 5;   // R1 of RFC 9293 3.8.3, which is at least three
constexpr uint8_t kMaxProbes = 3;           // RFC 8899 5.1.2, of one size, without a verdict
constexpr uint64_t kRaiseSeconds = 600;     // RFC 8899 5.1.1, PMTU_RAISE_TIMER
constexpr uint32_t kFollowersShift = 2;     // 4 segments: three duplicates, and one to spare
constexpr uint64_t kNoRoomNs = 1000000000;  // messages too short to tell anything: ask again later

uint32_t HeaderBytes(const Tcb& tcb) {
  return kPlainHeaderBytes + (tcb.timestamps_on ? kTimestampBytes : 0);
}

uint32_t BaseSize(const Tcb& tcb) { return kBaseMtu - HeaderBytes(tcb); }

/// Nothing is missing, doubtful or sent again: RFC 4821 section 7.4.
bool IsCalm(const Tcb& tcb) {
  const bool repairs = tcb.in_recovery || tcb.timeout_recovery || tcb.go_back || tcb.timed_out;
  const bool doubts = tcb.duplicate_acks != 0 || tcb.sent.sacked != 0 || tcb.sent.lost != 0 ||
                      tcb.tail_probe.due || tcb.tail_probe.outstanding;
  return !repairs && !doubts && !tcb.probe_due && tcb.snd.nxt == tcb.snd.max;
}

/// The size to try next; 0: none is worth it (RFC 4821 section 7.3).
uint32_t NextSize(const Tcb& tcb, uint64_t now) {
  const MtuSearch& search = tcb.mtu_search;
  const bool settled = search.high < tcb.snd.mss + kSmallestMtuStep;
  const bool again = settled && now >= search.raise_at;  // the path may have changed
  const uint32_t high = again ? search.ceiling : search.high;
  if (high < tcb.snd.mss + kSmallestMtuStep) return 0;
  // The largest first: most paths take what both links take.
  return high == search.ceiling ? high : (tcb.snd.mss + high + 1) >> 1;
}

/// Losses that are not answered as congestion are to be rare: one a retransmission time-out.
void WaitForNext(Tcb& tcb, uint64_t now) {
  tcb.mtu_search.next_at = now + MicrosToNanos(tcb.rtt.rto_us);
}

/// RFC 4821 7.6.2: the probe's size does not get through.
void Fail(Tcb& tcb, uint64_t now) {
  MtuSearch& search = tcb.mtu_search;
  search.outstanding = false;
  search.failed = true;
  search.tries = 0;
  // A router may have said more in the meantime.
  search.high = Minimum(search.high, search.probe_start.DistanceTo(search.probe_end) - 1);
  search.raise_at = now + SecondsToNanos(kRaiseSeconds);
  search.news |= kMtuBoundsFound;
  WaitForNext(tcb, now);
}

/// RFC 4821 7.6.4: why the probe was lost cannot be told. What never gets a verdict has one.
void Doubt(Tcb& tcb, uint64_t now) {
  MtuSearch& search = tcb.mtu_search;
  if (!search.outstanding) return;
  if (++search.tries >= kMaxProbes) {
    Fail(tcb, now);
    return;
  }
  search.outstanding = false;
  WaitForNext(tcb, now);
}

/// RFC 4821 7.6.1.
void Succeed(Tcb& tcb) {
  MtuSearch& search = tcb.mtu_search;
  search.outstanding = false;
  search.tries = 0;
  SetSegmentSize(tcb, Minimum(search.probe_start.DistanceTo(search.probe_end), search.ceiling));
  search.news |= kMtuProbeSucceeded | kMtuBoundsFound;
}

/// RFC 4821 section 7.7: starts over at what every path takes.
void FallToBase(Tcb& tcb) {
  MtuSearch& search = tcb.mtu_search;
  if (!search.on) StartMtuSearch(tcb);
  tcb.snd.mss = BaseSize(tcb);
  search.high = Maximum(search.high, tcb.snd.mss);
  search.next_at = 0;
  search.tries = 0;
  search.unconfirmed = true;
  search.news |= kMtuBlackHole;
}

/// Without SACK, only the probe's text is walked over again: see MtuSearchOnSend.
void RepeatProbe(Tcb& tcb) {
  tcb.mtu_search.repairing = true;
  tcb.snd.nxt = tcb.snd.una;
}

}  // namespace

void StartMtuSearch(Tcb& tcb) {
  MtuSearch& search = tcb.mtu_search;
  if (search.ceiling == 0) search.ceiling = tcb.snd.mss;
  search.high = search.ceiling;
  search.on = true;
  tcb.snd.mss = Minimum(tcb.snd.mss, BaseSize(tcb));
}

uint32_t BoundMtuSearch(Tcb& tcb, uint32_t ceiling) {
  MtuSearch& search = tcb.mtu_search;
  const bool raised = ceiling > search.ceiling;
  search.ceiling = ceiling;
  if (!search.on) return ceiling;
  search.high = raised ? ceiling : Minimum(search.high, ceiling);
  return Minimum(tcb.snd.mss, ceiling);
}

uint32_t MtuProbeSize(const Tcb& tcb, uint64_t now) {
  const MtuSearch& search = tcb.mtu_search;
  if (search.outstanding || now < search.next_at || !IsCalm(tcb)) return 0;
  const uint32_t size = NextSize(tcb, now);
  if (size == 0) return 0;
  // RFC 4821 section 7.4: text and windows for the probe and for what tells of its loss.
  const uint32_t needed = size + (tcb.snd.mss << kFollowersShift);
  const uint32_t flight = tcb.snd.una.DistanceTo(tcb.snd.nxt);
  const bool enough = tcb.snd.nxt.DistanceTo(tcb.snd.end) >= needed &&
                      tcb.snd.wnd >= flight + needed && tcb.cwnd >= needed;
  return enough ? size : 0;
}

void MtuSearchOnSend(Tcb& tcb, const SendIntent& intent, uint32_t length, uint64_t now) {
  MtuSearch& search = tcb.mtu_search;
  const SequenceNumber end = intent.sequence + length;
  if (intent.sequence == tcb.snd.una) search.head_length = length;
  if (intent.mtu_probe && length > tcb.snd.mss) {
    search.outstanding = true;
    search.failed = false;
    search.probe_start = intent.sequence;
    search.probe_end = end;
    if (length > search.high) search.high = search.ceiling;  // the raise timer
    search.news |= kMtuProbeSent;
  } else if (intent.mtu_probe) {
    search.next_at = now + kNoRoomNs;
  }
  if (!intent.retransmission) return;
  if (search.outstanding && intent.sequence.Before(search.probe_end) &&
      end.After(search.probe_start)) {
    Doubt(tcb, now);
  }
  if (search.repairing && tcb.snd.nxt.AtOrAfter(search.probe_end)) {
    search.repairing = false;
    tcb.snd.nxt = tcb.snd.max;
  }
}

void MtuSearchOnAck(Tcb& tcb) {
  MtuSearch& search = tcb.mtu_search;
  search.timeouts = 0;
  search.head_length = 0;
  if (search.outstanding && tcb.snd.una.AtOrAfter(search.probe_end)) Succeed(tcb);
  if (search.failed && tcb.snd.una.AtOrAfter(search.probe_end)) search.failed = false;
  if (search.repairing && tcb.snd.una.AtOrAfter(search.probe_end)) {
    search.repairing = false;
    tcb.snd.nxt = tcb.snd.max;
  }
  if (!search.unconfirmed) return;
  search.unconfirmed = false;  // smaller segments do get through
  search.news |= kMtuBoundsFound;
}

void MtuSearchOnTimeout(Tcb& tcb, uint64_t now) {
  MtuSearch& search = tcb.mtu_search;
  search.repairing = false;
  Doubt(tcb, now);
  if (search.timeouts < 0xff) ++search.timeouts;
  if (tcb.options.mtu_probing == MtuProbing::kOff || search.timeouts < kBlackHoleTimeouts) return;
  // What has timed out is no larger than the base: the path is not what is too small.
  if (Minimum(search.head_length, tcb.snd.mss) <= BaseSize(tcb)) return;
  FallToBase(tcb);
}

bool TakeProbeLoss(Tcb& tcb, uint64_t now) {
  const MtuSearch& search = tcb.mtu_search;
  if (!search.outstanding) return false;
  SequenceNumber start = tcb.snd.una;
  uint32_t length = search.probe_start.DistanceTo(search.probe_end);
  if (tcb.sack_on) {
    const bool alone = FirstLost(tcb.sent, &start, &length) && length == tcb.sent.lost;
    if (!alone || start + length != search.probe_end) return false;
  }
  if (start != search.probe_start) return false;
  Fail(tcb, now);
  if (!tcb.sack_on) RepeatProbe(tcb);
  return true;
}

bool TakeProbeRefusal(Tcb& tcb, SequenceNumber refused, uint64_t now) {
  MtuSearch& search = tcb.mtu_search;
  const uint32_t size = search.probe_start.DistanceTo(search.probe_end);
  if (!search.outstanding || refused != search.probe_start || size <= tcb.snd.mss) return false;
  Fail(tcb, now);
  tcb.tail_probe.deadline = kNever;  // it would have nothing to find out
  tcb.tail_probe.due = false;
  if (tcb.sack_on) {
    LoseBetween(tcb.sent, search.probe_start, search.probe_end);
  } else if (refused == tcb.snd.una) {
    RepeatProbe(tcb);
  } else {
    return false;  // what is before it may be missing as well: the caller starts from there
  }
  return true;
}

}  // namespace internal

using namespace internal;

void SearchPathMtu(Tcb& tcb, uint32_t mtu) {
  if (tcb.options.mtu_probing == MtuProbing::kOff) return;
  if (!tcb.mtu_search.on) StartMtuSearch(tcb);
  const uint32_t headers = HeaderBytes(tcb);
  if (mtu > headers) SetSegmentSize(tcb, Minimum(mtu - headers, tcb.mtu_search.ceiling));
}

uint8_t TakeMtuNews(Tcb& tcb) {
  const uint8_t news = tcb.mtu_search.news;
  tcb.mtu_search.news = 0;
  return news;
}

MtuBounds SearchedMtu(const Tcb& tcb) {
  const MtuSearch& search = tcb.mtu_search;
  const uint32_t negotiated = tcb.negotiated_mss == 0 ? search.ceiling : tcb.negotiated_mss;
  const uint32_t headers = HeaderBytes(tcb);
  MtuBounds bounds;
  bounds.mtu = tcb.snd.mss + headers;
  bounds.peers = tcb.snd.mss >= negotiated;
  if (search.high < search.ceiling) bounds.limit = search.high + headers;
  return bounds;
}

}  // namespace qpip::tcp
