// Congestion control policies: CUBIC against RFC 9438's equations in floating point, DCTCP's share
// of marks, HyStart++, pacing.
#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kMss = 1000;

Options With(CongestionAlgorithm algorithm) {
  Options options = PlainOptions();
  options.congestion = algorithm;
  options.window_scaling = true;
  options.user_timeout_ms = 0;
  return options;
}

/// Establishes with a peer whose window is never what limits.
void EstablishWide(Connection& c) {
  c.peer_scales = true;
  c.peer_scale = 10;
  c.peer_window = 60000u << 10;
  c.Establish();
  c.Arrive(c.Template());
}

/// Keeps the window full.
void Fill(Connection& c) {
  const uint32_t announced = c.tcb.snd.nxt.DistanceTo(c.tcb.snd.end);
  if (announced < 8u << 20) ExtendSend(c.tcb, 16u << 20);
  while (!c.Drain().empty()) {
  }
}

/// A path without a bottleneck: what is sent is acknowledged, a segment at a time, a round trip
/// later.
class Path {
 public:
  explicit Path(Connection* connection) : c_(*connection) {}

  void Run(uint64_t duration, uint64_t rtt) {
    const uint64_t end = c_.now + duration;
    Send(rtt);
    while (!acks_.empty() && acks_.front().first <= end) {
      const auto [time, sequence] = acks_.front();
      acks_.pop_front();
      if (time > c_.now) c_.AdvanceTo(time);
      c_.Arrive(c_.WithAck(sequence));
      Send(rtt);
    }
    c_.AdvanceTo(end);
  }

 private:
  void Send(uint64_t rtt) {
    if (c_.tcb.snd.nxt.DistanceTo(c_.tcb.snd.end) < 8u << 20) ExtendSend(c_.tcb, 16u << 20);
    std::vector<SentSegment> sent;
    while (c_.SendOne(&sent)) {
    }
    for (const SentSegment& segment : sent) {
      if (segment.length == 0) continue;
      const uint64_t earliest = acks_.empty() ? 0 : acks_.back().first;
      acks_.emplace_back(std::max(c_.now + rtt, earliest),
                         segment.header.sequence + segment.length);
    }
  }

  Connection& c_;
  std::deque<std::pair<uint64_t, SequenceNumber>> acks_;
};

/// One round trip: everything in flight at its start is acknowledged, a segment at a time, spread
/// over it.
template <typename AfterAck>
void RoundTrip(Connection& c, uint64_t rtt, AfterAck after_ack) {
  Fill(c);
  const SequenceNumber end = c.tcb.snd.nxt;
  const uint32_t segments = c.tcb.snd.una.DistanceTo(end) / kMss;
  for (uint32_t i = 0; i < segments; ++i) {
    c.Advance(rtt / segments);
    c.Arrive(c.WithAck(c.tcb.snd.una + kMss));
    after_ack();
    Fill(c);
  }
}

void LoseOneSegment(Connection& c) {
  Fill(c);
  for (int i = 0; i < 3; ++i) c.Arrive(c.WithAck(c.tcb.snd.una));
  ASSERT_TRUE(c.tcb.in_recovery);
  c.Drain();
  c.Arrive(c.WithAck(c.tcb.snd.max));
  ASSERT_FALSE(c.tcb.in_recovery);
}

// ---------------------------------------------------------------- CUBIC

/// RFC 9438 section 4 as written there: segments, seconds, floating point.
struct CubicModel {
  double cwnd;
  double w_max;
  double prior;
  double w_est;
  double k;

  CubicModel(double window, double max, double before)
      : cwnd(window),
        w_max(max),
        prior(before),
        w_est(window),
        k(std::cbrt((max - window) / 0.4)) {}

