// The path's MTU found by what gets through (RFC 4821): black holes, probes, what is lost of them.
#include <utility>
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kBase = 1220;     // 1280 less IPv6 and TCP headers
constexpr uint32_t kLargest = 1440;  // of an MTU of 1500

Options ProbingOptions(MtuProbing probing) {
  Options options = PlainOptions();
  options.mss = kLargest;
  options.mtu_probing = probing;
  options.user_timeout_ms = 0;
  return options;
}

/// A peer behind a path that silently drops segments with more than `fits` bytes of text. It holds
/// what is out of order, acknowledges every segment, and sees neither loss nor reordering.
class NarrowPath : public Connection {
 public:
  explicit NarrowPath(MtuProbing probing, bool sack = true, uint32_t path = kLargest,
                      const SequencePlan& plan = kSequencePlans[0])
      : Connection(ProbingOptions(probing), plan), fits(path) {
    peer_mss = kLargest;
    peer_sack = sack;
    Establish();
    next = tcb.snd.una;
  }

  /// One flight: all that may go is sent, what fits arrives half a round trip later, and the
  /// answers another half. Answers what was sent.
  std::vector<SentSegment> Flight() {
    std::vector<SentSegment> sent = Drain();
    now += 10 * kMs;
    std::vector<Segment> answers;
    for (const SentSegment& s : sent) {
      if (s.length == 0) continue;
      largest_sent = s.length > largest_sent ? s.length : largest_sent;
      if (s.length > fits) {
        ++dropped;
        continue;
      }
      Take(s.header.sequence, s.header.sequence + s.length);
      answers.push_back(Answer(s.header.sequence, s.header.sequence + s.length));
    }
    now += 10 * kMs;
    for (const Segment& answer : answers) Arrive(answer);
    OnTimer(tcb, now);
    Check();
    return sent;
  }
  /// As many flights with text at hand; when nothing goes, time passes.
  void Run(int flights) {
    for (int i = 0; i < flights; ++i) {
      if (tcb.snd.una.DistanceTo(tcb.snd.end) < 40000) ExtendSend(tcb, 60000);
      if (!Flight().empty()) continue;
      const uint64_t deadline = NextDeadline(tcb);
      ASSERT_NE(deadline, kNever);
      AdvanceTo(deadline > now ? deadline : now);
    }
  }
  /// Until the segments have `size` bytes. Answers whether they ever have.
  bool RunUntil(uint32_t size) {
    for (int i = 0; i < 400 && tcb.snd.mss != size; ++i) Run(1);
    return tcb.snd.mss == size;
  }

  uint32_t fits;
  uint32_t dropped = 0;
  uint32_t largest_sent = 0;
  SequenceNumber next;  // in order up to here

 private:
  void Take(SequenceNumber from, SequenceNumber to) {
    held_.emplace_back(from, to);
    for (bool more = true; more;) {
      more = false;
      for (const auto& [start, end] : held_) {
        if (start.After(next) || end.AtOrBefore(next)) continue;
        next = end;
        more = true;
      }
    }
    std::erase_if(held_, [this](const auto& range) { return range.second.AtOrBefore(next); });
  }
  Segment Answer(SequenceNumber from, SequenceNumber to) const {
    Segment answer = WithAck(next);
    if (!tcb.sack_on || from.AtOrBefore(next)) return answer;
    SackBlock block{from, to};  // what it lies in, of what is held in one piece
    for (bool more = true; more;) {
      more = false;
      for (const auto& [start, end] : held_) {
        if (end == block.start) block.start = start, more = true;
        if (start == block.end) block.end = end, more = true;
      }
    }
    answer.header.sack_count = 1;
    answer.header.sack[0] = block;
    return answer;
  }

  std::vector<std::pair<SequenceNumber, SequenceNumber>> held_;
};

struct ProbeCase {
  bool sack;
  SequencePlan plan;
};

class MtuProbe : public ::testing::TestWithParam<ProbeCase> {
 protected:
  NarrowPath Open(MtuProbing probing, uint32_t fits = kLargest) {
    return NarrowPath(probing, GetParam().sack, fits, GetParam().plan);
  }
};

// ---------------------------------------------------------------- black holes

