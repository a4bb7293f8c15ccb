// Segment arrival, state by state: RFC 9293 3.10.7 as a table of "given S, when X, then Y". Each
// segment is the template (the peer's next empty ACK) with the fields changed that its name says.
// All of it runs with the sequence spaces at several places, and with and without RFC 7323 options.
#include <functional>
#include <tuple>
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

enum class Reply { kNone, kAck, kReset, kSynAck };

struct Expected {
  State state;
  Reply reply = Reply::kNone;
  Refusal refusal = Refusal::kNone;
  Outcome outcome = Outcome::kNone;
  uint32_t text_offset = 0;
  uint32_t text_length = 0;
  bool peer_closed = false;
  uint32_t acked_bytes = 0;
  bool held = false;
};

struct Row {
  const char* when;
  std::function<Segment(const Connection&)> segment;
  Expected then;
};

constexpr uint32_t kInFlight = 100;  // bytes sent and not acknowledged in states that may send

// --- Segments. The base acknowledges nothing new.

std::function<Segment(const Connection&)> Is(uint8_t flags, int32_t ahead, uint32_t text = 0) {
  return [=](const Connection& c) { return Change(c, flags, ahead, text); };
}
Segment AckAll(const Connection& c) { return c.WithAck(c.tcb.snd.max); }
Segment AckOld(const Connection& c) { return c.WithAck(c.tcb.snd.una - 1); }
Segment AckFuture(const Connection& c) { return c.WithAck(c.tcb.snd.max + 1); }
Segment AckAncient(const Connection& c) { return c.WithAck(c.tcb.snd.una - c.tcb.snd.max_wnd - 1); }
/// In-order text that also acknowledges all.
Segment TextAndAck(const Connection& c) {
  Segment s = AckAll(c);
  s.text_length = 10;
  return s;
}
Segment FinAndAck(const Connection& c) {
  Segment s = AckAll(c);
  s.header.flags = kFin | kAck;
  return s;
}

/// What all synchronised states have in common (3.10.7.4, first to fifth check).
std::vector<Row> SynchronisedRows(State s) {
  const auto ack = Reply::kAck;
  const auto bad = Refusal::kUnacceptable;
  return {
      {"SYN in the window", Is(kSyn, kInside), {s, ack, bad}},
      {"SYN at rcv.nxt", Is(kSyn, 0), {s, ack, bad}},
      {"SYN|ACK in the window", Is(kSyn | kAck, kInside), {s, ack, bad}},
      {"SYN outside the window", Is(kSyn, kOutside), {s, ack, bad}},
      {"the old SYN|ACK again",
       [](const Connection& c) {
         Segment again = Base(c);
         again.header.flags = kSyn | kAck;
         again.header.sequence = c.irs();
         return again;
       },
       {s, ack, bad}},
      {"RST outside the window", Is(kRst, kOutside), {s, Reply::kNone, bad}},
      {"RST just before the window", Is(kRst, -5), {s, Reply::kNone, bad}},
      {"RST|ACK outside the window", Is(kRst | kAck, kOutside), {s, Reply::kNone, bad}},
      {"no ACK bit", Is(0, 0), {s, Reply::kNone, Refusal::kBadAck}},
      {"no ACK bit, with text", Is(kPsh, 0, 10), {s, Reply::kNone, Refusal::kBadAck}},
      {"no ACK bit, with FIN", Is(kFin, 0), {s, Reply::kNone, Refusal::kBadAck}},
      {"ACK of the future", AckFuture, {s, ack, Refusal::kBadAck}},
      {"ACK older than any window", AckAncient, {s, ack, Refusal::kBadAck}},
      {"old ACK", AckOld, {s}},
      {"duplicate ACK", Base, {s}},
      {"text wholly old", Is(kAck, -20, 10), {s, ack, bad}},
      {"text wholly beyond the window", Is(kAck, kOutside, 10), {s, ack, bad}},
      {"ACK before the window", Is(kAck, -1), {s, ack, bad}},
      {"ACK beyond the window", Is(kAck, kOutside), {s, ack, bad}},
      {"URG is ignored", Is(kAck | kUrg, 0), {s}},
  };
}

