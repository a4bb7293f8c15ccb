// A million damaged segments against a live connection: nothing breaks an invariant, and afterwards
// the connection still carries data, unless it was ended by the book.
#include <algorithm>
#include <random>
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  /// The template with one to four fields changed: values near those that matter, or any at all.
  Segment Next(const Connection& c) {
    Segment s = c.Template();
    if (Chance(3)) s.header.acknowledgement = c.tcb.snd.una;
    const uint64_t changes = random_() % 5;
    for (uint64_t i = 0; i < changes; ++i) Change(c, &s);
    return s;
  }
  uint64_t Random(uint64_t below) { return random_() % below; }
  bool Chance(uint64_t one_in) { return random_() % one_in == 0; }

 private:
  void Change(const Connection& c, Segment* s) {
    Header& h = s->header;
    s->ecn = static_cast<EcnCodepoint>(random_() % 4);
    switch (random_() % 12) {
      case 0:
        h.sequence = Near(c.tcb.rcv.nxt, c.tcb.rcv.adv);
        break;
      case 1:
        h.acknowledgement = Near(c.tcb.snd.una, c.tcb.snd.max);
        break;
      case 2:
        // RST and FIN rarely: most connections are to live long.
        h.flags = static_cast<uint8_t>(random_() & (Chance(100) ? 0xff : 0xff & ~(kRst | kFin)));
        break;
      case 3:
        h.window = static_cast<uint16_t>(Chance(4) ? 0 : random_());
        break;
      case 4:
        s->text_length = static_cast<uint32_t>(Chance(4) ? random_() % 70000 : random_() % 1500);
        break;
      case 5:
        h.ts_value =
            static_cast<uint32_t>(Chance(8) ? random_() : c.tcb.ts_recent + random_() % 8 - 2);
        break;
      case 6:
        h.ts_echo = static_cast<uint32_t>(random_());
        break;
      case 7:
        h.has_timestamps = Chance(2);
        break;
      case 8:
      case 9:
        h.sack_count = static_cast<uint8_t>(1 + random_() % 4);
        for (uint32_t i = 0; i < h.sack_count; ++i) {
          h.sack[i].start = Near(c.tcb.snd.una, c.tcb.snd.max);
          h.sack[i].end = Chance(2) ? h.sack[i].start + static_cast<uint32_t>(random_() % 3000)
                                    : Near(c.tcb.snd.una, c.tcb.snd.max);
        }
        break;
      case 10:
        h.has_user_timeout = true;
        h.user_timeout_s = static_cast<uint32_t>(random_());
        break;
      default:
        h.flags = static_cast<uint8_t>(h.flags | kPsh);
        h.urgent_pointer = static_cast<uint16_t>(random_());
        break;
    }
  }
  SequenceNumber Near(SequenceNumber low, SequenceNumber high) {
    if (Chance(8)) return SequenceNumber(static_cast<uint32_t>(random_()));
    const uint32_t offset = static_cast<uint32_t>(random_() % 5) - 2;
    const SequenceNumber inside =
        low + static_cast<uint32_t>(random_() % (low.DistanceTo(high) + 1));
    return (Chance(3) ? low : Chance(2) ? high : inside) + offset;
  }

  std::mt19937_64 random_;
};

/// Places a part of what was accepted, in order.
void PlaceSome(Connection& c, Mutator& m) {
  HeldRange range;
  if (NextReleased(c.tcb, &range)) {
    OnPlaced(c.tcb, range.length, c.now);
    return;
  }
  uint32_t waiting = c.tcb.rcv.unplaced;
  if (HasReleased(c.tcb))
    waiting = AckableSequence(c.tcb).DistanceTo(c.tcb.rcv.held.ranges[0].start);
  OnPlaced(c.tcb, static_cast<uint32_t>(1 + m.Random(waiting)), c.now);
}

/// One owner's step between segments: place, send, let time pass, extend, post.
void OwnersStep(Connection& c, Mutator& m) {
  if (c.tcb.rcv.unplaced != 0 && !m.Chance(3)) PlaceSome(c, m);
  if (m.Chance(4)) OnBatchEnd(c.tcb);
  if (m.Chance(3)) SetReceiveWindow(c.tcb, static_cast<uint32_t>(m.Random(100000)), c.now);
  if (m.Chance(4) && c.tcb.snd.una.DistanceTo(c.tcb.snd.end) < 100000) {
    ExtendSend(c.tcb, static_cast<uint32_t>(1 + m.Random(5000)));
  }
  c.now += m.Random(m.Chance(50) ? 400 * kMs : 50 * kUs);
  if (NextDeadline(c.tcb) <= c.now) OnTimer(c.tcb, c.now);
  c.Check();
  std::vector<SentSegment> sent;
  for (int i = 0; i < 20 && c.SendOne(&sent); ++i) {
  }
}