TEST_P(MtuProbe, GivenABlackHoleWhenFullSegmentsTimeOutFiveTimesThenTheTextGoesInBaseSegments) {
  NarrowPath c = Open(MtuProbing::kBlackHole, 1300);
  const SequenceNumber first = c.tcb.snd.una;
  c.Send(20000);
  for (int timeouts = 1; timeouts <= 5; ++timeouts) {
    EXPECT_EQ(c.tcb.snd.mss, kLargest) << timeouts;
    while (!c.AdvanceTo(NextDeadline(c.tcb)).retransmission_timeout) c.Drain();
    if (timeouts < 5) {
      const auto again = c.Drain();
      ASSERT_FALSE(again.empty());
      EXPECT_EQ(again[0].length, kLargest);
    }
  }
  EXPECT_EQ(c.tcb.snd.mss, kBase);
  EXPECT_EQ(TakeMtuNews(c.tcb), kMtuBlackHole);
  EXPECT_EQ(SearchedMtu(c.tcb).mtu, 1280u);
  EXPECT_EQ(SearchedMtu(c.tcb).limit, MtuBounds::kNoBound);
  const auto again = c.Flight();
  ASSERT_FALSE(again.empty());
  EXPECT_EQ(again[0].header.sequence, first);
  EXPECT_EQ(again[0].length, kBase);
  EXPECT_EQ(c.tcb.snd.una, first + kBase);
  EXPECT_EQ(TakeMtuNews(c.tcb), kMtuBoundsFound) << "it gets through: others may know";
}

TEST_P(MtuProbe, GivenABlackHoleWhenTheTextFlowsAgainThenTheSearchSettlesAtThePathsSize) {
  for (const uint32_t fits : {1220u, 1221u, 1300u, 1339u, 1400u, 1432u, 1439u}) {
    NarrowPath c = Open(MtuProbing::kBlackHole, fits);
    c.Run(300);
    EXPECT_LE(c.tcb.snd.mss, fits);
    EXPECT_GT(c.tcb.snd.mss + 8, fits) << "less than a step below";
    EXPECT_EQ(c.tcb.rtt.backoff, 0);
    EXPECT_GT(c.tcb.cwnd, 20000u) << "probes are no congestion";
    c.dropped = 0;
    c.Run(100);
    EXPECT_EQ(c.dropped, 0u) << "nothing is tried any more";
  }
}

TEST_P(MtuProbe, GivenASilentSpellWhenThePathTakesAllSizesThenTheFirstProbeBringsTheLargestBack) {
  NarrowPath c = Open(MtuProbing::kBlackHole, 0);
  c.Run(16);
  ASSERT_EQ(c.tcb.snd.mss, kBase);
  c.fits = kLargest;
  c.dropped = 0;
  EXPECT_TRUE(c.RunUntil(kLargest));
  EXPECT_EQ(c.dropped, 0u);
  EXPECT_TRUE(SearchedMtu(c.tcb).peers);
}

TEST_P(MtuProbe, GivenSmallSegmentsWhenTheyTimeOutThenThatIsNoBlackHole) {
  NarrowPath c = Open(MtuProbing::kBlackHole, 0);
  c.Send(500);
  for (int i = 0; i < 12; ++i) {
    c.AdvanceTo(NextDeadline(c.tcb));
    c.Drain();
  }
  EXPECT_GT(c.tcb.rtt.backoff, 5);
  EXPECT_EQ(c.tcb.snd.mss, kLargest);
  EXPECT_EQ(TakeMtuNews(c.tcb), 0);
}

TEST_P(MtuProbe, GivenTimeOutsWithProgressBetweenThemThenThatIsNoBlackHole) {
  NarrowPath c = Open(MtuProbing::kBlackHole);
  for (int i = 0; i < 8; ++i) {
    c.fits = 0;
    c.Send(kLargest);
    while (!c.AdvanceTo(NextDeadline(c.tcb)).retransmission_timeout) c.Drain();
    c.fits = kLargest;
    while (c.tcb.snd.una != c.tcb.snd.end) c.Run(1);
  }
  EXPECT_EQ(c.tcb.snd.mss, kLargest);
}

TEST_P(MtuProbe, GivenSwitchedOffWhenFullSegmentsVanishThenTheyStayAsTheyAre) {
  NarrowPath c = Open(MtuProbing::kOff, 1300);
  c.Run(30);
  EXPECT_EQ(c.tcb.snd.mss, kLargest);
  EXPECT_EQ(c.largest_sent, kLargest);
  EXPECT_GE(c.tcb.rtt.backoff, 5);
  EXPECT_EQ(TakeMtuNews(c.tcb), 0);
  SearchPathMtu(c.tcb, 1280);
  EXPECT_EQ(c.tcb.snd.mss, kLargest);
}

