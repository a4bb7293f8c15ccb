// Text ahead of its turn: what is held, what SACK tells of it, and what follows when a gap closes.
#include <map>
#include <random>
#include <vector>

#include "protocols/tcp/reassembly.h"
#include "standalone_tcb.h"
#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr SequenceNumber kBase(0xffffff00u);  // the space wraps inside the tests
SequenceNumber At(uint32_t offset) { return kBase + offset; }

/// Holds text [from, to), and answers the piece that was news.
std::pair<uint32_t, uint32_t> HoldAt(Reassembly& held, uint32_t from, uint32_t to,
                                     bool push = false, uint32_t limit = 32) {
  const TextPiece piece = Hold(held, At(from), to - from, push, limit);
  return {from + piece.offset, from + piece.offset + piece.length};
}
using Span = std::pair<uint32_t, uint32_t>;

std::vector<Span> Ranges(const Reassembly& held) {
  std::vector<Span> out;
  for (uint32_t i = held.released; i < held.count; ++i) {
    out.push_back({kBase.DistanceTo(held.ranges[i].start), kBase.DistanceTo(held.ranges[i].End())});
  }
  return out;
}
std::vector<Span> Blocks(const Reassembly& held, uint32_t room) {
  SackBlock blocks[4];
  const uint32_t count = SackBlocks(held, blocks, room);
  std::vector<Span> out;
  for (uint32_t i = 0; i < count; ++i) {
    out.push_back({kBase.DistanceTo(blocks[i].start), kBase.DistanceTo(blocks[i].end)});
  }
  return out;
}

TEST(Held, GivenTouchingTextThenOneRange) {
  StandaloneReassembly held;
  EXPECT_EQ(HoldAt(held, 300, 400), Span(300, 400));
  EXPECT_EQ(HoldAt(held, 500, 600), Span(500, 600));
  EXPECT_EQ(HoldAt(held, 200, 300), Span(200, 300));
  EXPECT_EQ(HoldAt(held, 400, 500), Span(400, 500));
  EXPECT_EQ(Ranges(held), (std::vector<Span>{{200, 600}}));
}

TEST(Held, GivenMessageEndThenNothingIsJoinedAcrossIt) {
  StandaloneReassembly held;
  HoldAt(held, 100, 200, true);
  HoldAt(held, 200, 300, true);
  HoldAt(held, 300, 400, false);
  EXPECT_EQ(Ranges(held), (std::vector<Span>{{100, 200}, {200, 300}, {300, 400}}));
  EXPECT_EQ(Blocks(held, 4), (std::vector<Span>{{100, 400}}));  // the peer sees no boundaries
}

TEST(Held, GivenTextKnownInPartThenOnlyTheFirstNewPieceIsTaken) {
  StandaloneReassembly held;
  HoldAt(held, 200, 300);
  HoldAt(held, 400, 500);
  EXPECT_EQ(HoldAt(held, 200, 300), Span(200, 200));  // nothing new
  EXPECT_EQ(HoldAt(held, 250, 350, true), Span(300, 350));
  EXPECT_EQ(HoldAt(held, 100, 600, true), Span(100, 200));  // cut by what is there
  EXPECT_EQ(Ranges(held), (std::vector<Span>{{100, 350}, {400, 500}}));
}

TEST(Held, GivenLimitReachedThenOnlyTextThatTouchesARange) {
  StandaloneReassembly held;
  HoldAt(held, 100, 200, false, 2);
  HoldAt(held, 300, 400, false, 2);
  EXPECT_EQ(HoldAt(held, 500, 600, false, 2), Span(500, 500));
  EXPECT_EQ(HoldAt(held, 400, 450, false, 2), Span(400, 450));
  EXPECT_EQ(Ranges(held), (std::vector<Span>{{100, 200}, {300, 450}}));
}

TEST(Held, GivenInOrderTextOverRangesThenCoveredOnesGoAndTheRestFollows) {
  StandaloneReassembly held;
  HoldAt(held, 100, 200, true);
  HoldAt(held, 250, 300, true);
  HoldAt(held, 300, 350);
  HoldAt(held, 400, 500);
  EXPECT_EQ(Release(held, At(260)), 90u);  // 260 to 350
  HeldRange range;
  EXPECT_FALSE(TakeReleased(held, At(250), &range));
  ASSERT_TRUE(TakeReleased(held, At(260), &range));
  EXPECT_EQ(range.length, 40u);
  EXPECT_TRUE(range.push);
  EXPECT_FALSE(TakeReleased(held, At(260), &range));
  ASSERT_TRUE(TakeReleased(held, At(300), &range));
  EXPECT_FALSE(range.push);
  EXPECT_FALSE(TakeReleased(held, At(350), &range));
  EXPECT_EQ(Ranges(held), (std::vector<Span>{{400, 500}}));
}

