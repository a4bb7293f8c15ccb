// What the files of the TCP machine share. Not for users of the machine: see machine.h.
//
//     machine_open.cc     OpenActive, OpenPassive, options, the handshake's end
//     segment_arrives.cc  OnSegment: the steps of RFC 9293 3.10.7
//     acknowledge.cc      the fifth step: SND.UNA, duplicates, the send window
//     receive.cc          text, the receive window, when to acknowledge, what SACK tells
//     reassembly.cc       text ahead of its turn
//     send.cc             NextSend, AllowedLength, CommitSend, RefreshHeader, Close
//     timers.cc           OnTimer, NextDeadline, persist
//     rtt.cc              RFC 6298, RFC 7323 clock
//     congestion.cc       RFC 5681, 3465, 6582, 6928, pacing
//     congestion_control.cc  the policies' table; cubic.cc, dctcp.cc: the policies
//     hystart.cc          RFC 9406
//     ecn.cc              RFC 3168
//     undo.cc             reductions that were for nothing: RFC 3522, 5682, 3708, 4015
//     scoreboard.cc       the fate of what is in flight
//     recovery.cc         repair with SACK: RFC 8985, 6937
//     path_mtu.cc         RFC 8201
//     mtu_probe.cc        RFC 4821
//     reset.cc            RST segments, Abort, the end of a Tcb
#pragma once

#include <cstdint>

#include "protocols/tcp/header.h"
#include "protocols/tcp/invariants.h"
#include "protocols/tcp/machine.h"
#include "protocols/tcp/tcb.h"