TEST_P(MtuProbe, GivenAPathThatNarrowsLaterWhenASearchWasOverThenItStartsAgainFromTheBase) {
  NarrowPath c = Open(MtuProbing::kAlways);
  ASSERT_TRUE(c.RunUntil(kLargest));
  c.fits = 1350;
  c.Run(300);
  EXPECT_LE(c.tcb.snd.mss, 1350u);
  EXPECT_GT(c.tcb.snd.mss, 1342u);
}

// ---------------------------------------------------------------- probes

/// Sends flights until a probe is among what goes; leaves it unanswered.
std::vector<SentSegment> FlightWithProbe(NarrowPath& c) {
  for (int i = 0; i < 50; ++i) {
    if (c.tcb.snd.una.DistanceTo(c.tcb.snd.end) < 40000) ExtendSend(c.tcb, 60000);
    std::vector<SentSegment> sent;
    while (c.SendOne(&sent)) {
    }
    for (const SentSegment& s : sent) {
      if (s.intent.mtu_probe) return sent;
    }
    c.now += 20 * kMs;
    for (const SentSegment& s : sent) c.Arrive(c.WithAck(s.header.sequence + s.length));
    if (sent.empty()) c.AdvanceTo(NextDeadline(c.tcb));
    c.next = c.tcb.snd.una;
  }
  ADD_FAILURE() << "no probe";
  return {};
}

TEST_P(MtuProbe, GivenAlwaysWhenAConnectionOpensThenItStartsFromTheBaseAndFindsTheLargest) {
  NarrowPath c = Open(MtuProbing::kAlways);
  EXPECT_EQ(c.tcb.snd.mss, kBase);
  const auto sent = FlightWithProbe(c);
  uint32_t probes = 0;
  for (const SentSegment& s : sent) {
    if (s.length <= kBase) continue;
    ++probes;
    EXPECT_EQ(s.length, kLargest);
    EXPECT_FALSE(s.intent.retransmission);
  }
  EXPECT_EQ(probes, 1u) << "one at a time";
  EXPECT_EQ(TakeMtuNews(c.tcb), kMtuProbeSent);
  c.now += 20 * kMs;
  c.Arrive(c.WithAck(c.tcb.snd.max));
  EXPECT_EQ(c.tcb.snd.mss, kLargest);
  EXPECT_EQ(TakeMtuNews(c.tcb), kMtuProbeSucceeded | kMtuBoundsFound);
}

TEST_P(MtuProbe, GivenTooLittleTextThenNoProbeGoes) {
  NarrowPath c = Open(MtuProbing::kAlways);
  const uint32_t needed = kLargest + 4 * kBase;
  for (int i = 0; i < 20; ++i) {
    for (const SentSegment& s : c.Send(needed - 1)) EXPECT_LE(s.length, kBase);
    c.now += 20 * kMs;
    c.Arrive(c.WithAck(c.tcb.snd.max));
  }
  const auto sent = c.Send(needed);
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent[0].length, kLargest);
}

TEST_P(MtuProbe, GivenANarrowWindowThenNoProbeGoes) {
  NarrowPath c = Open(MtuProbing::kAlways);
  c.peer_window = kLargest + 4 * kBase - 1;
  c.Arrive(Base(c));
  c.Run(50);
  EXPECT_EQ(c.largest_sent, kBase);
  c.peer_window = 60000;
  c.Arrive(Base(c));
  EXPECT_TRUE(c.RunUntil(kLargest));
}