TEST(Held, GivenRangesThenBlocksTellTheLatestFirst) {
  StandaloneReassembly held;
  HoldAt(held, 100, 200);
  HoldAt(held, 300, 400);
  HoldAt(held, 500, 600);
  HoldAt(held, 700, 800);
  EXPECT_EQ(Blocks(held, 3), (std::vector<Span>{{700, 800}, {500, 600}, {300, 400}}));
  HoldAt(held, 100, 150);  // known, but this is what has just arrived
  EXPECT_EQ(Blocks(held, 4), (std::vector<Span>{{100, 200}, {700, 800}, {500, 600}, {300, 400}}));
  EXPECT_EQ(Blocks(held, 0), (std::vector<Span>{}));
}

TEST(Held, GivenRandomTextThenEveryByteIsTakenOnceAndReleasedInOrder) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    StandaloneReassembly held;
    constexpr uint32_t kTotal = 2000;
    std::vector<int> owner(kTotal, 0);  // 1: held, 2: handed on
    uint32_t next = 0;
    while (next < kTotal) {
      // The gap's own text comes now and then.
      const uint32_t from = random() % 4 == 0 ? next : next + random() % (kTotal - next);
      const uint32_t length = 1 + random() % std::min<uint32_t>(150, kTotal - from);
      if (from > next) {
        const Span piece = HoldAt(held, from, from + length, random() % 3 == 0, 1 + seed % 32);
        for (uint32_t i = piece.first; i < piece.second; ++i) ASSERT_EQ(owner[i]++, 0);
        continue;
      }
      for (uint32_t i = next; i < next + length; ++i) owner[i] = 2;
      next += length;
      const uint32_t released = Release(held, At(next));
      const uint32_t edge = next + released;
      HeldRange range;
      while (TakeReleased(held, At(next), &range)) {
        for (uint32_t i = 0; i < range.length; ++i) ASSERT_EQ(owner[next + i]++, 1);
        next += range.length;
      }
      ASSERT_EQ(next, edge);
      for (uint32_t i = next; i < kTotal; ++i) ASSERT_NE(owner[i], 2);
    }
    EXPECT_FALSE(held.HoldsAny());
  }
}

// ---------------------------------------------------------------- the machine

Options SackOptions() {
  Options options = PlainOptions();
  options.ack_every = 255;
  return options;
}

Segment Ahead(const Connection& c, uint32_t ahead, uint32_t length, bool push = false) {
  Segment segment = c.WithText(length, push);
  segment.header.sequence += ahead;
  return segment;
}

/// Blocks of an ACK, as offsets from rcv.nxt at the start.
std::vector<Span> BlocksOf(const SentSegment& sent, SequenceNumber base) {
  std::vector<Span> out;
  for (uint32_t i = 0; i < sent.header.sack_count; ++i) {
    out.push_back(
        {base.DistanceTo(sent.header.sack[i].start), base.DistanceTo(sent.header.sack[i].end)});
  }
  return out;
}

TEST(Sack, GivenGapWhenTextArrivesThenEachDuplicateAckNamesIt) {
  Connection c(SackOptions());
  c.peer_sack = true;
  c.Establish();
  const SequenceNumber base = c.tcb.rcv.nxt;
  c.Arrive(Ahead(c, 100, 100));
  std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.acknowledgement, base);
  EXPECT_EQ(BlocksOf(sent[0], base), (std::vector<Span>{{100, 200}}));
  c.Arrive(Ahead(c, 300, 100));
  sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(BlocksOf(sent[0], base), (std::vector<Span>{{300, 400}, {100, 200}}));
  c.ArriveAndPlace(Ahead(c, 0, 100));  // fills the first gap
  sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.acknowledgement, base + 200);
  EXPECT_EQ(BlocksOf(sent[0], base), (std::vector<Span>{{300, 400}}));
  c.ArriveAndPlace(Ahead(c, 0, 100));
  sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.acknowledgement, base + 400);
  EXPECT_EQ(sent[0].header.sack_count, 0u);
}

TEST(Sack, GivenPeerThatDoesNotPermitThenTextIsHeldAndNotTold) {
  Connection c(SackOptions());
  c.Establish();
  EXPECT_TRUE(c.Arrive(Ahead(c, 100, 100)).held);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.sack_count, 0u);
}

TEST(Sack, GivenNoReassemblyThenNotOfferedAndTextIsRefused) {
  Options options = SackOptions();
  options.reassembly = 0;
  Connection c(options);
  c.peer_sack = true;
  c.OpenActively();
  EXPECT_FALSE(c.Drain()[0].header.sack_permitted);
  Connection d(options);
  d.peer_sack = true;
  d.Establish();
  EXPECT_EQ(d.Arrive(Ahead(d, 100, 100)).refusal, Refusal::kOutOfOrder);
  EXPECT_EQ(d.Drain().size(), 1u);
}

