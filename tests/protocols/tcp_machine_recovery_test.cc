// Loss recovery with SACK: the scoreboard, RACK-TLP (RFC 8985), proportional rate reduction (RFC
// 6937). Round trips are 10 ms, segments 1000 bytes.
#include <random>
#include <set>
#include <vector>

#include "protocols/tcp/scoreboard.h"
#include "standalone_tcb.h"
#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

// ---------------------------------------------------------------- scoreboard

/// A byte by byte model of what the board is to know; times in ticks.
struct ByteModel {
  enum Fate : uint8_t { kFlight, kSacked, kLost };
  std::vector<Fate> fate;  // from `start` on
  SequenceNumber start;

  uint32_t Count(Fate which) const {
    uint32_t n = 0;
    for (const Fate f : fate) n += f == which ? 1 : 0;
    return n;
  }
};

TEST(ScoreboardModel, GivenRandomEventsThenCountsNeverExceedTheTruth) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    StandaloneScoreboard board;
    ByteModel model;
    model.start = SequenceNumber(0xfffff000u + seed);  // wraps
    ResetScoreboard(board, model.start);
    uint64_t now = 0;
    for (int step = 0; step < 3000; ++step) {
      ++now;
      const uint32_t size = static_cast<uint32_t>(model.fate.size());
      const uint32_t from = size == 0 ? 0 : random() % size;
      const uint32_t to = size == 0 ? 0 : from + 1 + random() % std::min(size - from, 40u);
      Delivery delivery;
      switch (random() % 5) {
        case 0:
        case 1: {  // new text
          const uint32_t length = 1 + random() % 30;
          NoteSentRun(board, board.End(), board.End() + length, now, random() % 3);
          model.fate.insert(model.fate.end(), length, ByteModel::kFlight);
          break;
        }
        case 2: {  // SACK
          if (size == 0) break;
          const uint32_t before = board.sacked;
          SackRuns(board, model.start + from, model.start + to, model.start, &delivery);
          ASSERT_EQ(board.sacked, before + delivery.sacked_bytes);
          if (delivery.sacked_bytes == 0) break;  // known, or no room: not believed
          for (uint32_t i = from; i < to; ++i) model.fate[i] = ByteModel::kSacked;
          break;
        }
        case 3: {  // loss of what is before some run, then a repetition
          if (board.count == 0) break;
          LoseRun(board, random() % board.count);
          SequenceNumber lost;
          uint32_t length = 0;
          if (FirstLost(board, &lost, &length)) {
            const uint32_t piece = 1 + random() % length;
            const uint32_t left = board.lost;
            NoteSentRun(board, lost, lost + piece, now, 1);
            ASSERT_LE(board.lost, left - piece);
          }
          break;
        }
        default: {  // acknowledgement
          if (size == 0 || random() % 3 != 0) break;
          const uint32_t pipe_and_lost = board.Pipe() + board.lost;
          AcknowledgeRuns(board, model.start + to, model.start, &delivery);
          ASSERT_LE(delivery.bytes, to);
          ASSERT_LE(delivery.bytes, pipe_and_lost);
          model.fate.erase(model.fate.begin(), model.fate.begin() + to);
          model.start += to;
          break;
        }
      }
      // Runs are in order, cover the board, and add up.
      ASSERT_LE(board.count, StandaloneScoreboard::kRuns);
      ASSERT_EQ(board.start, model.start);
      ASSERT_EQ(board.start.DistanceTo(board.End()), model.fate.size());
      uint32_t sacked = 0;
      uint32_t lost = 0;
      for (uint32_t i = 0; i < board.count; ++i) {
        ASSERT_GT(board.LengthOf(i), 0u);
        ASSERT_LE(board.LengthOf(i), model.fate.size());
        const uint8_t flags = board.runs[i].flags;
        ASSERT_FALSE((flags & kRunSacked) != 0 && (flags & kRunLost) != 0);
        if ((flags & kRunLost) != 0) lost += board.LengthOf(i);
        if ((flags & kRunSacked) == 0) continue;
        sacked += board.LengthOf(i);
        const uint32_t at = model.start.DistanceTo(board.StartOf(i));
        for (uint32_t k = 0; k < board.LengthOf(i); ++k) {
          ASSERT_EQ(model.fate[at + k], ByteModel::kSacked) << "never was";
        }
      }
      ASSERT_EQ(board.sacked, sacked);
      ASSERT_EQ(board.lost, lost);
      ASSERT_LE(board.sacked + board.lost, model.fate.size());
    }
  }
}