/// Ahead of rcv.nxt. A FIN that was received has taken one of the window.
int32_t LastOfWindow(const Connection& c) {
  return static_cast<int32_t>(c.tcb.rcv.nxt.DistanceTo(c.tcb.rcv.adv)) - 1;
}

/// RST in states where it ends the connection.
std::vector<Row> ResettableRows(State s) {
  return {
      {"RST at rcv.nxt",
       Is(kRst, 0),
       {State::kClosed, Reply::kNone, Refusal::kNone, Outcome::kReset}},
      {"RST|ACK at rcv.nxt",
       Is(kRst | kAck, 0),
       {State::kClosed, Reply::kNone, Refusal::kNone, Outcome::kReset}},
      {"RST in the window, not exact", Is(kRst, kInside), {s, Reply::kAck, Refusal::kUnacceptable}},
      {"RST at the last byte of the window",
       [](const Connection& c) { return Change(c, kRst, LastOfWindow(c)); },
       {s, Reply::kAck, Refusal::kUnacceptable}},
      {"RST at the right edge",
       [](const Connection& c) { return Change(c, kRst, LastOfWindow(c) + 1); },
       {s, Reply::kNone, Refusal::kUnacceptable}},
  };
}

/// Text in states that take it.
std::vector<Row> TextRows(State s) {
  const auto none = Reply::kNone;
  const auto no = Refusal::kNone;
  const auto ok = Outcome::kNone;
  return {
      {"text in order", Is(kAck | kPsh, 0, 10), {s, none, no, ok, 0, 10}},
      {"text in order with URG", Is(kAck | kUrg, 0, 10), {s, none, no, ok, 0, 10}},
      {"text of which a part is old", Is(kAck, -5, 15), {s, Reply::kAck, no, ok, 5, 10}},
      {"text out of order", Is(kAck, 20, 10), {s, Reply::kAck, no, ok, 0, 10, false, 0, true}},
      {"text out of order that ends beyond the window",
       Is(kAck | kPsh, 20, kWindow),
       {s, Reply::kAck, no, ok, 0, kWindow - 20, false, 0, true}},
      {"text that ends beyond the window",
       Is(kAck, 0, kWindow + 50),
       {s, Reply::kAck, no, ok, 0, kWindow}},
      {"text that starts before and ends beyond the window",
       Is(kAck, -7, kWindow + 50),
       {s, Reply::kAck, no, ok, 7, kWindow}},
      {"FIN out of order", Is(kFin | kAck, 20), {s, Reply::kAck}},
      {"text and FIN out of order",
       Is(kFin | kAck, 20, 10),
       {s, Reply::kAck, no, ok, 0, 10, false, 0, true}},
      {"text and FIN, cut by the window",
       Is(kFin | kAck, 0, kWindow + 1),
       {s, Reply::kAck, no, ok, 0, kWindow}},
  };
}

/// Text and FIN in states where the peer has already sent FIN.
std::vector<Row> NoTextRows(State s) {
  return {
      {"text behind the FIN", Is(kAck, 0, 10), {s, Reply::kAck, Refusal::kNoText}},
      {"the FIN again", Is(kFin | kAck, -1), {s, Reply::kAck, Refusal::kUnacceptable}},
      {"another FIN", Is(kFin | kAck, 0), {s}},
  };
}

void Append(std::vector<Row>* rows, std::vector<Row> more) {
  rows->insert(rows->end(), more.begin(), more.end());
}