TEST_P(MtuProbe, GivenAProbeThatIsLostAloneThenItsTextGoesAgainInSmallerSegmentsAndCwndStays) {
  NarrowPath c = Open(MtuProbing::kAlways, 1300);
  const auto sent = FlightWithProbe(c);
  SequenceNumber probe;
  for (const SentSegment& s : sent) {
    if (s.intent.mtu_probe) probe = s.header.sequence;
  }
  const uint32_t cwnd = c.tcb.cwnd;
  const uint32_t ssthresh = c.tcb.ssthresh;
  c.now += 20 * kMs;
  // What went before it arrives, and four segments behind it do.
  if (probe != c.tcb.snd.una) c.Arrive(c.WithAck(probe));
  std::vector<SentSegment> again;
  for (uint32_t i = 1; i <= 4; ++i) {
    Segment duplicate = c.WithAck(probe);
    if (c.tcb.sack_on) {
      duplicate.header.sack_count = 1;
      duplicate.header.sack[0] = {probe + kLargest, probe + kLargest + i * kBase};
    }
    c.Arrive(duplicate);
    c.SendOne(&again);
    c.SendOne(&again);
  }
  EXPECT_GE(c.tcb.cwnd, cwnd);
  EXPECT_EQ(c.tcb.ssthresh, ssthresh);
  EXPECT_FALSE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.snd.mss, kBase);
  EXPECT_EQ(c.tcb.mtu_search.high, kLargest - 1);
  SequenceNumber repeated = probe;
  for (const SentSegment& s : again) {
    if (!s.intent.retransmission) continue;
    EXPECT_EQ(s.header.sequence, repeated);
    EXPECT_LE(s.length, kBase);
    repeated = s.header.sequence + s.length;
  }
  EXPECT_TRUE(repeated.AtOrAfter(probe + kLargest)) << "all of the probe";
  EXPECT_TRUE(repeated.Before(probe + kLargest + kBase)) << "and hardly more";
  EXPECT_EQ(c.tcb.snd.nxt, c.tcb.snd.max);
  c.now += 20 * kMs;
  c.Arrive(c.WithAck(c.tcb.snd.max));
  EXPECT_EQ(c.tcb.snd.una, c.tcb.snd.max);
}

TEST_P(MtuProbe, GivenAProbeThatTimesOutThenItSaysNothingUntilThreeHave) {
  NarrowPath c = Open(MtuProbing::kAlways);
  for (uint32_t tries = 1; tries <= 3; ++tries) {
    FlightWithProbe(c);
    ASSERT_TRUE(c.tcb.mtu_search.outstanding);
    while (!c.AdvanceTo(NextDeadline(c.tcb)).retransmission_timeout) {
    }
    EXPECT_FALSE(c.tcb.mtu_search.outstanding);
    EXPECT_EQ(c.tcb.mtu_search.high, tries < 3 ? kLargest : kLargest - 1);
    EXPECT_EQ(c.tcb.snd.mss, kBase);
    c.now += 20 * kMs;
    c.Arrive(c.WithAck(c.tcb.snd.max));
  }
}

TEST_P(MtuProbe, GivenAFailedProbeWhenTheNextGoesThenNotBeforeARetransmissionTimeOut) {
  NarrowPath c = Open(MtuProbing::kAlways, 1300);
  uint64_t failed_at = 0;
  for (int i = 0; i < 100 && failed_at == 0; ++i) {
    c.Run(1);
    if (c.tcb.mtu_search.high == kLargest - 1) failed_at = c.now;
  }
  ASSERT_NE(failed_at, 0u);
  const auto sent = FlightWithProbe(c);
  EXPECT_GE(c.now - failed_at, 150 * kMs);
  for (const SentSegment& s : sent) {
    if (!s.intent.mtu_probe) continue;
    EXPECT_EQ(s.length, (kBase + kLargest - 1 + 1) / 2) << "halfway";
  }
}

TEST_P(MtuProbe, GivenAFullWindowWhenAProbeIsDueThenItWaitsForRoomAndNothingStops) {
  NarrowPath c = Open(MtuProbing::kAlways);
  c.tcb.ssthresh = c.tcb.cwnd;  // no slow start: room comes a segment at a time
  c.tcb.mtu_search.next_at = c.now + 1;
  c.Send(60000);
  ASSERT_LT(c.tcb.cwnd - c.tcb.snd.una.DistanceTo(c.tcb.snd.nxt), kBase) << "full";
  c.now += 20 * kMs;
  std::vector<SentSegment> sent;
  for (uint32_t i = 0; i < 4 && sent.empty(); ++i) {
    c.Arrive(c.WithAck(c.tcb.snd.una + kBase));
    c.SendOne(&sent);
  }
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].intent.mtu_probe);
  EXPECT_EQ(sent[0].length, kLargest);
}