TEST(Scoreboard, GivenHolesThenFirstLostNamesEachOnce) {
  StandaloneScoreboard board;
  const SequenceNumber base(1000);
  ResetScoreboard(board, base);
  for (uint32_t i = 0; i < 6; ++i) NoteSentRun(board, base + i * 10, base + i * 10 + 10, i, 0);
  Delivery delivery;
  SackRuns(board, base + 10, base + 20, base, &delivery);
  SackRuns(board, base + 40, base + 60, base, &delivery);
  EXPECT_EQ(delivery.bytes, 30u);
  EXPECT_EQ(delivery.end, base + 60);
  LoseAll(board, false);
  EXPECT_EQ(board.Pipe(), 0u);
  SequenceNumber start;
  uint32_t length = 0;
  ASSERT_TRUE(FirstLost(board, &start, &length));
  EXPECT_EQ(start, base);
  EXPECT_EQ(length, 10u);
  NoteSentRun(board, base, base + 10, 10, 0);
  ASSERT_TRUE(FirstLost(board, &start, &length));
  EXPECT_EQ(start, base + 20);
  EXPECT_EQ(length, 20u);
  NoteSentRun(board, base + 20, base + 35, 11, 0);  // cut elsewhere than before
  ASSERT_TRUE(FirstLost(board, &start, &length));
  EXPECT_EQ(start, base + 35);
  EXPECT_EQ(length, 5u);
  EXPECT_EQ(board.Pipe(), 25u);
}

TEST(Scoreboard, GivenMoreRunsThanThereIsRoomForThenAJoinedOneKnowsItsFirstAndLastTime) {
  StandaloneScoreboard board;
  const SequenceNumber base(1000);
  ResetScoreboard(board, base);
  constexpr uint64_t kStep = 10 * kMs;
  constexpr uint32_t kRuns = 4 * StandaloneScoreboard::kRuns;
  for (uint32_t i = 0; i < kRuns; ++i) {
    NoteSentRun(board, base + i * 10, base + i * 10 + 10, kStart + i * kStep, kMs);
  }
  ASSERT_LE(board.count, StandaloneScoreboard::kRuns);
  for (uint32_t i = 0; i < board.count; ++i) {
    const uint32_t first = base.DistanceTo(board.StartOf(i)) / 10;
    const uint32_t last = base.DistanceTo(board.runs[i].end) / 10 - 1;
    EXPECT_EQ(board.runs[i].sent_at, kStart + first * kStep);
    EXPECT_GE(board.runs[i].LastSentAt(), kStart + last * kStep);
    EXPECT_LE(board.runs[i].LastSentAt(), kStart + (last + 1) * kStep);
  }
}

TEST(Scoreboard, GivenEverySecondOfManySegmentsLostThenEachHasItsFate) {
  StandaloneTcb tcb;
  Scoreboard& board = tcb.sent;
  const SequenceNumber base(1000);
  ResetScoreboard(board, base);
  constexpr uint32_t kSegments = 200;
  for (uint32_t i = 0; i < kSegments; ++i) {
    NoteSentRun(board, base + i * 10, base + i * 10 + 10, kStart + i, 0);
  }
  EXPECT_LE(board.count, Scoreboard::kPlenty) << "times alone need no more";
  Delivery delivery;
  for (uint32_t i = 1; i < kSegments; i += 2) {
    SackRuns(board, base + i * 10, base + i * 10 + 10, base, &delivery);
  }
  EXPECT_EQ(delivery.sacked_bytes, kSegments / 2 * 10);
  EXPECT_FALSE(board.incomplete);
  LoseAll(board, false);
  SequenceNumber start;
  uint32_t length = 0;
  for (uint32_t i = 0; i < kSegments; i += 2) {
    ASSERT_TRUE(FirstLost(board, &start, &length));
    ASSERT_EQ(start, base + i * 10);
    ASSERT_EQ(length, 10u);
    NoteSentRun(board, start, start + length, kStart + kMs + i, 0);
  }
  EXPECT_FALSE(FirstLost(board, &start, &length)) << "nothing else goes again";
}

