// The transmission control block: all the state of one TCP connection, as plain data.
//
// Names follow RFC 9293 section 3.3.1 where the RFC has them (SND.UNA is snd.una). A Tcb has no
// pointers, no clock and no buffers: the machine (machine.h) turns events into plans, and the
// owner (nic_fw) carries payload. Times are nanoseconds on the caller's monotonic clock unless
// the name says otherwise.
#pragma once

#include <cstdint>
#include <type_traits>

#include "protocols/tcp/congestion_control.h"
#include "protocols/tcp/header.h"
#include "protocols/tcp/options.h"
#include "protocols/tcp/reassembly.h"
#include "protocols/tcp/scoreboard.h"
#include "protocols/tcp/sequence_number.h"

namespace qpip::tcp {

/// RFC 9293 section 3.3.2. LISTEN has no Tcb: see listen.h.
enum class State : uint8_t {
  kClosed = 0,       ///< no connection
  kSynSent = 1,      ///< active open, SYN sent
  kSynReceived = 2,  ///< SYN received, SYN-ACK sent
  kEstablished = 3,
  kFinWait1 = 4,   ///< our FIN sent, not acknowledged
  kFinWait2 = 5,   ///< our FIN acknowledged
  kCloseWait = 6,  ///< the peer's FIN received
  kClosing = 7,    ///< both FINs sent, ours not acknowledged
  kLastAck = 8,    ///< peer closed first, our FIN not acknowledged
  kTimeWait = 9,
};
const char* StateName(State state);

/// RFC 8985: what was delivered most recently, and how much reordering to allow for.
struct Rack {
  uint64_t sent_at = 0;  ///< RACK.xmit_ts
  SequenceNumber end;    ///< RACK.end_seq
  bool valid = false;    ///< something was delivered
  bool reordering_seen = false;
  uint8_t window_multiplier = 1;  ///< RACK.reo_wnd_mult
  uint8_t window_persists = 16;   ///< RACK.reo_wnd_persist: recoveries until the multiplier is 1
  uint8_t sacks = 0;              ///< segments sacked, while any is
  bool duplicate_round = false;   ///< the multiplier was raised for this round trip
  SequenceNumber round_end;
  bool repeated = false;  ///< [repeat_start, repeat_end) was sent again, in part
  SequenceNumber repeat_start;
  SequenceNumber repeat_end;
  SequenceNumber repeat_until;   ///< an ACK beyond this: its D-SACKs have all come
  uint64_t rtt_ns = 0;           ///< RACK.rtt
  uint64_t min_rtt_ns = kNever;  ///< RACK.min_RTT
  SequenceNumber fack;           ///< RACK.fack: end of the highest byte delivered
  uint64_t deadline = kNever;    ///< RACK_detect_loss is to run again
};

/// RFC 8985 section 7: one probe for a tail that may be lost.
struct TailProbe {
  uint64_t deadline = kNever;
  bool due = false;
  bool outstanding = false;
  bool repeats = false;       ///< the probe was of bytes that had been sent
  SequenceNumber end;         ///< TLP.end_seq
  SequenceNumber last_start;  ///< of the last segment sent
};

/// RFC 6937: how much a recovery may send.
struct RateReduction {
  uint32_t delivered = 0;    ///< prr_delivered
  uint32_t sent = 0;         ///< prr_out
  uint32_t flight_size = 1;  ///< RecoverFS
};

/// RFC 3168, or RFC 8257's use of it.
struct Ecn {
  bool on = false;           ///< both SYNs agreed
  bool echo = false;         ///< ECE goes with every acknowledgement
  bool window_cut = false;   ///< CWR goes with the next new text
  bool offer = false;        ///< our SYN asks for it; not once a SYN was lost
  SequenceNumber cut_until;  ///< one reduction a window: ECE up to here is old news
};

/// How to take a reduction of the congestion window back, should it prove to have been for nothing.
struct Undo {
  bool possible = false;
  bool stamped = false;  ///< the two below are valid
  uint32_t cwnd = 0;     ///< before the reduction
  uint32_t ssthresh = 0;
  uint32_t repeated = 0;            ///< bytes sent again that no D-SACK has reported
  uint32_t first_repeat_stamp = 0;  ///< TSval of the first retransmission (RFC 3522)
  SequenceNumber first_repeat_end;  ///< what has to be acknowledged for it to be judged
  SequenceNumber until;             ///< an ACK beyond this ends the matter
  uint64_t reduced_at = 0;
  PolicyState policy;
};

/// RFC 4821: mtu_probe.cc. Sizes are of text, as snd.mss, which is search_low.
struct MtuSearch {
  uint64_t next_at = 0;      ///< no probe before this
  uint64_t raise_at = 0;     ///< sizes that have failed are tried again from then on
  uint32_t ceiling = 0;      ///< largest that link, peer and routers let through; 0: not set yet
  uint32_t high = 0;         ///< search_high: larger ones have failed
  uint32_t head_length = 0;  ///< of the segment last sent at snd.una; 0: it was not at snd.una yet
  SequenceNumber probe_start;  ///< outstanding, failed, repairing
  SequenceNumber probe_end;
  bool on = false;           ///< sizes between snd.mss and high are tried
  bool outstanding = false;  ///< the probe is in flight and was sent but once
  bool failed = false;       ///< it was lost, and what it was is not acknowledged yet
  bool repairing = false;    ///< without SACK: snd.nxt walks over the lost probe
  bool unconfirmed = false;  ///< a black hole was presumed, nothing has got through since
  uint8_t timeouts = 0;      ///< in a row
  uint8_t tries = 0;         ///< probes in a row that have told nothing
  uint8_t news = 0;          ///< MtuNews, for the owner
};

/// RFC 5682: whether the retransmission timer fired too early.
enum class FRto : uint8_t {
  kOff,
  kFirstAck,   ///< the oldest segment went again; the first ACK decides
  kSecondAck,  ///< new text went instead of more repetitions; the second ACK decides
};

/// The send half: RFC 9293 3.3.1 (SND.UNA is snd.una), with a `max` as in 4.4BSD.
struct SendHalf {
  SequenceNumber iss;
  SequenceNumber una;  ///< oldest unacknowledged
  SequenceNumber nxt;  ///< next to send; goes back to una after a time-out, without SACK
  SequenceNumber max;  ///< highest ever sent + 1
  SequenceNumber end;  ///< end of the data the owner has announced (ExtendSend)
  SequenceNumber wl1;
  SequenceNumber wl2;
  SequenceNumber up;        ///< behind our urgent data, while `urgent`
  uint32_t wnd = 0;         ///< peer's window, scaled, bytes
  uint32_t max_wnd = 0;     ///< largest window the peer ever offered (sender SWS, 3.8.6.2.1)
  uint32_t mss = 536;       ///< largest payload of a segment we send, options deducted
  uint8_t wscale = 0;       ///< shift of the peer's windows
  bool urgent = false;      ///< urgent text waits or is in flight
  bool fin_queued = false;  ///< owner closed: FIN goes after `end`
  bool fin_sent = false;
  /// 2^31 bytes and more are acknowledged: iss compares with none of them.
  bool iss_is_far = false;
};

/// The receive half.
struct ReceiveHalf {
  Reassembly held;  ///< text ahead of its turn
  SequenceNumber irs;
  SequenceNumber nxt;          ///< next expected; text up to here has been accepted
  SequenceNumber up;           ///< behind the peer's urgent data, while `urgent`
  SequenceNumber adv;          ///< right edge of the advertised window; never retracts
  SequenceNumber told;         ///< as the peer computes it from what was told last: by less than a
                               ///< unit of the scale before `adv`
  uint32_t unplaced = 0;       ///< accepted bytes whose placement is not complete: not acknowledged
  uint32_t wnd_limit = 0;      ///< bytes the owner can take from nxt on (SetReceiveWindow)
  uint32_t receives = 0;       ///< posted by the owner now (NoteReceives)
  uint32_t receives_most = 0;  ///< posted together, at most, since withheld window was last told
  uint32_t max_wnd = 0;        ///< largest window ever advertised: the peer's max_wnd
  uint64_t window_deadline = kNever;  ///< window that is withheld is told then
  SequenceNumber gap_end;
  SequenceNumber fin_held_at;
  uint8_t wscale = 0;            ///< shift of our windows
  bool urgent = false;           ///< urgent text is awaited, up to `up`
  bool window_update = false;    ///< the right edge has moved enough to be told (3.8.6.2.2)
  bool ack_when_placed = false;  ///< the batch ended before its text was placed
  bool gap_open = false;         ///< text beyond nxt was seen, up to gap_end
  bool fin_held = false;         ///< the peer's FIN was seen, behind a gap
  bool fin_received = false;
};

/// What a segment without text, SYN or FIN settles as it is committed. One that has not gone out
/// owes it again: the owner puts back what it read before CommitSend.
struct Owed {
  SackBlock duplicate;           ///< arrived twice, to be told once (RFC 2883); empty: nothing
  SequenceNumber last_ack_sent;  ///< Last.ACK.sent of RFC 7323
  uint64_t ack_deadline = kNever;
  uint64_t keepalive_sent_at = 0;
  uint8_t segments_unacked = 0;  ///< segments placed since the last acknowledgement
  uint8_t duplicates = 0;        ///< one ACK an out-of-order segment (RFC 5681 section 4.2)
  uint8_t keepalives_unanswered = 0;
  bool ack_now = false;
  bool keepalive_due = false;
  bool user_timeout_due = false;  ///< RFC 5482's option goes with the next acknowledgement
};

/// RFC 6298: the estimator, and what it measures with.
struct RoundTrip {
  uint32_t srtt_us = 0;    ///< scaled by 8
  uint32_t rttvar_us = 0;  ///< scaled by 4
  uint32_t rto_us = 1000000;
  uint8_t backoff = 0;            ///< doublings of rto_us
  bool valid = false;             ///< there was a sample
  bool timing = false;            ///< one segment is being timed; not if retransmitted (Karn)
  bool fresh = false;             ///< there was a sample since the last tail loss probe, if any
  SequenceNumber timed_sequence;  ///< its end: an ACK of this or more ends the measurement
  uint64_t timed_at = 0;
};

/// Two of its tables lie elsewhere (annex.h): `rcv.held.ranges` and `sent.runs`. Whoever owns the
/// Tcb places them before it is opened.
struct Tcb {
  SendHalf snd;
  ReceiveHalf rcv;
  Owed owed;
  RoundTrip rtt;