  double Curve(double t) const { return 0.4 * std::pow(t - k, 3) + w_max; }
  void OnAck(double t, double rtt) {
    w_est += (w_est < prior ? 9.0 / 17 : 1.0) / cwnd;
    if (Curve(t) < w_est) {
      cwnd = std::max(cwnd, w_est);
      return;
    }
    const double target = std::min(std::max(Curve(t + rtt), cwnd), 1.5 * cwnd);
    cwnd += (target - cwnd) / cwnd;
  }
};

void ExpectTheCurve(uint32_t slow_start_rounds, uint64_t rtt, int rounds) {
  Connection c(With(CongestionAlgorithm::kCubic));
  EstablishWide(c);
  for (uint32_t i = 0; i < slow_start_rounds; ++i) RoundTrip(c, rtt, [] {});
  Fill(c);
  const double before = c.tcb.cwnd / 1000.0;
  LoseOneSegment(c);
  const double cut = c.tcb.ssthresh / 1000.0;
  EXPECT_NEAR(cut / before, 0.7, 0.01);
  // Recovery ended with little in flight: up to the threshold in slow start.
  while (c.tcb.cwnd < c.tcb.ssthresh) RoundTrip(c, rtt, [] {});
  CubicState& cubic = c.tcb.policy.cubic;
  cubic.in_epoch = false;  // a fresh stage of congestion avoidance, with model and machine in step
  CubicModel model(c.tcb.cwnd / 1000.0, cubic.window_max / 1000.0, cubic.prior_window / 1000.0);
  uint64_t start = 0;
  for (int round = 0; round < rounds; ++round) {
    RoundTrip(c, rtt, [&] {
      if (start == 0) start = c.now;
      model.OnAck(static_cast<double>(c.now - start) * 1e-9, static_cast<double>(rtt) * 1e-9);
    });
    ASSERT_NEAR(c.tcb.cwnd / 1000.0 / model.cwnd, 1, 0.02) << "round " << round;
  }
  EXPECT_GT(c.tcb.cwnd / 1000.0, before) << "never came to the plateau";
}

TEST(Cubic, GivenLossAtALongRoundTripThenTheWindowFollowsTheCurve) {
  ExpectTheCurve(5, 100 * kMs, 100);
}
TEST(Cubic, GivenLossAtAShortRoundTripThenTheWindowGrowsAsRenosWould) {
  ExpectTheCurve(3, 5 * kMs, 200);
}

TEST(Cubic, GivenSecondLossBelowTheFirstThenThePlateauIsLower) {
  Connection c(With(CongestionAlgorithm::kCubic));
  EstablishWide(c);
  for (int i = 0; i < 5; ++i) RoundTrip(c, 100 * kMs, [] {});
  LoseOneSegment(c);
  const uint32_t first = c.tcb.policy.cubic.window_max;
  while (c.tcb.cwnd < c.tcb.ssthresh) RoundTrip(c, 100 * kMs, [] {});
  Fill(c);
  const uint32_t window = c.tcb.cwnd;
  ASSERT_LT(window, first);
  LoseOneSegment(c);
  EXPECT_NEAR(c.tcb.policy.cubic.window_max, window * 0.85, window * 0.01);  // 4.7
}

TEST(Cubic, GivenTimeOutThenThePlateauIsWhereAvoidanceBegins) {
  Connection c(With(CongestionAlgorithm::kCubic));
  EstablishWide(c);
  for (int i = 0; i < 4; ++i) RoundTrip(c, 50 * kMs, [] {});
  Fill(c);
  const uint32_t window = c.tcb.cwnd;
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_NEAR(c.tcb.ssthresh, window * 0.7, kMss);
  EXPECT_EQ(c.tcb.cwnd, kMss);
  c.Drain();
  c.Arrive(c.WithAck(c.tcb.snd.max));
  while (c.tcb.cwnd < c.tcb.ssthresh) RoundTrip(c, 50 * kMs, [] {});
  RoundTrip(c, 50 * kMs, [] {});
  EXPECT_EQ(c.tcb.policy.cubic.plateau_ticks, 0u);
}