TEST(Scoreboard, GivenBlocksIgnoredForWantOfRoomThenTheirAcknowledgementIsNoReordering) {
  StandaloneScoreboard board;
  const SequenceNumber base(1000);
  ResetScoreboard(board, base);
  constexpr uint32_t kSegments = 4 * StandaloneScoreboard::kRuns;
  NoteSentRun(board, base, base + kSegments * 10, kStart, kMs);
  SequenceNumber fack = base;
  for (uint32_t i = 1; i < kSegments; i += 2) {  // every second one is lost
    Delivery delivery;
    SackRuns(board, base + i * 10, base + i * 10 + 10, fack, &delivery);
    fack = base + i * 10 + 10;
  }
  Delivery delivery;
  AcknowledgeRuns(board, base + kSegments * 10 - 20, fack, &delivery);
  EXPECT_FALSE(delivery.reordered);
}

// ---------------------------------------------------------------- the machine

constexpr uint64_t kRtt = 10 * kMs;
constexpr uint32_t kMss = 1000;

class Recovery : public ::testing::Test {
 protected:
  void SetUp() override {
    c.peer_sack = true;
    c.OpenActively();
    c.Drain();
    c.Advance(kRtt);
    tcp::Segment syn_ack = c.PeerSyn();
    syn_ack.header.flags = kSyn | kAck;
    syn_ack.header.acknowledgement = c.iss() + 1;
    ASSERT_EQ(c.Arrive(syn_ack).outcome, Outcome::kEstablished);
    c.Drain();
    // The window grows to what the tests below want.
    for (int round = 0; round < 2; ++round) {
      const std::vector<SentSegment> sent = c.Send(c.tcb.cwnd);
      c.Advance(kRtt);
      for (const SentSegment& segment : sent) {
        c.Arrive(c.WithAck(segment.header.sequence + segment.length));
      }
    }
    ASSERT_EQ(c.tcb.snd.una, c.tcb.snd.max);
    base = c.tcb.snd.una;
  }

  /// Sends `count` segments, one a 100 µs.
  void SendSegments(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(c.Send(kMss).size(), 1u);
      c.Advance(100 * kUs);
    }
  }
  SequenceNumber Segment(uint32_t index) const { return base + index * kMss; }

  /// An ACK of everything before segment `una` that sacks the segments given as [from, to).
  void Ack(uint32_t una, const std::vector<std::pair<uint32_t, uint32_t>>& blocks) {
    tcp::Segment ack = c.WithAck(Segment(una));
    for (const auto& [from, to] : blocks) {
      ack.header.sack[ack.header.sack_count++] = {Segment(from), Segment(to)};
    }
    c.Arrive(ack);
  }
  /// What goes out now, as segment indices; -1 for what is no text.
  std::vector<int> Sent() {
    std::vector<int> out;
    for (const SentSegment& sent : c.Drain()) {
      out.push_back(
          sent.length == 0 ? -1 : static_cast<int>(base.DistanceTo(sent.header.sequence) / kMss));
    }
    return out;
  }

  Connection c{PlainOptions()};
  SequenceNumber base;
};

TEST_F(Recovery, GivenOneSackedThenTheOneBeforeItIsLostAfterAQuarterOfTheRoundTrip) {
  SendSegments(4);
  c.Advance(kRtt - 4 * 100 * kUs);
  Ack(0, {{1, 2}});
  EXPECT_EQ(Sent(), std::vector<int>{});
  ASSERT_NE(c.tcb.rack.deadline, kNever);
  // sent_at + RACK.rtt + min_rtt / 4 (RFC 8985 6.2, steps 4 and 5)
  EXPECT_LE(c.tcb.rack.deadline, c.now + kRtt / 4);
  c.AdvanceTo(c.tcb.rack.deadline - 1);
  EXPECT_EQ(Sent(), std::vector<int>{});
  c.Advance(1);
  EXPECT_EQ(Sent(), std::vector<int>{0});
  EXPECT_TRUE(c.tcb.in_recovery);
}