  State state = State::kClosed;
  bool timestamps_on = false;
  bool window_scaling_on = false;
  bool sack_on = false;  ///< both SYNs permitted it
  bool passive = false;  ///< opened by a SYN that arrived (3.10.7.4, fourth check)

  // --- Challenge ACKs (RFC 5961 section 7)
  uint8_t challenges_sent = 0;    ///< in the present second, see challenge_window
  uint64_t challenge_window = 0;  ///< start of the second that challenges_sent counts

  // --- RFC 7323 timestamps
  uint32_t ts_offset = 0;  ///< added to the clock in TSval, a tick of 2^20 ns (1.05 ms)
  uint32_t ts_recent = 0;
  uint64_t ts_recent_time = 0;

  // --- Timers
  bool timed_out = false;        ///< the timer has expired and nothing was acknowledged since
  bool syn_ack_forgone = false;  ///< ForgoSynAck: the timer runs without one that it stands for
  uint64_t retransmit_deadline = kNever;
  uint64_t persist_deadline = kNever;  ///< 0: OnTimer is to start the timer
  uint8_t persist_backoff = 0;
  bool probe_due = false;
  uint64_t first_unacked_at = 0;  ///< when the oldest unacknowledged data was first sent or last
                                  ///< acknowledged: user time-out. kNever: the peer has
                                  ///< answered since, with a shut window
  uint64_t time_wait_deadline = kNever;
  uint64_t opened_at = 0;
  uint32_t user_timeout_ms = 0;  ///< what holds: ours, or what the peer has asked for (RFC 5482)
  uint64_t last_sent_at = 0;     ///< when text was last sent: restart after idle (RFC 5681, 4.1)