Connection Fresh(Mutator& m) {
  Options options = PlainOptions();
  options.timestamps = m.Chance(2);
  options.window_scaling = m.Chance(2);
  options.receive_buffer = static_cast<uint32_t>(1000 + m.Random(1000000));
  options.user_timeout_ms = 0;
  options.reassembly = static_cast<uint8_t>(m.Random(33));
  options.congestion = static_cast<CongestionAlgorithm>(m.Random(kCongestionAlgorithms));
  options.ecn = static_cast<EcnMode>(m.Random(3));
  options.hystart = m.Chance(2);
  options.pacing = m.Chance(4);
  options.undo = m.Chance(2);
  options.nagle = m.Chance(4);
  options.mtu_probing = static_cast<MtuProbing>(m.Random(3));
  options.mss = m.Chance(2) ? 1000 : 1440;
  const SequencePlan& plan = kSequencePlans[m.Random(4)];
  Connection c(options, plan);
  c.peer_mss = static_cast<uint16_t>(options.mss);
  c.peer_timestamps = m.Chance(2);
  c.peer_sack = !m.Chance(4);
  c.peer_scales = m.Chance(2);
  c.peer_scale = static_cast<uint8_t>(m.Random(10));
  return c;
}

/// After the storm: the peer behaves, and everything announced is acknowledged and a byte arrives.
void ExpectAlive(Connection& c, Mutator& m) {
  while (c.tcb.rcv.unplaced != 0) PlaceSome(c, m);
  c.peer_clock = c.tcb.ts_recent + 1;
  c.peer_window = 65535u << c.tcb.snd.wscale;
  for (int i = 0; i < 2000 && c.tcb.snd.una != c.tcb.snd.end; ++i) {
    // A peer takes what comes next in order, then says what it has. Its sequence number is not
    // before one that has set the window (SND.WL1).
    Segment ack = c.WithAck(c.tcb.snd.nxt);
    ack.header.sequence = Max(c.tcb.rcv.nxt, c.tcb.snd.wl1);
    c.Arrive(ack);
    if (c.Drain().empty() && NextDeadline(c.tcb) != kNever) {
      c.now = std::max(c.now, NextDeadline(c.tcb));
      OnTimer(c.tcb, c.now);
      c.Drain();
    }
  }
  EXPECT_EQ(c.tcb.snd.una, c.tcb.snd.end);
  SetReceiveWindow(c.tcb, 1000000, c.now);
  c.Drain();
  const Arrival arrival = c.ArriveAndPlace(c.WithText(1));
  EXPECT_EQ(arrival.text_length, 1u);
}

TEST(Mutation, GivenLiveConnectionsWhenMillionDamagedSegmentsThenInvariantsHold) {
  Mutator m(42);
  int lives = 0;
  int alive_checks = 0;
  int segments = 0;
  while (segments < 1000000) {
    Connection c = Fresh(m);
    c.Establish(static_cast<uint32_t>(m.Random(60000)));
    if (HasFatalFailure()) return;
    ++lives;
    const int storm = static_cast<int>(100 + m.Random(3000));
    for (int i = 0; i < storm && c.tcb.state != State::kClosed; ++i, ++segments) {
      const Segment segment = m.Next(c);
      const Arrival arrival = OnSegment(c.tcb, segment, c.now);
      c.Check();
      ASSERT_LE(uint64_t{arrival.text_offset} + arrival.text_length, segment.text_length);
      if (arrival.outcome == Outcome::kReset) {
        ASSERT_TRUE(segment.header.Has(kRst));
      }
      if (m.Chance(3000)) Close(c.tcb, c.now);
      OwnersStep(c, m);
      if (HasFatalFailure()) return;
    }
    if (c.tcb.state == State::kEstablished && !c.tcb.snd.fin_queued) {
      ++alive_checks;
      ExpectAlive(c, m);
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(lives, 100);
  EXPECT_GT(alive_checks, 20);
}

TEST(Mutation, GivenEveryStateWhenRandomSegmentsThenInvariantsHold) {
  Mutator m(4711);
  for (int round = 0; round < 2000; ++round) {
    const State state = static_cast<State>(round % 10);
    Connection c = Fresh(m);
    c.BringTo(state);
    if (HasFatalFailure()) return;
    for (int i = 0; i < 20 && c.tcb.state != State::kClosed; ++i) {
      c.Arrive(m.Next(c));
      OwnersStep(c, m);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace qpip::tcp::testing