TEST_F(Recovery, GivenThreeSackedThenTheHoleIsRepairedAtOnce) {
  SendSegments(5);
  c.Advance(kRtt);
  Ack(0, {{1, 2}});
  Ack(0, {{1, 3}});
  EXPECT_EQ(Sent(), std::vector<int>{});
  Ack(0, {{1, 4}});
  EXPECT_EQ(Sent(), std::vector<int>{0});
  Ack(5, {});
  EXPECT_FALSE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.cwnd, c.tcb.ssthresh);
}

TEST_F(Recovery, GivenLossDetectedThenTheTimerStartsWithTheRepetition) {
  SendSegments(5);
  c.Advance(kRtt);
  Ack(0, {{1, 2}});
  Ack(0, {{1, 3}});
  Ack(0, {{1, 4}});
  EXPECT_EQ(Sent(), std::vector<int>{0});
  EXPECT_EQ(c.tcb.retransmit_deadline, c.now + c.tcb.rtt.rto_us * kUs);
}

TEST_F(Recovery, GivenNewTextBeforeAndAfterARepetitionThenItsDeliverySaysNothingOfTheLatter) {
  SendSegments(8);
  c.Advance(kRtt);
  SendSegments(1);
  Ack(0, {{2, 3}});
  Ack(0, {{2, 4}});
  Ack(0, {{2, 8}});  // 0 and 1 are missing
  EXPECT_EQ(Sent(), (std::vector<int>{0, 1}));
  c.Advance(100 * kUs);
  ASSERT_EQ(c.Send(kMss).size(), 1u);
  c.Advance(kRtt - 100 * kUs);
  Ack(1, {{2, 9}});  // the repetition has arrived, and what was sent before it
  EXPECT_EQ(Sent(), std::vector<int>{});
  EXPECT_EQ(c.tcb.sent.lost, 0u);
}

TEST_F(Recovery, GivenDuplicateReportedOfWhatWasSentOnceThenItIsNoReasonForPatience) {
  SendSegments(3);
  c.Advance(kRtt);
  for (int i = 0; i < 3; ++i) {
    tcp::Segment ack = c.WithAck(Segment(1));
    ack.header.sack[ack.header.sack_count++] = {base - 50000, base - 49000};  // an attacker's doing
    c.Arrive(ack);
  }
  EXPECT_EQ(c.tcb.rack.window_multiplier, 1u);
}

TEST_F(Recovery, GivenSeveralHolesThenOnlyTheyAreSentAgain) {
  SendSegments(10);
  c.Advance(kRtt);
  Ack(1, {{2, 3}});
  Ack(1, {{4, 7}, {2, 3}});
  Ack(1, {{8, 10}, {4, 7}, {2, 3}});  // 1, 3 and 7 are missing
  std::multiset<int> again;
  for (int i = 0; i < 20 && c.tcb.snd.una != Segment(10); ++i) {
    for (const int index : Sent()) again.insert(index);
    c.Advance(kRtt);
    // The peer has what was sent again.
    if (again.count(7) != 0) {
      Ack(10, {});
    } else if (again.count(3) != 0) {
      Ack(7, {{8, 10}});
    } else if (again.count(1) != 0) {
      Ack(3, {{8, 10}, {4, 7}});
    }
  }
  EXPECT_EQ(again, (std::multiset<int>{1, 3, 7}));
  EXPECT_EQ(c.tcb.rtt.backoff, 0u);
  EXPECT_FALSE(c.tcb.timed_out);
}

TEST_F(Recovery, GivenRepetitionLostTooThenItIsRepeatedWithoutATimeOut) {
  SendSegments(10);
  c.Advance(kRtt);
  Ack(0, {{1, 2}});
  Ack(0, {{1, 3}});
  Ack(0, {{1, 4}});
  EXPECT_EQ(Sent(), std::vector<int>{0});
  // Text sent behind the repetition arrives, the repetition does not.
  c.Advance(100 * kUs);
  Ack(0, {{1, 8}});
  ASSERT_EQ(c.Send(kMss).size(), 1u);
  c.Advance(kRtt);
  Ack(0, {{1, 11}});
  EXPECT_EQ(Sent(), std::vector<int>{0});
  EXPECT_FALSE(c.tcb.timed_out);
}