TEST(Cubic, GivenTimeWithNothingToSendThenItDoesNotCountAsTimeOnTheCurve) {
  Connection c(With(CongestionAlgorithm::kCubic));
  EstablishWide(c);
  for (int i = 0; i < 5; ++i) RoundTrip(c, 100 * kMs, [] {});
  LoseOneSegment(c);
  for (int i = 0; i < 8; ++i) RoundTrip(c, 100 * kMs, [] {});
  // A trickle that never uses the window up, for a minute.
  c.Arrive(c.WithAck(c.tcb.snd.max));
  c.tcb.snd.end = c.tcb.snd.max;
  c.tcb.cwnd_limited = false;
  const uint32_t window = c.tcb.cwnd;
  for (int i = 0; i < 600; ++i) {
    c.Send(kMss);
    c.Advance(100 * kMs);
    c.Arrive(c.WithAck(c.tcb.snd.max));
  }
  ASSERT_EQ(c.tcb.cwnd, window);
  RoundTrip(c, 100 * kMs, [] {});
  RoundTrip(c, 100 * kMs, [] {});
  EXPECT_LT(c.tcb.cwnd, window + window / 4) << "a minute's growth at once";
}

// ---------------------------------------------------------------- DCTCP

/// Establishes with ECN on both sides.
void EstablishMarked(Connection& c) {
  c.peer_scales = true;
  c.peer_scale = 10;
  c.peer_window = 60000u << 10;
  c.OpenActively();
  ASSERT_TRUE(c.Drain().at(0).header.Has(kEce | kCwr));
  Segment syn_ack = c.PeerSyn();
  syn_ack.header.flags = kSyn | kAck | kEce;
  syn_ack.header.acknowledgement = c.iss() + 1;
  c.Arrive(syn_ack);
  c.Drain();
  c.Arrive(c.Template());
  ASSERT_TRUE(c.tcb.ecn.on);
}

/// A round trip in which every `every`-th segment is acknowledged with ECE, counted by `*count`.
void MarkedRoundTrip(Connection& c, uint32_t every, uint32_t* count) {
  Fill(c);
  const uint32_t segments = c.tcb.snd.una.DistanceTo(c.tcb.snd.nxt) / kMss;
  for (uint32_t i = 0; i < segments; ++i) {
    c.Advance(kMs);
    Segment ack = c.WithAck(c.tcb.snd.una + kMss);
    if (every != 0 && (*count)++ % every == 0) ack.header.flags |= kEce;
    c.Arrive(ack);
    Fill(c);
  }
}

TEST(Dctcp, GivenAShareOfMarksThenAlphaBecomesThatShareAndTheWindowIsCutByHalfOfIt) {
  for (const uint32_t every : {1u, 4u, 10u}) {
    Options options = With(CongestionAlgorithm::kDctcp);
    options.ecn = EcnMode::kRequest;
    Connection c(options);
    EstablishMarked(c);
    uint32_t count = 0;
    for (int i = 0; i < 150; ++i) MarkedRoundTrip(c, every, &count);
    // Windows are short here, so the share in one wavers.
    double sum = 0;
    for (int i = 0; i < 100; ++i) {
      MarkedRoundTrip(c, every, &count);
      sum += c.tcb.policy.dctcp.alpha / 1024.0;
    }
    EXPECT_NEAR(sum / 100, 1.0 / every, 0.3 / every) << every;
  }
}

TEST(Dctcp, GivenNoMarksThenAlphaGoesToZeroAndOneMarkCutsLittle) {
  Options options = With(CongestionAlgorithm::kDctcp);
  options.ecn = EcnMode::kRequest;
  Connection c(options);
  EstablishMarked(c);
  c.tcb.ssthresh = 40000;
  uint32_t count = 0;
  for (int i = 0; i < 150; ++i) MarkedRoundTrip(c, 0, &count);
  EXPECT_EQ(c.tcb.policy.dctcp.alpha, 0u);
  const uint32_t window = c.tcb.cwnd;
  Segment ack = c.WithAck(c.tcb.snd.una + kMss);
  ack.header.flags |= kEce;
  c.Arrive(ack);
  EXPECT_EQ(c.tcb.cwnd, window);
}