TEST(Sack, GivenDuplicateTextThenToldOnceInTheFirstBlock) {  // RFC 2883 section 4
  Connection c(SackOptions());
  c.peer_sack = true;
  c.Establish();
  const SequenceNumber base = c.tcb.rcv.nxt;
  c.ArriveAndPlace(Ahead(c, 0, 100));
  c.Arrive(Ahead(c, 200, 100));  // 300 to 400 from the base
  c.Drain();
  Segment again = c.WithText(100);  // wholly below the cumulative acknowledgement
  again.header.sequence = base;
  c.Arrive(again);
  std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(BlocksOf(sent[0], base), (std::vector<Span>{{0, 100}, {300, 400}}));
  EXPECT_EQ(c.Arrive(Ahead(c, 200, 100)).text_length, 0u);  // duplicates held text
  sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(BlocksOf(sent[0], base), (std::vector<Span>{{300, 400}, {300, 400}}));
  c.Arrive(Ahead(c, 400, 100));
  EXPECT_EQ(BlocksOf(c.Drain()[0], base), (std::vector<Span>{{500, 600}, {300, 400}}));
}

TEST(Sack, GivenDuplicateOfTextPlacedInPartThenToldOnceAllIsAcknowledged) {  // RFC 2883 section 4
  Connection c(SackOptions());
  c.peer_sack = true;
  c.Establish();
  const SequenceNumber base = c.tcb.rcv.nxt;
  c.ArriveAndPlace(Ahead(c, 0, 100));
  c.Drain();
  c.Arrive(Ahead(c, 0, 100));
  Segment again = c.WithText(100);
  again.header.sequence = base + 50;  // cut elsewhere than the first time
  c.Arrive(again);
  const std::vector<SentSegment> at_once = c.Drain();
  ASSERT_EQ(at_once.size(), 1u);
  EXPECT_TRUE(BlocksOf(at_once[0], base).empty());
  OnPlaced(c.tcb, 100, c.now);
  c.AdvanceTo(NextDeadline(c.tcb));
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(BlocksOf(sent[0], base), (std::vector<Span>{{50, 150}}));
}

TEST(Sack, GivenDuplicateOfTextNotYetPlacedThenToldOnceItIsAcknowledged) {  // RFC 2883 section 4
  Connection c(SackOptions());
  c.peer_sack = true;
  c.Establish();
  const SequenceNumber base = c.tcb.rcv.nxt;
  c.Arrive(Ahead(c, 200, 100));
  c.Drain();
  const Segment first = Ahead(c, 0, 100);
  c.Arrive(first);
  c.Arrive(first);
  std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.acknowledgement, base);
  EXPECT_EQ(BlocksOf(sent[0], base), (std::vector<Span>{{200, 300}}));
  OnPlaced(c.tcb, 100, c.now);
  c.tcb.owed.ack_now = true;
  sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.acknowledgement, base + 100);
  EXPECT_EQ(BlocksOf(sent[0], base), (std::vector<Span>{{0, 100}, {200, 300}}));
}

TEST(Sack, GivenDataToSendThenBlocksOnlyWhereTheSegmentHasRoom) {
  Connection c(SackOptions());
  c.peer_sack = true;
  c.Establish();
  c.Arrive(Ahead(c, 100, 100));
  ExtendSend(c.tcb, 1000 + 200);
  std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[0].length, 1000u);  // as large as the peer takes: options would not fit
  EXPECT_EQ(sent[0].header.sack_count, 0u);
  EXPECT_EQ(sent[1].length, 200u);
  EXPECT_EQ(sent[1].header.sack_count, 1u);
  EXPECT_EQ(sent[2].length, 0u);  // the duplicate acknowledgement goes all the same
  EXPECT_EQ(sent[2].header.sack_count, 1u);
}

TEST(Sack, GivenFinBehindGapWhenGapClosesThenPeerHasClosed) {
  Connection c(SackOptions());
  c.Establish();
  Segment fin = Ahead(c, 100, 50, true);
  fin.header.flags |= kFin;
  EXPECT_TRUE(c.Arrive(fin).held);
  EXPECT_EQ(c.tcb.state, State::kEstablished);
  c.Drain();
  const Arrival arrival = c.ArriveAndPlace(Ahead(c, 0, 100));
  EXPECT_TRUE(arrival.peer_closed);
  EXPECT_EQ(c.tcb.state, State::kCloseWait);
  const std::vector<SentSegment> sent = c.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.acknowledgement, c.irs() + 1 + 150 + 1);
}

TEST(Sack, GivenReleasedTextThenNotAcknowledgedBeforeItIsTaken) {
  Connection c(SackOptions());
  c.Establish();
  const SequenceNumber base = c.tcb.rcv.nxt;
  c.Arrive(Ahead(c, 100, 100));
  c.Drain();
  c.Arrive(Ahead(c, 0, 100));
  HeldRange range;
  EXPECT_FALSE(NextReleased(c.tcb, &range)) << "the text before it is not placed";
  EXPECT_EQ(AckableSequence(c.tcb), base);
  OnPlaced(c.tcb, 100, c.now);
  EXPECT_EQ(AckableSequence(c.tcb), base + 100);
  ASSERT_TRUE(NextReleased(c.tcb, &range));
  OnPlaced(c.tcb, range.length, c.now);
  EXPECT_EQ(AckableSequence(c.tcb), base + 200);
}

}  // namespace
}  // namespace qpip::tcp::testing
