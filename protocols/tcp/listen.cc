#include "protocols/tcp/listen.h"

namespace qpip::tcp {
namespace {

/// From the old connection's last number to the new one's first: an acknowledgement of the old one
/// that is late is then older than any unscaled window, and acceptable to nobody (RFC 5961 5.2).
constexpr uint32_t kIncarnationGap = 1u << 16;

}  // namespace

ListenVerdict OnListenSegment(const Segment& segment, Header* reset) {
  const Header& header = segment.header;
  if (header.Has(kRst)) return ListenVerdict::kDrop;  // first check
  if (header.Has(kAck)) {                             // second check
    ResetFor(segment, reset);
    return ListenVerdict::kReset;
  }
  // Third check. A SYN that carries FIN is nobody's honest opening.
  return header.Has(kSyn) && !header.Has(kFin) ? ListenVerdict::kAccept : ListenVerdict::kDrop;
}

bool TimeWaitYields(const Tcb& tcb, const Segment& segment) {
  const Header& header = segment.header;
  if (tcb.state != State::kTimeWait) return false;
  if (!header.Has(kSyn) || header.Has(kRst) || header.Has(kAck)) return false;
  if (tcb.timestamps_on && header.has_timestamps) {
    const int32_t newer = static_cast<int32_t>(header.ts_value - tcb.ts_recent);
    if (newer != 0) return newer > 0;
  }
  // RFC 6191 section 2: timestamps are new with this incarnation, and protect it.
  if (!tcb.timestamps_on && header.has_timestamps && tcb.options.timestamps) return true;
  return header.sequence.After(tcb.rcv.nxt);
}

SequenceNumber SuccessorIss(const Tcb& tcb, SequenceNumber iss) {
  // The clock of isn.h makes 244 kB/s; a connection may have sent faster than that.
  const SequenceNumber floor = tcb.snd.max + kIncarnationGap;
  return iss.After(floor) ? iss : floor;
}

}  // namespace qpip::tcp
