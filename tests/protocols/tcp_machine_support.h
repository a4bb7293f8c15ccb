// Fixtures of the TCP machine's tests: one machine against a scripted peer, a manual clock, and a
// checker of what must hold between any two calls.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "protocols/tcp/listen.h"
#include "protocols/tcp/machine.h"
#include "standalone_tcb.h"

namespace qpip::tcp::testing {

inline constexpr uint64_t kMs = 1000000;
inline constexpr uint64_t kUs = 1000;
inline constexpr uint64_t kStart = 1000 * 1000 * kMs;  // the clock does not start at zero

/// Where the two sequence spaces start: the wrap-around variants put the wrap inside the test.
struct SequencePlan {
  const char* name;
  uint32_t iss;
  uint32_t irs;
};
inline constexpr SequencePlan kSequencePlans[] = {
    {"Plain", 1000, 500000},
    {"SendWraps", 0xffffffffu - 20, 500000},
    {"ReceiveWraps", 1000, 0xffffffffu - 20},
    {"BothWrapAtSyn", 0xffffffffu, 0xffffffffu},
};

/// Options of most tests: no timestamps, no scaling, plain Reno, round numbers.
inline Options PlainOptions() {
  Options options;
  options.mss = 1000;
  options.receive_buffer = 20000;
  options.timestamps = false;
  options.window_scaling = false;
  options.ack_on_batch_end = false;
  options.congestion = CongestionAlgorithm::kNewReno;
  options.ecn = EcnMode::kOff;
  options.hystart = false;
  options.undo = false;
  options.user_timeout_ms = 30000;
  options.connect_timeout_ms = 10000;
  return options;
}

/// What must hold between any two calls. `edge` is kept by the caller over the Tcb's life.
struct InvariantChecker {
  bool has_edge = false;
  SequenceNumber edge;

  void Check(const Tcb& t, uint64_t now) {
    const std::string error = Violation(t, now);
    ASSERT_EQ(error, "") << "in " << StateName(t.state);
    if (t.state >= State::kSynReceived) {
      edge = t.rcv.adv;
      has_edge = true;
    }
  }

  std::string Violation(const Tcb& t, uint64_t now) const {
    if (t.state == State::kClosed) {
      return NextDeadline(t) == kNever && !AckDue(t, now) ? "" : "a closed Tcb has work";
    }
    if (t.snd.una.After(t.snd.nxt)) return "snd.una after snd.nxt";
    if (t.snd.nxt.After(t.snd.max)) return "snd.nxt after snd.max";
    if (t.snd.max.After(t.snd.end + (t.snd.fin_sent ? 1 : 0)))
      return "snd.max beyond what was given";
    if (t.snd.fin_sent && !t.snd.fin_queued) return "FIN sent but never asked for";
    if (t.state >= State::kSynReceived) {
      if (has_edge && t.rcv.adv.Before(edge)) return "right edge retracted";
      if (t.rcv.nxt.After(t.rcv.adv + 1)) return "text taken beyond the window";
      if (t.rcv.held.released == 0 && t.rcv.held.HoldsAny() &&
          (t.rcv.held.ranges[0].start.AtOrBefore(t.rcv.nxt) ||
           t.rcv.held.ranges[t.rcv.held.count - 1].End().After(t.rcv.adv))) {
        return "held text outside the window";
      }
      if (t.rcv.unplaced > t.rcv.irs.DistanceTo(t.rcv.nxt)) return "rcv.unplaced is too large";
      if (t.owed.last_ack_sent.After(AckableSequence(t))) return "acknowledged what is not placed";
    }
    if (t.state >= State::kEstablished) {
      if (t.cwnd < t.snd.mss || t.cwnd > 1u << 30) return "cwnd out of range";
      if (t.ssthresh < 2 * t.snd.mss) return "ssthresh below two segments";
      const bool in_flight = t.snd.nxt != t.snd.una;
      if (in_flight && t.retransmit_deadline == kNever) return "in flight without a timer";
      const bool waits = !in_flight && t.snd.nxt.Before(t.snd.end) && t.snd.wnd == 0;
      if (waits && t.persist_deadline == kNever && !t.probe_due) return "shut window, no probe";
    }
    const uint64_t rto_max = t.options.rto_max_us * kUs;
    if (t.retransmit_deadline != kNever && t.retransmit_deadline > now + rto_max) {
      return "retransmission too far away";
    }
    if (t.persist_deadline != kNever && t.persist_deadline > now + rto_max) {
      return "probe too far away";
    }
    if (t.owed.ack_deadline != kNever && t.owed.ack_deadline > now + t.options.ack_delay_us * kUs) {
      return "delayed ACK too late";
    }
    return "";
  }
};

/// A segment the machine has sent.
struct SentSegment {
  Header header;
  uint32_t length = 0;
  SendIntent intent;
};

/// One machine whose peer is the test.
class Connection {
 public:
  explicit Connection(const Options& options = PlainOptions(),
                      const SequencePlan& plan = kSequencePlans[0])
      : options_(options), iss_(plan.iss), irs_(plan.irs) {}