std::vector<Row> RowsOf(State s) {
  const auto none = Reply::kNone;
  const auto ack = Reply::kAck;
  const auto no = Refusal::kNone;
  const auto ok = Outcome::kNone;
  std::vector<Row> rows = SynchronisedRows(s);
  if (s != State::kTimeWait) Append(&rows, ResettableRows(s));
  switch (s) {
    case State::kEstablished:
      Append(&rows, TextRows(s));
      Append(&rows,
             {
                 {"ACK of all", AckAll, {s, none, no, ok, 0, 0, false, kInFlight}},
                 {"text and ACK of all", TextAndAck, {s, none, no, ok, 0, 10, false, kInFlight}},
                 {"FIN", Is(kFin | kAck, 0), {State::kCloseWait, ack, no, ok, 0, 0, true}},
                 {"text and FIN",
                  Is(kFin | kAck, 0, 10),
                  {State::kCloseWait, ack, no, ok, 0, 10, true}},
                 {"FIN with old text",
                  Is(kFin | kAck, -10, 10),
                  {State::kCloseWait, ack, no, ok, 0, 0, true}},
             });
      break;
    case State::kFinWait1:
      Append(&rows, TextRows(s));
      Append(&rows,
             {
                 {"ACK of our FIN", AckAll, {State::kFinWait2}},
                 {"text and ACK of our FIN", TextAndAck, {State::kFinWait2, none, no, ok, 0, 10}},
                 {"FIN alone", Is(kFin | kAck, 0), {State::kClosing, ack, no, ok, 0, 0, true}},
                 {"FIN and ACK of ours",
                  FinAndAck,
                  {State::kTimeWait, ack, no, Outcome::kTimeWait, 0, 0, true}},
             });
      break;
    case State::kFinWait2:
      Append(&rows, TextRows(s));
      Append(&rows, {
                        {"FIN",
                         Is(kFin | kAck, 0),
                         {State::kTimeWait, ack, no, Outcome::kTimeWait, 0, 0, true}},
                        {"text and FIN",
                         Is(kFin | kAck, 0, 10),
                         {State::kTimeWait, ack, no, Outcome::kTimeWait, 0, 10, true}},
                    });
      break;
    case State::kCloseWait:
      Append(&rows, NoTextRows(s));
      Append(&rows, {{"ACK of all", AckAll, {s, none, no, ok, 0, 0, false, kInFlight}}});
      break;
    case State::kClosing:
      Append(&rows, NoTextRows(s));
      Append(&rows, {{"ACK of our FIN", AckAll, {State::kTimeWait, none, no, Outcome::kTimeWait}}});
      break;
    case State::kLastAck:
      Append(&rows, NoTextRows(s));
      Append(&rows, {{"ACK of our FIN", AckAll, {State::kClosed, none, no, Outcome::kClosed}}});
      break;
    case State::kTimeWait:
      Append(&rows, NoTextRows(s));
      Append(&rows, {
                        // RFC 1337: no assassination.
                        {"RST at rcv.nxt", Is(kRst, 0), {s, none, Refusal::kUnacceptable}},
                        {"RST in the window", Is(kRst, kInside), {s, none, Refusal::kUnacceptable}},
                    });
      break;
    default:
      break;
  }
  return rows;
}

class Arrivals : public ::testing::TestWithParam<std::tuple<SequencePlan, bool>> {
 protected:
  Variant variant() const { return {std::get<0>(GetParam()), std::get<1>(GetParam())}; }