TEST(Dctcp, GivenLossThenTheWindowIsHalved) {
  Options options = With(CongestionAlgorithm::kDctcp);
  options.ecn = EcnMode::kRequest;
  Connection c(options);
  EstablishMarked(c);
  uint32_t count = 0;
  for (int i = 0; i < 3; ++i) MarkedRoundTrip(c, 0, &count);
  Fill(c);
  const uint32_t flight = c.tcb.snd.una.DistanceTo(c.tcb.snd.max);
  for (int i = 0; i < 3; ++i) c.Arrive(c.WithAck(c.tcb.snd.una));
  EXPECT_EQ(c.tcb.ssthresh, flight / 2);
}

TEST(Dctcp, GivenMarksComeAndGoThenEveryAcknowledgementTellsOfItsSegment) {
  Options options = With(CongestionAlgorithm::kDctcp);
  options.ecn = EcnMode::kRequest;
  Connection c(options);
  EstablishMarked(c);
  for (const bool marked : {false, true, true, false, true}) {
    Segment text = c.WithText(100);
    text.ecn = marked ? EcnCodepoint::kCongestionExperienced : EcnCodepoint::kCapable0;
    c.ArriveAndPlace(text);
    std::vector<SentSegment> sent = c.Drain();
    if (sent.empty()) {
      c.AdvanceTo(c.tcb.owed.ack_deadline);
      sent = c.Drain();
    }
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].header.Has(kEce), marked);
  }
}

// ---------------------------------------------------------------- HyStart++

Connection HyStarting(bool hystart) {
  Options options = With(CongestionAlgorithm::kCubic);
  options.hystart = hystart;
  Connection c(options);
  c.peer_sack = true;
  EstablishWide(c);
  return c;
}

TEST(HyStart, GivenRoundTripsThatGrowThenSlowStartBecomesConservativeAndEnds) {
  Connection c = HyStarting(true);
  Path path(&c);
  path.Run(200 * kMs, 40 * kMs);
  ASSERT_EQ(c.tcb.hystart.rounds_left, 0);
  path.Run(160 * kMs, 80 * kMs);
  ASSERT_NE(c.tcb.hystart.rounds_left, 0) << "a queue builds up";
  int rounds = 0;
  while (!c.tcb.hystart.done && rounds < 10) {
    const uint32_t window = c.tcb.cwnd;
    path.Run(80 * kMs, 80 * kMs);
    EXPECT_LE(c.tcb.cwnd, window + window / 2);
    ++rounds;
  }
  EXPECT_TRUE(c.tcb.hystart.done);
  EXPECT_GE(rounds, 3);
  EXPECT_LE(rounds, 7);
  EXPECT_NEAR(c.tcb.ssthresh, c.tcb.cwnd, 0.1 * c.tcb.cwnd);
}

TEST(HyStart, GivenRoundTripsThatStayThenSlowStartGoesOn) {
  Connection c = HyStarting(true);
  Path path(&c);
  path.Run(20 * kMs, 40 * kMs);
  for (int i = 0; i < 5; ++i) {
    const uint32_t window = c.tcb.cwnd;
    path.Run(40 * kMs, 40 * kMs);
    EXPECT_NEAR(c.tcb.cwnd, 2 * window, 0.1 * window);
  }
  EXPECT_FALSE(c.tcb.hystart.done);
}

