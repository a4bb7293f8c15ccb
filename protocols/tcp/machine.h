// The TCP machine: pure functions from (Tcb, event, now) to a plan (RFC 9293).
//
// The owner (nic_fw, or a test) feeds events in and carries plans out:
//
//     segment arrives ──> OnSegment ──> Arrival    place text, complete sends, answer RST
//     time passes ──────> OnTimer ────> TimerPlan  tear down on time-out; else look at NextSend
//     link is free ─────> NextSend ───> SendIntent what may go now
//                         AllowedLength            how much of a message's rest as one segment
//                         CommitSend ──> Header    advances the Tcb; emit it and the payload
//     text is placed ───> OnPlaced                 only now may it be acknowledged
//                         NextReleased             held text that follows it
//     batch is done ────> OnBatchEnd               lone messages are acknowledged at once
//
// Nothing here allocates, blocks, reads a clock or touches payload. Functions are reentrant; one
// Tcb must not be used by two threads at a time.
#pragma once

#include <cstdint>

#include "protocols/tcp/header.h"
#include "protocols/tcp/tcb.h"

namespace qpip::tcp {

/// A segment, as the machine sees it: the parsed header and the text's length.
struct Segment {
  Header header;                                 ///< host byte order, options parsed (header.h)
  uint32_t text_length = 0;                      ///< payload bytes
  EcnCodepoint ecn = EcnCodepoint::kNotCapable;  ///< of the packet that brought it
};

/// Why the machine did not use (all of) a segment; for counters.
enum class Refusal : uint8_t {
  kNone = 0,
  kUnacceptable,  ///< outside the receive window (3.10.7.4, first check)
  kOutOfOrder,    ///< in the window but not next, and not held: no reassembly, or no range left
  kPaws,          ///< RFC 7323 section 5
  kBadAck,        ///< acknowledges what was never sent
  kNoText,        ///< text in a state that takes none
};

/// What became of a connection. At most one of these a call.
enum class Outcome : uint8_t {
  kNone = 0,
  kEstablished,  ///< handshake complete
  kReset,        ///< RST in a synchronised state: connection is gone
  kRefused,      ///< RST in answer to our SYN
  kTimedOut,     ///< user or connect time-out
  kClosed,       ///< FIN both ways and acknowledged, or TIME-WAIT over: Tcb is in kClosed
  kTimeWait,     ///< FIN both ways, now in TIME-WAIT: nothing more will be delivered
};

/// Multiplications of one run of RFC 6298's estimator as (2.3) writes it: two for RTTVAR, two for
/// SRTT, one for K * RTTVAR. On binary gains they are shifts; a core that the study gives other
/// gains, or whose firmware is the prototype's, pays them as multiplications.
inline constexpr uint32_t kRttMultiplies = 5;

/// The plan for an arrived segment.
struct Arrival {
  Outcome outcome = Outcome::kNone;
  Refusal refusal = Refusal::kNone;
  uint32_t text_offset = 0;      ///< first byte of the segment's text that is new
  uint32_t text_length = 0;      ///< bytes to take; in order unless `held`, and then counted as
                                 ///< accepted but unplaced
  SequenceNumber text_sequence;  ///< of the first of them
  bool push = false;             ///< the text includes the last byte of a PSH segment
  bool held = false;    ///< the text lies behind a gap: to be kept where NextReleased will find it
  bool urgent = false;  ///< the peer has moved the end of its urgent data: to rcv.up
  bool peer_closed = false;  ///< the peer's FIN has become in-order with this segment
  uint32_t acked_bytes = 0;  ///< SND.UNA moved over this many bytes of text (not SYN, FIN)
  bool rtt_sampled = false;  ///< the RTT estimator ran: its multiplies are charged
  bool send_reset = false;   ///< answer with `reset`
  Header reset;              ///< ports filled in by the owner
};

/// Answer of OnTimer.
struct TimerPlan {
  Outcome outcome = Outcome::kNone;  ///< kTimedOut or kClosed
  bool send_reset = false;           ///< kTimedOut in a synchronised state
  Header reset;
  bool retransmission_timeout = false;  ///< for counters
};

/// What should be sent next, if anything.
struct SendIntent {
  enum class Kind : uint8_t {
    kNone = 0,     ///< nothing may be sent now
    kControl = 1,  ///< header only: SYN, SYN-ACK, FIN, or an ACK that must go now
    kData = 2,     ///< text from `sequence` on; use AllowedLength, then CommitSend
  };
  Kind kind = Kind::kNone;
  SequenceNumber sequence;      ///< first byte
  uint32_t max_length = 0;      ///< kData: at most min(window, announced data) bytes; of one
                                ///< segment unless segment_size is set
  bool retransmission = false;  ///< starts before snd.max
  bool window_probe = false;    ///< one byte into a zero window
  bool mtu_probe = false;       ///< kData: larger than snd.mss, as one segment (RFC 4821)
  bool ecn_capable = false;     ///< the packet is to travel as ECT(0) (RFC 3168 section 6.1)
  uint32_t segment_size = 0;    ///< longer text is to be cut into segments of so many bytes, all
                                ///< with this header, on its way out; 0: it is one segment
};

/// Starts an active open: SYN will be the next intent. `iss` from isn.h. Everything in `tcb` is
/// set anew: SetReceiveWindow comes after this, and before the SYN is sent if it is to offer one.
void OpenActive(Tcb& tcb, const Options& options, SequenceNumber iss, uint64_t now);

/// Starts a passive open from a SYN that arrived for a listener: SYN-ACK will be the next intent.
void OpenPassive(Tcb& tcb, const Options& options, SequenceNumber iss, const Segment& syn,
                 uint64_t now);

/// Segment arrival, in the steps of RFC 9293 3.10.7.3 (SYN-SENT) and 3.10.7.4 (other states).
/// In kClosed behaves as 3.10.7.1.
Arrival OnSegment(Tcb& tcb, const Segment& segment, uint64_t now);

/// The same without header prediction, all steps one by one: for tests, which hold that what comes
/// of it is the same to the last byte of the Tcb.
Arrival OnSegmentInSteps(Tcb& tcb, const Segment& segment, uint64_t now);

/// `bytes` of accepted text, in order, are in host memory and may be acknowledged. `last_piece`:
/// they are the last of their segment, of which several pieces may have gone to different places.
void OnPlaced(Tcb& tcb, uint32_t bytes, uint64_t now, bool last_piece = true);

/// The oldest text that was held and is in order by now, once everything before it is placed. The
/// owner hands it on as a piece of its own and calls OnPlaced for it. False: there is none, yet.
bool NextReleased(Tcb& tcb, HeldRange* out);
/// Text that was held and is in order waits for NextReleased.
inline bool HasReleased(const Tcb& tcb) { return tcb.rcv.held.released != 0; }

/// The owner can take `bytes` from rcv.nxt on. The right edge never retracts, so a smaller value
/// than already advertised has no effect on the wire. Sets ack_now when the silly-window rules
/// (RFC 9293 3.8.6.2.2) call for a window update.
///
/// The window travels in units of WindowUnit and is rounded down: an owner that can take a little
/// more than it has receives for (an overflow pool) should round `bytes` up to a whole unit, or
/// a window smaller than a unit is never seen by the peer.
void SetReceiveWindow(Tcb& tcb, uint32_t bytes, uint64_t now);

/// How many receives the owner has posted, of those that SetReceiveWindow (next) counts the bytes
/// of: the window of one that posts many is not opened in steps of one. Not for framings whose
/// messages take a receive each: there an owner may have reason to post less than it did.
void NoteReceives(Tcb& tcb, uint32_t posted);

/// Granularity of the advertised window, bytes: 2^(our window scale), 1 before it is known.
uint32_t WindowUnit(const Tcb& tcb);

/// The receive queue has drained: acknowledges what waits, when options.ack_on_batch_end.
void OnBatchEnd(Tcb& tcb);

/// Announces `bytes` more of data to send behind snd.end. Ignored after Close. The deadline may
/// become 0 by this (a shut window wants its probe timer started): look at NextDeadline afterwards.
void ExtendSend(Tcb& tcb, uint32_t bytes);

/// All text announced so far is urgent (RFC 9293 3.8.5): segments say so until it is acknowledged.
/// New applications should not use it (RFC 6093).
void MarkUrgent(Tcb& tcb);

/// No more data will be announced: FIN goes after snd.end, and the state changes when it does (RFC
/// 9293 3.10.4). In SYN-SENT the Tcb goes to kClosed.
void Close(Tcb& tcb, uint64_t now);

/// Ends the connection (3.10.5). Returns true when `reset` is to be sent. Tcb goes to kClosed.
bool Abort(Tcb& tcb, Header* reset, uint64_t now);

/// The acknowledgement of all that is placed, to go in front of a reset, which has none (3.5.2).
/// Returns false when the peer has got it already, or the state has none.
bool LastAcknowledgement(Tcb& tcb, Header* acknowledgement, uint64_t now);

/// Runs what is due at `now`.
TimerPlan OnTimer(Tcb& tcb, uint64_t now);

/// Earliest time OnTimer has something to do; kNever when no timer runs.
uint64_t NextDeadline(const Tcb& tcb);

/// What may be sent at `now`. Pure. Text that AllowedLength would have wait hides no
/// acknowledgement that is due.
SendIntent NextSend(const Tcb& tcb, uint64_t now);

/// Of `message_rest` bytes that remain of the message at `intent.sequence`, how many go as one
/// packet now (`intent.segment_size`); 0 when sender silly-window avoidance waits (3.8.6.2.1).
/// Never crosses the message.
uint32_t AllowedLength(const Tcb& tcb, const SendIntent& intent, uint32_t message_rest);

/// The owner sends `intent` with `length` bytes of text (0 for kControl) now. Advances the Tcb,
/// starts timers, and returns the header, ports zero, PSH per `push`, ACK and window not final:
/// call RefreshHeader when the header is built later than this.
Header CommitSend(Tcb& tcb, const SendIntent& intent, uint32_t length, bool push, uint64_t now);

/// A SYN that was committed has not gone out: it is what NextSend answers again. `first`: it was
/// not a retransmission.
void TakeBackSyn(Tcb& tcb, bool first);

/// Text, or a FIN, that was committed as [from, to) has not gone out: it is what NextSend answers
/// again before what is new. That says nothing of the path. A window probe is not taken back.
/// `repeated`: Undo::repeated as it was before the commit, as no duplicate comes of what did not
/// go.
void TakeBackSent(Tcb& tcb, SequenceNumber from, SequenceNumber to, uint32_t repeated);

/// The SYN-ACK that a time-out has just made due is not repeated: the peer may repeat its SYN. The
/// timer goes on as if it had been. Nothing in other states than SYN-RECEIVED.
void ForgoSynAck(Tcb& tcb, uint64_t now);

/// Fills in acknowledgement, window and timestamps as of now, for a header that goes out now, and
/// notes that they were sent (clears pending acknowledgements). SACK blocks take what the segment's
/// `text_length` bytes leave of the largest segment.
void RefreshHeader(Tcb& tcb, Header* header, uint32_t text_length, uint64_t now);

/// False when NextSend would surely find nothing but an acknowledgement.
inline bool MayHaveSegment(const Tcb& tcb) {
  return tcb.retransmit_now || tcb.owed.keepalive_due || tcb.sent.lost != 0 || tcb.tail_probe.due ||
         !(tcb.snd.nxt == tcb.snd.end);
}

/// True when an acknowledgement is due (without other things to send, NextSend says kControl
/// because of it).
bool AckDue(const Tcb& tcb, uint64_t now);

/// Packets to the peer may have `mtu` bytes, headers and all: sizes the segments that are yet to be
/// sent, never larger than the handshake allowed. What is in flight stays as it is.
void SetPathMtu(Tcb& tcb, uint32_t mtu);

/// True when `sequence` has been sent and not acknowledged: whoever quotes such a segment has
/// probably seen it (RFC 5927 section 4.1).
bool IsOutstanding(const Tcb& tcb, SequenceNumber sequence);

/// A router has refused the segment at `refused`, as packets there have `mtu` bytes at most (RFC
/// 8201). Sizes segments for that, and has what was refused sent again, at once and without the
/// response to congestion. Returns false when nothing is to be sent again by this: the segment is
/// not outstanding, or the loss is known.
bool OnPacketTooBig(Tcb& tcb, SequenceNumber refused, uint32_t mtu, uint64_t now);

/// Packets to the peer may have `mtu` bytes, others have found by probing; larger ones are yet to
/// be tried. SetPathMtu is what bounds them.
void SearchPathMtu(Tcb& tcb, uint32_t mtu);

/// What the search for the path's MTU (RFC 4821) has come to, for counters and for others who send
/// to the same destination.
enum MtuNews : uint8_t {
  kMtuProbeSent = 1,
  kMtuProbeSucceeded = 2,
  kMtuBlackHole = 4,    ///< full segments do not get through, it is presumed
  kMtuBoundsFound = 8,  ///< SearchedMtu has changed
};
/// The news since the last call. Ask after OnSegment and OnTimer.
uint8_t TakeMtuNews(Tcb& tcb);

/// Bytes of packets.
struct MtuBounds {
  static constexpr uint32_t kNoBound = 0xffffffffu;  ///< none that this connection knows of
  uint32_t mtu = 0;                                  ///< such packets get through
  uint32_t limit = kNoBound;                         ///< larger ones do not
  bool peers = false;  ///< mtu is as much as the peer takes; the path may take more
};
MtuBounds SearchedMtu(const Tcb& tcb);

/// The RST that answers a segment for which there is no connection (3.10.7.1). Returns false when
/// none may be sent (the segment carries RST).
bool ResetFor(const Segment& segment, Header* reset);

/// The sequence number that acknowledgements may cover now: rcv.nxt less what is not yet placed.
SequenceNumber AckableSequence(const Tcb& tcb);

}  // namespace qpip::tcp