  static Reply ReplyOf(Connection& c, const Arrival& arrival) {
    if (arrival.send_reset) return Reply::kReset;
    const std::vector<SentSegment> sent = c.Drain();
    if (sent.empty()) return Reply::kNone;
    EXPECT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].length, 0u);
    if (sent[0].header.flags == (kSyn | kAck)) return Reply::kSynAck;
    EXPECT_EQ(sent[0].header.flags, kAck);
    // <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>
    EXPECT_EQ(sent[0].header.sequence, c.tcb.snd.max);
    EXPECT_EQ(sent[0].header.acknowledgement, c.tcb.rcv.nxt);
    return Reply::kAck;
  }

  static void Run(Connection& c, const Row& row) {
    SCOPED_TRACE(std::string("given ") + StateName(c.tcb.state) + ", when " + row.when);
    const Tcb before = c.tcb;
    const Segment segment = row.segment(c);
    const Arrival arrival = c.ArriveAndPlace(segment);
    EXPECT_EQ(arrival.outcome, row.then.outcome);
    EXPECT_EQ(arrival.refusal, row.then.refusal);
    EXPECT_EQ(arrival.text_length, row.then.text_length);
    EXPECT_EQ(arrival.text_offset, row.then.text_offset);
    EXPECT_EQ(arrival.peer_closed, row.then.peer_closed);
    EXPECT_EQ(arrival.acked_bytes, row.then.acked_bytes);
    EXPECT_EQ(arrival.held, row.then.held);
    EXPECT_EQ(arrival.push, row.then.text_length == segment.text_length - row.then.text_offset &&
                                row.then.text_length != 0 && segment.header.Has(kPsh));
    EXPECT_EQ(StateName(c.tcb.state), StateName(row.then.state));
    EXPECT_EQ(c.tcb.rcv.nxt, before.rcv.nxt + (row.then.held ? 0 : row.then.text_length) +
                                 (row.then.peer_closed ? 1u : 0u));
    EXPECT_EQ(static_cast<int>(ReplyOf(c, arrival)), static_cast<int>(row.then.reply));
  }

  void RunState(State state) {
    for (const Row& row : RowsOf(state)) {
      Connection c = MakeConnection(variant());
      c.BringTo(state);
      if (HasFatalFailure()) return;
      if (state == State::kEstablished || state == State::kCloseWait) {
        ASSERT_EQ(c.Send(kInFlight).size(), 1u);
      }
      Run(c, row);
    }
  }
};

TEST_P(Arrivals, GivenEstablished) { RunState(State::kEstablished); }
TEST_P(Arrivals, GivenFinWait1) { RunState(State::kFinWait1); }
TEST_P(Arrivals, GivenFinWait2) { RunState(State::kFinWait2); }
TEST_P(Arrivals, GivenCloseWait) { RunState(State::kCloseWait); }
TEST_P(Arrivals, GivenClosing) { RunState(State::kClosing); }
TEST_P(Arrivals, GivenLastAck) { RunState(State::kLastAck); }
TEST_P(Arrivals, GivenTimeWait) { RunState(State::kTimeWait); }

// ---------------------------------------------------------------- SYN-SENT (3.10.7.3)

Segment FromPeerInSynSent(const Connection& c, uint8_t flags, SequenceNumber acknowledgement) {
  Segment s = c.PeerSyn();
  s.header.flags = flags;
  if ((flags & kAck) != 0) s.header.acknowledgement = acknowledgement;
  return s;
}

