#include "protocols/tcp/handshake.h"

#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {

using namespace internal;

Proof CheckProof(const Handshake& handshake, const Header& header) {
  if ((header.flags & (kAck | kSyn | kRst)) != kAck) return Proof::kNone;
  if (!(header.acknowledgement == handshake.iss + 1)) return Proof::kNone;
  const SequenceNumber first = handshake.syn.sequence + 1;
  if (header.sequence == first) return Proof::kGood;
  return header.sequence.After(first) ? Proof::kLater : Proof::kNone;
}

Handshake SuspendHandshake(const Tcb& tcb) {
  Handshake handshake;
  Header& syn = handshake.syn;
  syn.flags = kSyn;
  if (tcb.ecn.on) syn.flags |= kEce | kCwr;
  syn.sequence = tcb.rcv.irs;
  syn.window = static_cast<uint16_t>(tcb.snd.wnd);
  syn.has_mss = true;
  syn.mss = static_cast<uint16_t>(
      Minimum(tcb.snd.mss + (tcb.timestamps_on ? kTimestampBytes : 0), kMaxWindowField));
  syn.has_timestamps = tcb.timestamps_on;
  syn.ts_value = tcb.ts_recent;
  syn.has_window_scale = tcb.window_scaling_on;
  syn.window_scale = tcb.snd.wscale;
  syn.sack_permitted = tcb.sack_on;
  handshake.iss = tcb.snd.iss;
  handshake.window = static_cast<uint16_t>(
      Minimum(tcb.rcv.nxt.DistanceTo(tcb.rcv.adv), uint32_t{kHandshakeWindow}));
  handshake.window_scale = tcb.rcv.wscale;
  return handshake;
}

void ResumeHandshake(Tcb& tcb, const Options& options, const Handshake& handshake, uint64_t now) {
  Segment segment;
  segment.header = handshake.syn;
  OpenPassive(tcb, options, handshake.iss, segment, now);
  tcb.snd.nxt = tcb.snd.iss + 1;
  tcb.snd.max = tcb.snd.nxt;
  tcb.rcv.adv = tcb.rcv.told = tcb.rcv.nxt + handshake.window;
  tcb.owed.last_ack_sent = tcb.rcv.nxt;
  if (tcb.window_scaling_on) tcb.rcv.wscale = handshake.window_scale;
  StartRetransmitTimer(tcb, now);  // should the ACK be refused after all
}

}  // namespace qpip::tcp
