#include "protocols/tcp/listen.h"

namespace qpip::tcp {

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

}  // namespace qpip::tcp