  // --- Congestion control: RFC 5681, RFC 6582 NewReno; the policy's own state is further down
  uint32_t cwnd = 0;
  uint32_t ssthresh = 0xffffffffu;
  uint32_t bytes_acked = 0;  ///< appropriate byte counting (RFC 3465)
  uint8_t duplicate_acks = 0;
  bool in_recovery = false;       ///< fast recovery (RFC 6582)
  bool partial_seen = false;      ///< in_recovery: the first partial ACK has come
  bool timeout_recovery = false;  ///< slow start after a time-out, until `recover` is acknowledged
  bool retransmit_now = false;    ///< one segment at snd.una is due
  bool go_back = false;       ///< everything up to `recover` is sent again: the peer keeps nothing
                              ///< that is out of order
  bool cwnd_limited = false;  ///< cwnd was used up; grows until limited_until is acknowledged
  SequenceNumber limited_until;
  SequenceNumber repeat_end;  ///< in_recovery: end of the segment last sent again
  SequenceNumber recover;     ///< snd.max when loss was detected
  FRto frto = FRto::kOff;
  SequenceNumber frto_limit;  ///< kSecondAck without SACK: new text may go up to here
  Ecn ecn;
  uint64_t pace_deadline = 0;  ///< no new text before this
  bool pace_passed = true;     ///< OnTimer has seen that time

  // --- Keep-alive: RFC 9293 3.8.4
  uint64_t last_heard_at = 0;  ///< when the last acceptable segment came

  // --- Loss recovery of connections with SACK: recovery.cc. They never move snd.nxt back.
  Rack rack;
  TailProbe tail_probe;
  RateReduction rate_reduction;
  Undo undo;

  PolicyState policy;
  HyStart hystart;

  // --- RFC 8201: path_mtu.cc
  uint32_t negotiated_mss = 0;   ///< snd.mss of the handshake; 0: the path has not been asked
  SequenceNumber refused_until;  ///< before this, what was too large is known to be lost
  MtuSearch mtu_search;

  Options options;

  Scoreboard sent;  ///< connections with SACK: what is in flight
};
static_assert(std::is_trivially_copyable_v<Tcb>);

/// As at first, with its tables where they are.
inline void Clear(Tcb& tcb) {
  const Annex<HeldRange> ranges = tcb.rcv.held.ranges;
  const Annex<SentRun> runs = tcb.sent.runs;
  tcb = Tcb{};
  tcb.rcv.held.ranges = ranges;
  tcb.sent.runs = runs;
}

}  // namespace qpip::tcp