TEST_P(Arrivals, GivenSynSent) {
  const auto good = [](uint8_t flags) {
    return [=](const Connection& c) { return FromPeerInSynSent(c, flags, c.iss() + 1); };
  };
  const auto at = [](uint8_t flags, int32_t off) {
    return [=](const Connection& c) {
      return FromPeerInSynSent(c, flags, c.iss() + static_cast<uint32_t>(off));
    };
  };
  const State s = State::kSynSent;
  const Refusal bad = Refusal::kUnacceptable;
  const Row rows[] = {
      {"SYN|ACK of our SYN",
       good(kSyn | kAck),
       {State::kEstablished, Reply::kAck, Refusal::kNone, Outcome::kEstablished}},
      {"SYN|ACK of the ISS itself", at(kSyn | kAck, 0), {s, Reply::kReset, Refusal::kBadAck}},
      {"SYN|ACK before the ISS", at(kSyn | kAck, -9), {s, Reply::kReset, Refusal::kBadAck}},
      {"SYN|ACK of the future", at(kSyn | kAck, 2), {s, Reply::kReset, Refusal::kBadAck}},
      {"ACK of the future", at(kAck, 2), {s, Reply::kReset, Refusal::kBadAck}},
      {"ACK of our SYN without SYN", good(kAck), {s, Reply::kNone, bad}},
      {"RST without ACK", good(kRst), {s, Reply::kNone, bad}},
      {"RST with a bad ACK", at(kRst | kAck, 2), {s, Reply::kNone, Refusal::kBadAck}},
      {"RST that acknowledges our SYN",
       good(kRst | kAck),
       {State::kClosed, Reply::kNone, Refusal::kNone, Outcome::kRefused}},
      {"SYN: simultaneous open", good(kSyn), {State::kSynReceived, Reply::kSynAck}},
      {"FIN without SYN", good(kFin), {s, Reply::kNone, bad}},
      {"nothing", good(0), {s, Reply::kNone, bad}},
  };
  for (const Row& row : rows) {
    Connection c = MakeConnection(variant());
    c.BringTo(s);
    SCOPED_TRACE(std::string("given SYN-SENT, when ") + row.when);
    const Arrival arrival = c.Arrive(row.segment(c));
    EXPECT_EQ(arrival.outcome, row.then.outcome);
    EXPECT_EQ(arrival.refusal, row.then.refusal);
    EXPECT_EQ(StateName(c.tcb.state), StateName(row.then.state));
    EXPECT_EQ(static_cast<int>(ReplyOf(c, arrival)), static_cast<int>(row.then.reply));
    if (arrival.send_reset) {
      EXPECT_EQ(arrival.reset.flags, kRst);  // <SEQ=SEG.ACK><CTL=RST>
      EXPECT_EQ(arrival.reset.sequence, row.segment(c).header.acknowledgement);
    }
  }
}

TEST_P(Arrivals, GivenSynSentWhenSynAckCarriesTextThenItIsAccepted) {
  Connection c = MakeConnection(variant());
  c.BringTo(State::kSynSent);
  Segment syn_ack = FromPeerInSynSent(c, kSyn | kAck | kPsh, c.iss() + 1);
  syn_ack.text_length = 12;
  const Arrival arrival = c.ArriveAndPlace(syn_ack);
  EXPECT_EQ(arrival.outcome, Outcome::kEstablished);
  EXPECT_EQ(arrival.text_length, 12u);
  EXPECT_TRUE(arrival.push);
  EXPECT_EQ(c.tcb.rcv.nxt, c.irs() + 13);
}

TEST_P(Arrivals, GivenSynSentWhenSynAckCarriesFinThenCloseWait) {
  Connection c = MakeConnection(variant());
  c.BringTo(State::kSynSent);
  const Arrival arrival = c.Arrive(FromPeerInSynSent(c, kSyn | kAck | kFin, c.iss() + 1));
  EXPECT_EQ(arrival.outcome, Outcome::kEstablished);
  EXPECT_TRUE(arrival.peer_closed);
  EXPECT_EQ(c.tcb.state, State::kCloseWait);
}

// ---------------------------------------------------------------- SYN-RECEIVED