TEST_F(Recovery, GivenHalfOfTheWindowLostThenSendingIsSpreadOverTheRoundTrip) {
  const uint32_t flight = 20;
  ASSERT_GE(c.tcb.cwnd, flight * kMss);
  SendSegments(flight);
  c.Advance(kRtt);
  const uint32_t half = flight * kMss / 2;
  // Every second segment is lost; each ACK tells of one more.
  uint32_t repeated = 0;
  uint32_t largest_burst = 0;
  for (uint32_t i = 1; i < flight; i += 2) {
    std::vector<std::pair<uint32_t, uint32_t>> blocks;
    for (uint32_t k = i; blocks.size() < 4; k -= 2) {
      blocks.push_back({k, k + 1});
      if (k < 2) break;
    }
    Ack(0, blocks);
    const uint32_t burst = static_cast<uint32_t>(Sent().size());
    repeated += burst;
    largest_burst = std::max(largest_burst, burst);
  }
  EXPECT_TRUE(c.tcb.in_recovery);
  EXPECT_EQ(c.tcb.ssthresh, half);
  EXPECT_LE(largest_burst, 2u);
  EXPECT_GE(repeated, 4u);
  EXPECT_LE(c.tcb.sent.Pipe(), half + kMss);
}

TEST_F(Recovery, GivenTailLostThenProbedAfterTwoRoundTripsRatherThanTheTimeOut) {
  SendSegments(3);
  const uint64_t sent_at = c.now - 100 * kUs;
  ASSERT_NE(c.tcb.tail_probe.deadline, kNever);
  // RFC 8985 7.2: 2 SRTT and some, below the time-out of 200 ms.
  EXPECT_GE(c.tcb.tail_probe.deadline, sent_at + 2 * kRtt);
  EXPECT_LE(c.tcb.tail_probe.deadline, sent_at + 4 * kRtt);
  c.AdvanceTo(c.tcb.tail_probe.deadline);
  EXPECT_EQ(Sent(), std::vector<int>{2});  // the last segment
  EXPECT_EQ(c.tcb.tail_probe.deadline, kNever) << "one probe at a time";
  // It was the only one that got through: what is before it is lost.
  c.Advance(kRtt);
  Ack(0, {{2, 3}});
  c.Advance(kRtt);
  std::vector<int> again = Sent();
  c.Advance(kRtt);
  if (again.size() == 1) {
    Ack(1, {{2, 3}});
    const std::vector<int> more = Sent();
    again.insert(again.end(), more.begin(), more.end());
  }
  EXPECT_EQ(again, (std::vector<int>{0, 1}));
  EXPECT_FALSE(c.tcb.timed_out);
}

TEST_F(Recovery, GivenMoreToSendThenTheProbeIsNewText) {
  const uint32_t window = c.tcb.cwnd / kMss;
  const std::vector<SentSegment> first = c.Send(c.tcb.cwnd + 5 * kMss);
  ASSERT_EQ(first.size(), window);
  c.AdvanceTo(c.tcb.tail_probe.deadline);
  EXPECT_EQ(Sent(), std::vector<int>{static_cast<int>(window)});
}

TEST_F(Recovery, GivenLoneSegmentThenTheProbeLeavesTimeForADelayedAcknowledgement) {
  SendSegments(1);
  EXPECT_GE(c.tcb.tail_probe.deadline, c.now + 200 * kMs);
  EXPECT_NE(c.tcb.retransmit_deadline, kNever);
}

TEST_F(Recovery, GivenProbeRepairedALossThenTheWindowShrinks) {
  SendSegments(3);
  c.AdvanceTo(c.tcb.tail_probe.deadline);
  ASSERT_EQ(Sent(), std::vector<int>{2});
  const uint32_t before = c.tcb.cwnd;
  c.Advance(kRtt);
  Ack(3, {});  // no duplicate reported: either the original or the probe arrived
  SendSegments(1);
  Ack(4, {});
  EXPECT_LT(c.tcb.cwnd, before);
}

TEST_F(Recovery, GivenProbeInVainThenTheWindowStays) {
  SendSegments(3);
  c.AdvanceTo(c.tcb.tail_probe.deadline);
  ASSERT_EQ(Sent(), std::vector<int>{2});
  const uint32_t before = c.tcb.cwnd;
  c.Advance(kRtt);
  Ack(3, {{2, 3}});  // RFC 2883: segment 2 arrived twice
  SendSegments(1);
  Ack(4, {});
  EXPECT_GE(c.tcb.cwnd, before);
}