TEST(HyStart, GivenGrowthThatWasJitterThenSlowStartResumes) {
  Connection c = HyStarting(true);
  Path path(&c);
  path.Run(200 * kMs, 40 * kMs);
  path.Run(160 * kMs, 80 * kMs);
  ASSERT_NE(c.tcb.hystart.rounds_left, 0);
  path.Run(160 * kMs, 40 * kMs);
  EXPECT_EQ(c.tcb.hystart.rounds_left, 0);
  EXPECT_FALSE(c.tcb.hystart.done);
}

TEST(HyStart, GivenALossInTheConservativePhaseThenTheNextSlowStartIsAWholeOne) {
  Connection c = HyStarting(true);
  Path path(&c);
  path.Run(200 * kMs, 40 * kMs);
  path.Run(160 * kMs, 80 * kMs);
  ASSERT_NE(c.tcb.hystart.rounds_left, 0);
  c.Send(4 * c.tcb.snd.mss);
  c.AdvanceTo(NextDeadline(c.tcb));  // a probe
  c.Drain();
  c.AdvanceTo(c.tcb.retransmit_deadline);
  ASSERT_LT(c.tcb.cwnd, c.tcb.ssthresh);
  EXPECT_TRUE(c.tcb.hystart.done);
  EXPECT_EQ(c.tcb.hystart.rounds_left, 0);
}

TEST(HyStart, GivenSwitchedOffThenSlowStartDoesNotLookAtRoundTrips) {
  Connection c = HyStarting(false);
  Path path(&c);
  for (const uint64_t rtt : {40, 40, 80, 160}) path.Run(rtt * kMs, rtt * kMs);
  EXPECT_EQ(c.tcb.ssthresh, 0xffffffffu);
}

// ---------------------------------------------------------------- pacing

TEST(Pacing, GivenAWindowThenItIsSpreadOverTheRoundTrip) {
  Options options = With(CongestionAlgorithm::kNewReno);
  options.pacing = true;
  Connection c(options);
  EstablishWide(c);
  for (int i = 0; i < 60; ++i) {  // the estimate comes from the handshake's zero to 100 ms
    ExtendSend(c.tcb, kMss);
    c.Drain();
    c.Advance(100 * kMs);
    c.Arrive(c.WithAck(c.tcb.snd.max));
  }
  c.tcb.ssthresh = c.tcb.cwnd;  // avoidance: a rate of 1.25 windows a round trip
  const uint32_t window = c.tcb.cwnd / kMss;

  ExtendSend(c.tcb, 100 * kMss);
  const uint64_t start = c.now;
  uint32_t sent = 0;
  uint64_t last = start;
  // After the pause an initial window goes at once; the rest is spread.
  while (sent < window) {
    const size_t burst = c.Drain().size();
    ASSERT_LE(burst, sent == 0 ? 10u : 2u);
    sent += static_cast<uint32_t>(burst);
    last = c.now;
    ASSERT_NE(NextDeadline(c.tcb), kNever);
    ASSERT_GT(NextDeadline(c.tcb), c.now) << "a deadline that does not move";
    if (sent < window) c.AdvanceTo(NextDeadline(c.tcb));
  }
  // 0.8 of a round trip for the window, less what went first.
  EXPECT_GE(last - start, 60 * kMs * (window - 10) / window);
  EXPECT_LE(last - start, 85 * kMs * (window - 9) / window);
}

TEST(Pacing, GivenAPauseThenAShortMessageGoesAtOnceAndTheNextDoesNot) {
  Options options = With(CongestionAlgorithm::kNewReno);
  options.pacing = true;
  Connection c(options);
  EstablishWide(c);
  c.tcb.cwnd = 100 * kMss;
  c.tcb.rtt.srtt_us = 100'000 << 3;
  c.tcb.last_sent_at = c.now;
  c.Advance(50 * kMs);
  ExtendSend(c.tcb, 10 * kMss);
  EXPECT_EQ(c.Drain().size(), 10u);
  ExtendSend(c.tcb, 10 * kMss);
  EXPECT_LE(c.Drain().size(), 1u);
}

}  // namespace
}  // namespace qpip::tcp::testing