TEST_P(Arrivals, GivenSynReceivedByPassiveOpen) {
  const State s = State::kSynReceived;
  const auto none = Reply::kNone;
  const auto bad = Refusal::kUnacceptable;
  const Outcome up = Outcome::kEstablished;
  const auto handshake = [](uint8_t flags, uint32_t text) {
    return [=](const Connection& c) {
      Segment segment = c.WithFlags(flags);
      segment.text_length = text;
      return segment;
    };
  };
  const auto syn_again = [](const Connection& c) { return c.PeerSyn(); };
  const Row rows[] = {
      {"ACK of our SYN", handshake(kAck, 0), {State::kEstablished, none, Refusal::kNone, up}},
      {"ACK of our SYN with text",
       handshake(kAck | kPsh, 10),
       {State::kEstablished, none, Refusal::kNone, up, 0, 10}},
      {"ACK of our SYN with FIN",
       handshake(kAck | kFin, 0),
       {State::kCloseWait, Reply::kAck, Refusal::kNone, up, 0, 0, true}},
      {"ACK of our SYN with text and FIN",
       handshake(kAck | kFin, 10),
       {State::kCloseWait, Reply::kAck, Refusal::kNone, up, 0, 10, true}},
      {"ACK of the ISS", Base, {s, Reply::kReset, Refusal::kBadAck}},
      {"ACK of the future", AckFuture, {s, Reply::kReset, Refusal::kBadAck}},
      {"no ACK bit", Is(0, 0, 10), {s, none, Refusal::kBadAck}},
      {"RST at rcv.nxt", Is(kRst, 0), {State::kClosed, none, Refusal::kNone, Outcome::kRefused}},
      {"RST in the window", Is(kRst, kInside), {s, Reply::kAck, bad}},
      {"RST outside the window", Is(kRst, kOutside), {s, none, bad}},
      {"the SYN again, at once", syn_again, {s, Reply::kNone, bad}},
      {"another SYN in the window",
       Is(kSyn, kInside),
       {State::kClosed, none, bad, Outcome::kRefused}},
      {"SYN outside the window", Is(kSyn, kOutside), {s, Reply::kAck, bad}},
      {"text beyond the window", Is(kAck, kOutside, 10), {s, Reply::kAck, bad}},
  };
  for (const Row& row : rows) {
    Connection c = MakeConnection(variant());
    c.BringTo(s);
    Run(c, row);
  }
}