TEST_F(Recovery, GivenTimeOutThenEverythingNotSackedIsSentAgainAndNothingElse) {
  SendSegments(5);
  c.Advance(kRtt);
  Ack(0, {{3, 4}});
  Sent();
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_EQ(c.tcb.cwnd, kMss);
  std::multiset<int> again;
  for (int i = 0; i < 10 && c.tcb.snd.una != Segment(5); ++i) {
    for (const int index : Sent()) again.insert(index);
    c.Advance(kRtt);
    uint32_t una = 0;
    while (una < 5 && (una == 3 || again.count(static_cast<int>(una)) != 0)) ++una;
    Ack(una, una < 3 ? std::vector<std::pair<uint32_t, uint32_t>>{{3, 4}}
                     : std::vector<std::pair<uint32_t, uint32_t>>{});
  }
  EXPECT_EQ(again.count(3), 0u);
  for (const int index : {1, 2, 4}) EXPECT_EQ(again.count(index), 1u) << index;
}

TEST_F(Recovery, GivenPeerThatRenegesWhenTimeOutThenWhatItSackedIsSentAgain) {
  SendSegments(2);
  c.Advance(kRtt);
  Ack(1, {{1, 2}});  // sacks what follows immediately, and never acknowledges it
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_EQ(c.tcb.sent.sacked, 0u);
  EXPECT_EQ(Sent(), std::vector<int>{1});
}

TEST_F(Recovery, GivenBlocksOfWhatWasNeverSentThenTheyAreIgnored) {
  SendSegments(3);
  c.Advance(kRtt);
  Ack(0, {{2, 9}, {1, 1}, {7, 8}});
  tcp::Segment ack = c.WithAck(base);
  ack.header.sack_count = 1;
  ack.header.sack[0] = {base + 2000, base + 1000};  // backwards
  c.Arrive(ack);
  EXPECT_EQ(c.tcb.sent.sacked, 0u);
  EXPECT_EQ(Sent(), std::vector<int>{});
}

TEST_F(Recovery, GivenReorderingWasSeenThenThreeSackedAreNotYetALoss) {
  SendSegments(6);
  c.Advance(kRtt);
  Ack(0, {{1, 2}});
  Ack(2, {});  // segment 0 was only late
  EXPECT_TRUE(c.tcb.rack.reordering_seen);
  Ack(2, {{3, 4}});
  Ack(2, {{3, 5}});
  Ack(2, {{3, 6}});
  EXPECT_EQ(Sent(), std::vector<int>{});
  c.Advance(kRtt / 2);
  EXPECT_EQ(Sent(), std::vector<int>{2});
}

TEST_F(Recovery, GivenDuplicateReportsThenMoreReorderingIsAllowedFor) {
  SendSegments(4);
  c.Advance(kRtt);
  Ack(0, {{1, 2}});
  c.Advance(kRtt / 3);
  ASSERT_EQ(Sent(), std::vector<int>{0});  // too early: it was late, not lost
  Ack(4, {});
  c.Advance(kRtt);
  tcp::Segment ack = c.WithAck(Segment(4));
  ack.header.sack_count = 1;
  ack.header.sack[0] = {Segment(0), Segment(1)};
  c.Arrive(ack);
  EXPECT_EQ(c.tcb.rack.window_multiplier, 2u);
}

TEST_F(Recovery, GivenFinLostThenItIsSentAgain) {
  SendSegments(2);
  Close(c.tcb, c.now);
  std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  ASSERT_TRUE(sent[0].header.Has(kFin));
  c.Advance(kRtt);
  Ack(2, {});
  c.AdvanceTo(c.tcb.retransmit_deadline);
  sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].header.Has(kFin));
  EXPECT_EQ(sent[0].header.sequence, Segment(2));
}

TEST_F(Recovery, GivenWindowShutWithTextInFlightWhenTimeOutThenTheOldestIsTriedAgain) {
  SendSegments(3);
  c.peer_window = 0;
  c.Advance(kRtt);
  Ack(1, {});
  c.AdvanceTo(c.tcb.retransmit_deadline);
  EXPECT_EQ(Sent(), std::vector<int>{1});
}

}  // namespace
}  // namespace qpip::tcp::testing