TEST_P(MtuProbe, GivenShortMessagesWhenAProbeIsDueThenTheirBoundariesStay) {
  NarrowPath c = Open(MtuProbing::kAlways);
  ExtendSend(c.tcb, 20000);
  std::vector<SentSegment> sent;
  const SequenceNumber first = c.tcb.snd.nxt;
  // Messages of little more than a segment's size.
  constexpr uint32_t kMessage = kBase + 7;
  for (;;) {
    const uint32_t rest = kMessage - first.DistanceTo(c.tcb.snd.nxt) % kMessage;
    if (!c.SendOne(&sent, rest)) break;
    EXPECT_LE(sent.back().length, kBase);
    EXPECT_LE(sent.back().length, rest);
  }
  EXPECT_GE(sent.size(), 5u);
  EXPECT_FALSE(c.tcb.mtu_search.outstanding);
  EXPECT_GT(c.tcb.mtu_search.next_at, c.now) << "and it is not asked for every time";
}

TEST_P(MtuProbe, GivenMessagesBetweenTheSizesWhenAProbeIsDueThenAWholeMessageIsOne) {
  NarrowPath c = Open(MtuProbing::kAlways);
  ExtendSend(c.tcb, 13000);
  std::vector<SentSegment> sent;
  ASSERT_TRUE(c.SendOne(&sent, 1300));
  EXPECT_EQ(sent[0].length, 1300u);
  ASSERT_TRUE(c.SendOne(&sent, 1300));
  EXPECT_EQ(sent[1].length, kBase) << "one at a time";
  c.now += 20 * kMs;
  c.Arrive(c.WithAck(c.tcb.snd.max));
  EXPECT_EQ(c.tcb.snd.mss, 1300u);
  EXPECT_EQ(c.tcb.mtu_search.high, kLargest) << "more may get through";
}

TEST_P(MtuProbe, GivenAWireThatCutsPacketsWhenAProbeGoesThenItIsNotCut) {
  NarrowPath c = Open(MtuProbing::kAlways);
  c.tcb.options.segmentation_limit = 65535;
  const auto sent = c.Send(12000);
  ASSERT_GE(sent.size(), 2u);
  EXPECT_EQ(sent[0].length, kLargest);
  EXPECT_EQ(sent[0].intent.segment_size, 0u);
  EXPECT_GT(sent[1].length, kLargest);
  EXPECT_EQ(sent[1].intent.segment_size, kBase);
  EXPECT_FALSE(sent[1].intent.mtu_probe);
}

TEST_P(MtuProbe, GivenASettledSearchWhenTenMinutesHavePassedThenTheLargestIsTriedAgain) {
  NarrowPath c = Open(MtuProbing::kBlackHole, 1300);
  c.Run(300);
  const uint32_t settled = c.tcb.snd.mss;
  ASSERT_LE(settled, 1300u);
  c.fits = kLargest;
  c.Run(20);
  EXPECT_EQ(c.tcb.snd.mss, settled);
  while (c.tcb.snd.una != c.tcb.snd.end) c.Flight();
  c.now += uint64_t{600} * 1000 * kMs;
  c.Run(20);
  EXPECT_EQ(c.tcb.snd.mss, kLargest);
}

// ---------------------------------------------------------------- beside Packet Too Big

/// The sequence number of the probe that FlightWithProbe has sent.
SequenceNumber StartOfProbe(const std::vector<SentSegment>& sent) {
  for (const SentSegment& s : sent) {
    if (s.intent.mtu_probe) return s.header.sequence;
  }
  ADD_FAILURE() << "no probe";
  return {};
}

/// What went before the probe arrives, and so do four segments behind it.
void LoseAlone(NarrowPath& c, SequenceNumber probe) {
  if (probe != c.tcb.snd.una) c.Arrive(c.WithAck(probe));
  for (uint32_t i = 1; i <= 4; ++i) {
    Segment duplicate = c.WithAck(probe);
    duplicate.header.sack_count = c.tcb.sack_on ? 1 : 0;
    duplicate.header.sack[0] = {probe + kLargest, probe + kLargest + i * kBase};
    c.Arrive(duplicate);
  }
}

TEST_P(MtuProbe, GivenAProbeInFlightWhenARouterTellsOthersOfLessThenNeitherFateOfItPassesThat) {
  for (const bool arrives : {false, true}) {
    NarrowPath c = Open(MtuProbing::kAlways);
    const SequenceNumber probe = StartOfProbe(FlightWithProbe(c));
    SetPathMtu(c.tcb, 1300);
    const uint32_t ceiling = 1300 - 60;
    c.now += 20 * kMs;
    if (arrives) {
      c.Arrive(c.WithAck(c.tcb.snd.max));
    } else {
      LoseAlone(c, probe);
      EXPECT_FALSE(c.tcb.mtu_search.outstanding);
    }
    EXPECT_LE(c.tcb.snd.mss, ceiling);
    EXPECT_LE(c.tcb.mtu_search.high, ceiling);
  }
}