TEST_P(Arrivals, GivenSimultaneousOpenWhenBothSynAcksCrossThenBothAreEstablished) {
  Connection c = MakeConnection(variant());
  c.BringTo(State::kSynSent);
  c.Arrive(c.PeerSyn());
  ASSERT_EQ(c.tcb.state, State::kSynReceived);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_TRUE(IsOne(sent, kSyn | kAck));
  EXPECT_EQ(sent[0].header.sequence, c.iss());
  // Figure 8, line 6: the peer's SYN|ACK has the sequence number of its SYN.
  Segment syn_ack = c.PeerSyn();
  syn_ack.header.flags = kSyn | kAck;
  syn_ack.header.acknowledgement = c.iss() + 1;
  syn_ack.header.ts_echo = c.last_ts_value;
  EXPECT_EQ(c.Arrive(syn_ack).outcome, Outcome::kEstablished);
  EXPECT_EQ(c.tcb.state, State::kEstablished);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

TEST_P(Arrivals, GivenSimultaneousOpenWhenSynInWindowThenChallenged) {
  Connection c = MakeConnection(variant());
  c.BringTo(State::kSynSent);
  c.Arrive(c.PeerSyn());
  c.Drain();
  // Not a passive open: handled as in the synchronised states (3.10.7.4, fourth check).
  c.Arrive(Change(c, kSyn, kInside));
  EXPECT_EQ(c.tcb.state, State::kSynReceived);
  EXPECT_TRUE(IsOne(c.Drain(), kAck));
}

// ---------------------------------------------------------------- CLOSED (3.10.7.1), LISTEN

TEST_P(Arrivals, GivenClosed) {
  Connection c = MakeConnection(variant());
  c.BringTo(State::kClosed);
  for (const int flags : {+kAck, +kSyn, +kFin, kSyn | kAck, kFin | kAck, +kPsh}) {
    Segment segment = Change(c, static_cast<uint8_t>(flags), 3, 10);
    const Arrival arrival = c.Arrive(segment);
    ASSERT_TRUE(arrival.send_reset) << "flags " << int{segment.header.flags};
    if (segment.header.Has(kAck)) {
      EXPECT_EQ(arrival.reset.flags, kRst);
      EXPECT_EQ(arrival.reset.sequence, segment.header.acknowledgement);
    } else {
      EXPECT_EQ(arrival.reset.flags, kRst | kAck);
      EXPECT_EQ(arrival.reset.sequence, SequenceNumber(0));
      EXPECT_EQ(arrival.reset.acknowledgement,
                segment.header.sequence + 10 + segment.header.ControlLength());
    }
    EXPECT_EQ(c.tcb.state, State::kClosed);
  }
  EXPECT_FALSE(c.Arrive(Change(c, kRst, 0)).send_reset);
  EXPECT_FALSE(c.Arrive(Change(c, kRst | kAck, 0)).send_reset);
}

std::string VariantName(const ::testing::TestParamInfo<std::tuple<SequencePlan, bool>>& variant) {
  return std::string(std::get<0>(variant.param).name) +
         (std::get<1>(variant.param) ? "WithOptions" : "Plain");
}

INSTANTIATE_TEST_SUITE_P(Sequences, Arrivals,
                         ::testing::Combine(::testing::ValuesIn(kSequencePlans), ::testing::Bool()),
                         VariantName);

TEST(Listen, GivenListenWhenSegmentArrivesThenOnlySynIsAccepted) {
  Segment segment;
  Header reset;
  segment.header.flags = kSyn;
  EXPECT_EQ(OnListenSegment(segment, &reset), ListenVerdict::kAccept);
  segment.header.flags = kSyn | kFin;
  EXPECT_EQ(OnListenSegment(segment, &reset), ListenVerdict::kDrop);
  segment.header.flags = kRst | kSyn;
  EXPECT_EQ(OnListenSegment(segment, &reset), ListenVerdict::kDrop);
  segment.header.flags = kRst | kAck;
  EXPECT_EQ(OnListenSegment(segment, &reset), ListenVerdict::kDrop);
  segment.header.flags = kFin;
  EXPECT_EQ(OnListenSegment(segment, &reset), ListenVerdict::kDrop);
  segment.header.flags = kSyn | kAck;
  segment.header.acknowledgement = SequenceNumber(77);
  EXPECT_EQ(OnListenSegment(segment, &reset), ListenVerdict::kReset);
  EXPECT_EQ(reset.flags, kRst);
  EXPECT_EQ(reset.sequence, SequenceNumber(77));
}

TEST(Listen, GivenTimeWaitWhenSynIsNewerThenItYields) {
  Connection c = MakeConnection({kSequencePlans[0], true});
  c.BringTo(State::kTimeWait);
  Segment syn = c.PeerSyn();
  syn.header.sequence = c.tcb.rcv.nxt - 1000;
  syn.header.ts_value = c.peer_clock + 1;
  EXPECT_TRUE(TimeWaitYields(c.tcb, syn));
  syn.header.ts_value = c.peer_clock - 1;
  EXPECT_FALSE(TimeWaitYields(c.tcb, syn));
  // Equal timestamps, or none: the sequence number decides.
  syn.header.ts_value = c.peer_clock;
  EXPECT_FALSE(TimeWaitYields(c.tcb, syn));
  syn.header.sequence = c.tcb.rcv.nxt + 1;
  EXPECT_TRUE(TimeWaitYields(c.tcb, syn));
  syn.header.flags = kSyn | kAck;
  EXPECT_FALSE(TimeWaitYields(c.tcb, syn));
}

TEST(Listen, GivenTimeWaitWhenItIsReplacedThenTheNewNumbersLieBeyondTheOldOnes) {
  for (const SequencePlan& plan : kSequencePlans) {
    Connection c = MakeConnection({plan, true});
    c.BringTo(State::kTimeWait);
    const SequenceNumber last = c.tcb.snd.max;
    // The clock is far enough ahead, or it is not.
    EXPECT_EQ(SuccessorIss(c.tcb, last + 1000000), last + 1000000);
    for (const SequenceNumber iss : {last + 1, last, last - 1, last - 1000000, c.tcb.snd.iss}) {
      EXPECT_TRUE(SuccessorIss(c.tcb, iss).After(last + 65535));
    }
  }
}

}  // namespace
}  // namespace qpip::tcp::testing
