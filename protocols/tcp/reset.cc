// Resets, and the end of a connection: RFC 9293 3.5.2, 3.10.5, 3.10.7.1.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace internal {

Header ResetFrom(const Tcb& tcb, uint64_t now) {
  Header reset;
  reset.flags = kRst;
  reset.sequence = EmptySegmentSequence(tcb);
  // RFC 7323 3.2: SHOULD. TSecr counts only beside an ACK.
  reset.has_timestamps = tcb.timestamps_on;
  if (tcb.timestamps_on) reset.ts_value = TimestampNow(tcb, now);
  return reset;
}

void EnterClosed(Tcb& tcb) {
  SetState(tcb, State::kClosed);
  StopTimers(tcb);
  tcb.owed.ack_now = false;
  tcb.rcv.window_update = false;
  tcb.owed.duplicates = 0;
  tcb.retransmit_now = false;
  tcb.tail_probe.due = false;
  tcb.probe_due = false;
  tcb.owed.keepalive_due = false;
}

}  // namespace internal

bool ResetFor(const Segment& segment, Header* reset) {
  const Header& header = segment.header;
  if (header.Has(kRst)) return false;
  *reset = Header{};
  reset->flags = kRst;
  if (header.Has(kAck)) {
    reset->sequence = header.acknowledgement;
  } else {
    reset->flags = kRst | kAck;
    reset->acknowledgement = header.sequence + segment.text_length + header.ControlLength();
  }
  return true;
}

bool Abort(Tcb& tcb, Header* reset, uint64_t now) {
  bool send = false;
  switch (tcb.state) {
    case State::kSynReceived:
    case State::kEstablished:
    case State::kFinWait1:
    case State::kFinWait2:
    case State::kCloseWait:
      send = true;
      break;
    case State::kClosed:
    case State::kSynSent:  // the peer may not know of us yet
    case State::kClosing:  // both sides have said that they are done
    case State::kLastAck:
    case State::kTimeWait:
      break;
  }
  if (send) *reset = internal::ResetFrom(tcb, now);
  internal::EnterClosed(tcb);
  return send;
}

bool LastAcknowledgement(Tcb& tcb, Header* acknowledgement, uint64_t now) {
  if (tcb.state < State::kEstablished || AckableSequence(tcb) == tcb.owed.last_ack_sent) {
    return false;
  }
  *acknowledgement = Header{};
  acknowledgement->flags = kAck;
  acknowledgement->sequence = internal::EmptySegmentSequence(tcb);
  RefreshHeader(tcb, acknowledgement, 0, now);
  return true;
}

const char* StateName(State state) {
  switch (state) {
    case State::kClosed:
      return "CLOSED";
    case State::kSynSent:
      return "SYN-SENT";
    case State::kSynReceived:
      return "SYN-RECEIVED";
    case State::kEstablished:
      return "ESTABLISHED";
    case State::kFinWait1:
      return "FIN-WAIT-1";
    case State::kFinWait2:
      return "FIN-WAIT-2";
    case State::kCloseWait:
      return "CLOSE-WAIT";
    case State::kClosing:
      return "CLOSING";
    case State::kLastAck:
      return "LAST-ACK";
    case State::kTimeWait:
      return "TIME-WAIT";
  }
  return "?";
}

}  // namespace qpip::tcp