TEST_P(MtuProbe, GivenAProbeKnownToBeLostWhenTheRouterSaysSoAfterAllThenNothingElseGoesAgain) {
  NarrowPath c = Open(MtuProbing::kAlways, 1340);
  const SequenceNumber probe = StartOfProbe(FlightWithProbe(c));
  c.now += 20 * kMs;
  LoseAlone(c, probe);
  c.Drain();
  ASSERT_TRUE(c.tcb.mtu_search.failed);
  EXPECT_FALSE(OnPacketTooBig(c.tcb, probe, 1400, c.now));
  for (const SentSegment& s : c.Drain()) EXPECT_FALSE(s.intent.retransmission);
  c.Arrive(c.WithAck(c.tcb.snd.max));
  EXPECT_FALSE(c.tcb.mtu_search.failed);
}

TEST_P(MtuProbe, GivenARefusedProbeThenTheRoutersWordBoundsTheSearchAndOnlyTheProbeGoesAgain) {
  NarrowPath c = Open(MtuProbing::kAlways, 1340);
  const auto sent = FlightWithProbe(c);
  SequenceNumber probe;
  for (const SentSegment& s : sent) {
    if (s.intent.mtu_probe) probe = s.header.sequence;
  }
  c.now += 5 * kMs;
  if (probe != c.tcb.snd.una) c.Arrive(c.WithAck(probe));
  const uint32_t cwnd = c.tcb.cwnd;
  EXPECT_TRUE(OnPacketTooBig(c.tcb, probe, 1400, c.now));
  c.Check();
  EXPECT_EQ(c.tcb.snd.mss, kBase);
  EXPECT_EQ(c.tcb.cwnd, cwnd);
  uint32_t repeated = 0;
  for (const SentSegment& s : c.Drain()) repeated += s.intent.retransmission ? s.length : 0;
  EXPECT_GE(repeated, kLargest);
  EXPECT_LT(repeated, kLargest + kBase);
  c.now += 20 * kMs;
  c.Arrive(c.WithAck(c.tcb.snd.max));
  c.next = c.tcb.snd.una;
  c.largest_sent = 0;
  EXPECT_TRUE(c.RunUntil(1340)) << "the router's size, at the first try";
  EXPECT_EQ(c.largest_sent, 1340u);
}

TEST_P(MtuProbe, GivenASearchWhenTheRoutersWordAgesThenMoreIsProbedForRatherThanSent) {
  NarrowPath c = Open(MtuProbing::kAlways, 1340);
  SetPathMtu(c.tcb, 1340);
  EXPECT_EQ(c.tcb.snd.mss, kBase);
  EXPECT_TRUE(c.RunUntil(1280));
  SetPathMtu(c.tcb, 1500);
  EXPECT_EQ(c.tcb.snd.mss, 1280u);
  c.Run(100);
  EXPECT_LE(c.tcb.snd.mss, 1340u);
  EXPECT_GT(c.tcb.snd.mss, 1332u);
  EXPECT_EQ(c.tcb.rtt.backoff, 0);
}

TEST_P(MtuProbe, GivenWhatOthersHaveFoundWhenAConnectionStartsFromItThenItSearchesOn) {
  NarrowPath c = Open(MtuProbing::kBlackHole);
  SetPathMtu(c.tcb, 1480);
  SearchPathMtu(c.tcb, 1360);
  EXPECT_EQ(c.tcb.snd.mss, 1300u);
  EXPECT_TRUE(c.RunUntil(1420));
  SetPathMtu(c.tcb, 1500);
  EXPECT_TRUE(c.RunUntil(kLargest));
}

std::vector<ProbeCase> Cases() {
  std::vector<ProbeCase> cases;
  for (const SequencePlan& plan : kSequencePlans) {
    cases.push_back({false, plan});
    cases.push_back({true, plan});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, MtuProbe, ::testing::ValuesIn(Cases()), [](const auto& test) {
  return std::string(test.param.plan.name) + (test.param.sack ? "Sack" : "NoSack");
});

}  // namespace
}  // namespace qpip::tcp::testing