namespace qpip::tcp::internal {

inline constexpr uint32_t kMaxWindowField = 0xffff;
inline constexpr uint8_t kMaxWindowScale = 14;  ///< RFC 7323 section 2.3
/// persist_deadline: the timer is wanted, but whoever wanted it had no clock.
inline constexpr uint64_t kArmPersist = 0;
inline constexpr uint32_t kPlainHeaderBytes = 60;     ///< IPv6 and TCP, no options
inline constexpr uint8_t kDuplicateAckThreshold = 3;  ///< RFC 5681 section 3.2

// Shifts and adds: the core may have no multiplier.
constexpr uint64_t MicrosToNanos(uint64_t us) { return (us << 10) - (us << 4) - (us << 3); }
constexpr uint64_t MillisToNanos(uint64_t ms) { return MicrosToNanos(MicrosToNanos(ms)); }

constexpr uint64_t SecondsToNanos(uint64_t s) { return MillisToNanos(MicrosToNanos(s)); }

constexpr uint32_t Minimum(uint32_t a, uint32_t b) { return a < b ? a : b; }
constexpr uint32_t Maximum(uint32_t a, uint32_t b) { return a < b ? b : a; }

/// The only place where a state changes after the open.
inline void SetState(Tcb& tcb, State state) { tcb.state = state; }

constexpr bool IsSynchronised(State state) { return state >= State::kEstablished; }

/// States in which text may be sent, or sent again (the peer has not seen all of it).
constexpr bool MaySendText(State state) {
  return state == State::kEstablished || state == State::kCloseWait || state == State::kFinWait1 ||
         state == State::kClosing || state == State::kLastAck;
}
/// States in which the peer's text is taken.
constexpr bool TakesText(State state) {
  return state == State::kEstablished || state == State::kFinWait1 || state == State::kFinWait2;
}

/// Bytes between rcv.nxt and the right edge that the peer knows (RCV.WND).
inline uint32_t ReceiveWindow(const ReceiveHalf& rcv) {
  // A FIN is accepted at the right edge and goes one beyond it.
  return rcv.adv.After(rcv.nxt) ? rcv.nxt.DistanceTo(rcv.adv) : 0;
}

// --- machine_open.cc
/// Takes over the options of the peer's SYN, and its sequence number.
void TakeSyn(Tcb& tcb, const Header& syn, uint64_t now);
/// Shift that our SYN offers.
uint8_t OfferedWindowScale(const Tcb& tcb);
/// Our SYN is acknowledged: ESTABLISHED.
void EnterEstablished(Tcb& tcb, uint8_t syn_retransmissions, uint64_t now);

// --- acknowledge.cc
/// Fifth check. Returns false when the segment is finished with.
bool CheckAck(Tcb& tcb, const Segment& segment, uint64_t now, Arrival* arrival);
/// snd.una moves to `header.acknowledgement`, which lies in (snd.una, snd.max].
void AdvanceUnacknowledged(Tcb& tcb, const Header& header, uint64_t now, Arrival* arrival);
/// Takes the peer's window, scaled, unless the segment is older than what told the last one.
void UpdateSendWindow(Tcb& tcb, const Header& header, uint32_t window);

// --- receive.cc
/// Seventh step: decides which text of an acceptable segment is taken.
void TakeText(Tcb& tcb, const Segment& segment, Arrival* arrival);
/// Takes the segment's text, all of it: it starts at rcv.nxt and fits the window.
void AcceptText(Tcb& tcb, uint32_t offset, uint32_t length, bool push, Arrival* arrival);
/// Asks for an ACK that tells the peer where we are, at a bounded rate (RFC 5961 section 7).
void ChallengeAck(Tcb& tcb, uint64_t now);
/// Text [start, start + length) has arrived before: told once by D-SACK (RFC 2883).
void NoteDuplicate(Owed& owed, SequenceNumber start, uint32_t length);
/// Something behind a gap, up to `end`: one duplicate ACK each, so that the peer can count them
/// (RFC 5681 section 4.2).
void NoteOutOfOrder(Tcb& tcb, SequenceNumber end);
/// SACK blocks of an ACK (RFC 2018 section 4), in `room` bytes of options.
void ReportHeld(Tcb& tcb, Header* header, uint32_t room);
/// Window field to send with `acknowledgement`; moves rcv.adv to what the peer will compute.
uint16_t AdvertiseWindow(Tcb& tcb, SequenceNumber acknowledgement, bool is_syn);
/// Sets window_update when the right edge can move far enough to be told.
void ConsiderWindowUpdate(Tcb& tcb, uint64_t now);
/// The window has been withheld for long enough.
void OverrideWindow(Tcb& tcb, uint64_t now);

// --- send.cc
/// Sequence number of a segment without text, SYN or FIN: one the peer will accept.
SequenceNumber EmptySegmentSequence(const Tcb& tcb);

// --- timers.cc
/// An acceptable segment of the peer: keep-alive starts anew.
inline void NoteHeard(Tcb& tcb, uint64_t now) {
  tcb.last_heard_at = now;
  tcb.owed.keepalives_unanswered = 0;
  tcb.owed.keepalive_due = false;
}
/// The retransmission time-out with back-off, nanoseconds (RFC 6298 5.5).
uint64_t RetransmissionTimeout(const Tcb& tcb);
inline void StartRetransmitTimer(Tcb& tcb, uint64_t now) {
  tcb.retransmit_deadline = now + RetransmissionTimeout(tcb);
}
/// Text waits, nothing is in flight, and the window holds it back: only probes can go on.
inline bool IsWindowShut(const Tcb& tcb) {
  if (tcb.snd.una != tcb.snd.nxt || tcb.snd.nxt.AtOrAfter(tcb.snd.end)) return false;
  return tcb.snd.wnd < Minimum(tcb.snd.nxt.DistanceTo(tcb.snd.end), tcb.snd.mss) &&
         MaySendText(tcb.state);
}
/// Starts the persist timer when the window is shut, stops it when it is not (3.8.6.1).
void UpdatePersist(Tcb& tcb, uint64_t now);
/// RFC 5482 section 3.1: the peer tells how long it will wait.
void TakeUserTimeout(Tcb& tcb, const Header& header);
void StartTimeWait(Tcb& tcb, uint64_t now);
void StopTimers(Tcb& tcb);

// --- rtt.cc
/// The timestamp clock at `now`, a tick of 2^20 ns, with the connection's offset.
inline uint32_t TimestampNow(const Tcb& tcb, uint64_t now) {
  return static_cast<uint32_t>(now >> 20) + tcb.ts_offset;
}
/// Measures with an ACK that moves snd.una. Returns true when the estimator ran.
bool SampleRtt(Tcb& tcb, const Header& header, uint64_t now);

// --- congestion.cc
inline constexpr uint32_t kLargestWindow = 1u << 30;  ///< RFC 7323 section 2.3

/// RFC 6928 section 2: min(10 MSS, max(2 MSS, 14600)).
uint32_t InitialWindow(uint32_t mss);
inline uint32_t FlightSize(const SendHalf& snd) { return snd.una.DistanceTo(snd.max); }
inline void GrowWindow(Tcb& tcb, uint32_t bytes) {
  tcb.cwnd = Minimum(tcb.cwnd + bytes, kLargestWindow);
}

void StartCongestionControl(Tcb& tcb, bool syn_lost);
/// Connections without SACK: `acked` bytes left the network with an ACK that moved snd.una (already
/// moved).
void CongestionOnAck(Tcb& tcb, const Header& header, uint32_t acked, uint64_t now);
void CongestionOnDuplicateAck(Tcb& tcb, uint64_t now);
void CongestionOnTimeout(Tcb& tcb, uint64_t now);
/// Before text is sent: the window shrinks after a pause (RFC 5681 section 4.1).
void CongestionBeforeSend(Tcb& tcb, uint64_t now);
/// After new text was sent: notes whether cwnd is what limits it.
void CongestionAfterSend(Tcb& tcb);
/// cwnd, with what limited transmit adds (RFC 3042).
uint32_t EffectiveCongestionWindow(const Tcb& tcb);

/// ssthresh becomes what the policy makes of a congestion event.
void CutThreshold(Tcb& tcb, CongestionEvent event);
/// Slow start and congestion avoidance, by bytes acknowledged.
void GrowOnAck(Tcb& tcb, uint32_t acked, uint64_t now);
/// New text of `bytes` goes out now: when the next may, if the connection is paced.
void Pace(Tcb& tcb, uint32_t bytes, uint64_t now);
/// Most bytes of text that may go as one packet: more would be a burst. May be less than a segment.
uint32_t PacedPacket(const Tcb& tcb);

// --- congestion_control.cc, cubic.cc, dctcp.cc: see CongestionPolicy
void AvoidReno(Tcb& tcb, uint32_t acked, uint64_t now);
uint32_t CutReno(Tcb& tcb, CongestionEvent event);
void AvoidCubic(Tcb& tcb, uint32_t acked, uint64_t now);
uint32_t CutCubic(Tcb& tcb, CongestionEvent event);
/// cwnd was not used up: CUBIC's clock stands still.
void PauseCubic(Tcb& tcb, uint64_t now);
void ObserveDctcp(Tcb& tcb, uint32_t acked, bool marked);
uint32_t CutDctcp(Tcb& tcb, CongestionEvent event);

// --- hystart.cc
/// An ACK; kNever: it measures no round trip.
void HyStartOnAck(Tcb& tcb, uint64_t round_trip_ns);
/// By how much the window grows in slow start.
uint32_t HyStartGrowth(Tcb& tcb, uint32_t acked);

// --- ecn.cc
/// ECE and CWR of our SYN or SYN-ACK.
uint8_t EcnSynFlags(const Tcb& tcb);
/// The peer's SYN or SYN-ACK.
void NegotiateEcn(Tcb& tcb, const Header& syn);
/// An acceptable segment: marks, and the peer's answer to our echo.
void EcnOnText(Tcb& tcb, const Segment& segment);
/// An acceptable ACK, which acknowledged `acked` bytes.
void EcnOnAck(Tcb& tcb, const Header& header, uint32_t acked);
/// The congestion window was cut, for whatever reason: the peer is to be told.
void NoteWindowCut(Tcb& tcb);

// --- undo.cc
/// What an ACK says.
struct UndoEvidence {
  const Header* header = nullptr;
  bool advanced = false;            ///< it moved snd.una
  bool original_delivered = false;  ///< it tells of text that was sent once, before the reduction
  uint32_t duplicate_bytes = 0;     ///< reported as having arrived twice
};
/// The window is about to be cut.
void PrepareUndo(Tcb& tcb, bool by_timer, uint64_t now);
/// [from, to) goes out once more.
void NoteRepeated(Tcb& tcb, SequenceNumber from, SequenceNumber to, uint64_t now);
/// Takes the reduction back when the ACK shows that it was for nothing.
bool TryUndo(Tcb& tcb, const UndoEvidence& evidence);
/// The timer has expired; `first_event`: nothing was being repaired.
void StartFRto(Tcb& tcb, bool first_event);
/// An ACK that has undone nothing; `told_of_new`: duplicate, or with new SACK blocks.
void AdvanceFRto(Tcb& tcb, bool advanced, bool told_of_new);

// --- recovery.cc: connections with SACK
void StartRecovery(Tcb& tcb);
/// An acceptable ACK; snd.una has moved on from `una_before`. `repeats_last`: it is a pure ACK that
/// says what the last one did, SACK blocks apart.
void RecoverOnAck(Tcb& tcb, const Header& header, SequenceNumber una_before, bool repeats_last,
                  uint64_t now);
/// A tail loss probe is due, and takes the place of a time-out that is due as well.
bool ProbesTail(Tcb& tcb, uint64_t now);
/// The timers that this file keeps.
void RecoverOnTimer(Tcb& tcb, uint64_t now);
/// The retransmission timer: everything that is not sacked is presumed lost.
void RecoverOnTimeout(Tcb& tcb);
/// Text or a FIN, [from, to), goes out now.
void RecoverOnSend(Tcb& tcb, SequenceNumber from, SequenceNumber to, uint64_t now);
/// What is to be sent again, if the windows let it.
bool RepeatIntent(const Tcb& tcb, SendIntent* intent);
/// The last segment, or more, to find out whether it has arrived.
bool TailProbeIntent(const Tcb& tcb, SendIntent* intent);
/// The FIN is to be sent again.
bool RepeatsFin(const Tcb& tcb);

// --- path_mtu.cc
/// Segments have `size` bytes of text from here on.
void SetSegmentSize(Tcb& tcb, uint32_t size);

// --- mtu_probe.cc
inline constexpr uint32_t kSmallestMtuStep = 8;  ///< as Linux: less is not worth a loss
/// Sizes above the base are found by probing from here on.
void StartMtuSearch(Tcb& tcb);
/// Link, peer and routers let `ceiling` bytes through. Answers the size that segments then have.
uint32_t BoundMtuSearch(Tcb& tcb, uint32_t ceiling);
/// How large a probe new text should go as, once cwnd has room for it; 0: as none. Ask only while
/// the search is on.
uint32_t MtuProbeSize(const Tcb& tcb, uint64_t now);
/// Text goes out; snd.nxt is past it.
void MtuSearchOnSend(Tcb& tcb, const SendIntent& intent, uint32_t length, uint64_t now);
/// snd.una has moved.
void MtuSearchOnAck(Tcb& tcb);
/// The retransmission timer, before anything is made of it.
void MtuSearchOnTimeout(Tcb& tcb, uint64_t now);
/// Something is newly deemed lost. True: it is a probe and nothing else, and that was all there is
/// to do (RFC 4821 7.6.2).
bool TakeProbeLoss(Tcb& tcb, uint64_t now);
/// A router has refused `refused`. True: that was a probe, and nothing else is too large.
bool TakeProbeRefusal(Tcb& tcb, SequenceNumber refused, uint64_t now);

// --- reset.cc
/// <SEQ=SND.NXT><CTL=RST> (3.10.5).
Header ResetFrom(const Tcb& tcb, uint64_t now);
/// All timers off, nothing due: CLOSED.
void EnterClosed(Tcb& tcb);

}  // namespace qpip::tcp::internal