  // --- Bringing the machine into a state by legitimate means.

  void OpenActively(uint32_t receive_window = 10000) {
    OpenActive(tcb, options_, iss_, now);
    SetReceiveWindow(tcb, receive_window, now);
  }
  void OpenPassively(uint32_t receive_window = 10000) {
    OpenPassive(tcb, options_, iss_, PeerSyn(), now);
    SetReceiveWindow(tcb, receive_window, now);
  }
  /// Handshake complete, everything acknowledged both ways.
  void Establish(uint32_t receive_window = 10000) {
    OpenActively(receive_window);
    Drain();
    Segment syn_ack = PeerSyn();
    syn_ack.header.flags = kSyn | kAck;
    syn_ack.header.acknowledgement = iss_ + 1;
    ASSERT_EQ(Arrive(syn_ack).outcome, Outcome::kEstablished);
    Drain();
    ASSERT_EQ(tcb.state, State::kEstablished);
  }
  void BringTo(State state) {
    switch (state) {
      case State::kClosed:
        Establish();
        {
          Header reset;
          Abort(tcb, &reset, now);
        }
        break;
      case State::kSynSent:
        OpenActively();
        Drain();
        break;
      case State::kSynReceived:
        OpenPassively();
        Drain();
        break;
      case State::kEstablished:
        Establish();
        break;
      case State::kFinWait1:
        Establish();
        Close(tcb, now);
        Drain();
        break;
      case State::kFinWait2:
        BringTo(State::kFinWait1);
        Arrive(Template());
        break;
      case State::kCloseWait:
        Establish();
        Arrive(WithFlags(kFin | kAck));
        Drain();
        break;
      case State::kClosing: {
        BringTo(State::kFinWait1);
        Segment fin = WithFlags(kFin | kAck);
        fin.header.acknowledgement = tcb.snd.una;  // ours not acknowledged
        Arrive(fin);
        Drain();
        break;
      }
      case State::kLastAck:
        BringTo(State::kCloseWait);
        Close(tcb, now);
        Drain();
        break;
      case State::kTimeWait:
        BringTo(State::kFinWait2);
        Arrive(WithFlags(kFin | kAck));
        Drain();
        break;
    }
    ASSERT_EQ(tcb.state, state) << StateName(tcb.state);
  }

  // --- Segments of the peer. The template is the next acceptable pure ACK.

  Segment Template() const {
    Segment segment;
    segment.header.flags = kAck;
    segment.header.sequence = tcb.rcv.nxt;
    segment.header.acknowledgement = tcb.snd.max;
    segment.header.window = static_cast<uint16_t>(peer_window >> tcb.snd.wscale);
    Stamp(&segment);
    return segment;
  }
  Segment WithFlags(uint8_t flags) const {
    Segment segment = Template();
    segment.header.flags = flags;
    return segment;
  }
  Segment WithText(uint32_t length, bool push = false) const {
    Segment segment = WithFlags(push ? kAck | kPsh : kAck);
    segment.text_length = length;
    return segment;
  }
  Segment WithAck(SequenceNumber acknowledgement) const {
    Segment segment = Template();
    segment.header.acknowledgement = acknowledgement;
    return segment;
  }
  /// The peer's SYN, with all options; flags SYN.
  Segment PeerSyn() const {
    Segment syn;
    syn.header.flags = kSyn;
    syn.header.sequence = irs_;
    syn.header.window = static_cast<uint16_t>(peer_window < 65535 ? peer_window : 65535);
    syn.header.has_mss = true;
    syn.header.mss = peer_mss;
    syn.header.has_window_scale = peer_scales;
    syn.header.window_scale = peer_scale;
    syn.header.has_timestamps = peer_timestamps;
    syn.header.ts_value = peer_clock;
    syn.header.sack_permitted = peer_sack;
    return syn;
  }
  void Stamp(Segment* segment) const {
    segment->header.has_timestamps = tcb.timestamps_on;
    segment->header.ts_value = peer_clock;
    segment->header.ts_echo = last_ts_value;
  }

