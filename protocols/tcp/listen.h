// LISTEN has no Tcb: what a listener does with a segment (RFC 9293 3.10.7.2), as a pure function,
// and when a connection in TIME-WAIT makes way for a new one.
#pragma once

#include <cstdint>

#include "protocols/tcp/machine.h"
#include "protocols/tcp/sequence_number.h"

namespace qpip::tcp {

enum class ListenVerdict : uint8_t {
  kDrop = 0,    ///< RST, or neither SYN nor ACK
  kReset = 1,   ///< an ACK for nothing: answer with `*reset`
  kAccept = 2,  ///< a SYN: OpenPassive
};

/// `*reset` is filled in for kReset, ports zero.
ListenVerdict OnListenSegment(const Segment& segment, Header* reset);

/// True when `segment` is a SYN that may replace this connection, which is in TIME-WAIT: it is
/// certainly newer than anything of the old one (RFC 6191; RFC 9293 3.10.7.4, fourth check).
bool TimeWaitYields(const Tcb& tcb, const Segment& segment);

/// The initial number of the connection that replaces this one, from TIME-WAIT: `iss`, or where
/// that does not lie beyond all numbers that this one has used, one that does (RFC 9293 3.6.1,
/// MAY-2).
SequenceNumber SuccessorIss(const Tcb& tcb, SequenceNumber iss);

}  // namespace qpip::tcp