  // --- Events, each followed by the invariants.

  Arrival Arrive(const Segment& segment) {
    const Arrival arrival = OnSegment(tcb, segment, now);
    Check();
    return arrival;
  }
  /// Arrives and places its text at once, with what follows it of held text.
  Arrival ArriveAndPlace(const Segment& segment) {
    const Arrival arrival = Arrive(segment);
    if (arrival.held) return arrival;
    OnPlaced(tcb, arrival.text_length, now);
    HeldRange range;
    while (NextReleased(tcb, &range)) OnPlaced(tcb, range.length, now);
    Check();
    return arrival;
  }
  /// Moves the clock and runs what is due.
  TimerPlan Advance(uint64_t nanoseconds) {
    now += nanoseconds;
    const TimerPlan plan = OnTimer(tcb, now);
    Check();
    return plan;
  }
  TimerPlan AdvanceTo(uint64_t time) { return Advance(time - now); }
  /// Sends one segment if one may go; `rest` is what remains of its message (0: all announced).
  bool SendOne(std::vector<SentSegment>* out, uint32_t rest = 0) {
    const SendIntent intent = NextSend(tcb, now);
    if (intent.kind == SendIntent::Kind::kNone) return false;
    SentSegment sent;
    sent.intent = intent;
    if (intent.kind == SendIntent::Kind::kData) {
      const uint32_t all = intent.sequence.DistanceTo(tcb.snd.end);
      sent.length = AllowedLength(tcb, intent, rest == 0 ? all : rest);
      if (sent.length == 0) return false;
      sent.header = CommitSend(tcb, intent, sent.length, sent.length == all, now);
    } else {
      sent.header = CommitSend(tcb, intent, 0, false, now);
    }
    if (sent.header.has_timestamps) last_ts_value = sent.header.ts_value;
    Check();
    out->push_back(sent);
    return true;
  }
  /// Sends all that may go now.
  std::vector<SentSegment> Drain() {
    std::vector<SentSegment> out;
    for (int i = 0; i < 1000 && SendOne(&out); ++i) {
    }
    EXPECT_LT(out.size(), 1000u) << "does not stop sending";
    return out;
  }
  /// Announces text of one message and sends what may go.
  std::vector<SentSegment> Send(uint32_t bytes) {
    ExtendSend(tcb, bytes);
    OnTimer(tcb, now);  // as owners do when NextDeadline says so
    return Drain();
  }
  void Check() { checker.Check(tcb, now); }

  SequenceNumber iss() const { return iss_; }
  SequenceNumber irs() const { return irs_; }

  StandaloneTcb tcb;
  uint64_t now = kStart;
  uint32_t peer_window = 60000;
  uint16_t peer_mss = 1000;
  bool peer_scales = false;
  uint8_t peer_scale = 0;
  bool peer_timestamps = false;
  bool peer_sack = false;
  uint32_t peer_clock = 7000;
  uint32_t last_ts_value = 0;
  InvariantChecker checker;

 private:
  Options options_;
  SequenceNumber iss_;
  SequenceNumber irs_;
};

// --- Segments and connections that several files use.

inline constexpr uint32_t kWindow = 10000;  // what the machine has advertised
inline constexpr int32_t kInside = 500;
inline constexpr int32_t kOutside = static_cast<int32_t>(kWindow) + 1000;

/// Acknowledges nothing new.
inline Segment Base(const Connection& c) { return c.WithAck(c.tcb.snd.una); }
inline Segment Change(const Connection& c, uint8_t flags, int32_t ahead, uint32_t text = 0) {
  Segment s = Base(c);
  s.header.flags = flags;
  s.header.sequence = c.tcb.rcv.nxt + static_cast<uint32_t>(ahead);
  s.text_length = text;
  return s;
}

struct Variant {
  SequencePlan plan;
  bool rfc7323;
};

inline Connection MakeConnection(const Variant& variant) {
  Options options = PlainOptions();
  options.timestamps = variant.rfc7323;
  options.window_scaling = variant.rfc7323;
  options.receive_buffer = variant.rfc7323 ? 500000 : 20000;
  Connection c(options, variant.plan);
  c.peer_timestamps = variant.rfc7323;
  c.peer_scales = variant.rfc7323;
  c.peer_scale = 2;
  return c;
}

/// True when `sent` is exactly one segment without text that has these flags.
inline bool IsOne(const std::vector<SentSegment>& sent, uint8_t flags) {
  return sent.size() == 1 && sent[0].header.flags == flags && sent[0].length == 0;
}

}  // namespace qpip::tcp::testing
