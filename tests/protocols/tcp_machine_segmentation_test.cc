// Packets of several segments, for whoever cuts them on their way out.
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kLimit = 20000;  // text of one packet: 20000 - 40 - 60
constexpr uint32_t kMost = (kLimit - 100) / 1000 * 1000;

Options SegmentingOptions() {
  Options options = PlainOptions();
  options.segmentation_limit = kLimit;
  return options;
}

/// A connection whose windows let `window` bytes go.
struct Open : Connection {
  explicit Open(uint32_t window, const Options& options = SegmentingOptions())
      : Connection(options) {
    Establish();
    tcb.cwnd = window;
  }
};

TEST(TcpSegmentation, GivenWindowAndTextWhenSentThenFullSegmentsAndTheTextsEnd) {
  struct Row {
    uint32_t window, text;
    std::vector<uint32_t> packets;
  };
  const Row rows[] = {
      {60000, 1, {1}},
      {60000, 1000, {1000}},
      {60000, 1001, {1001}},
      {60000, 5500, {5500}},
      {60000, kMost, {kMost}},
      {60000, kMost + 1, {kMost + 1}},
      {60000, kLimit - 100, {kLimit - 100}},
      {60000, kLimit - 99, {kMost, kLimit - 99 - kMost}},
      {60000, 45500, {kMost, kMost, 45500 - 2 * kMost}},
      {5500, 9000, {5000}},
      {1999, 9000, {1000}},
  };
  for (const Row& row : rows) {
    Open c(row.window);
    std::vector<uint32_t> packets;
    for (const SentSegment& sent : c.Send(row.text)) {
      packets.push_back(sent.length);
      EXPECT_EQ(sent.intent.segment_size, sent.length > 1000 ? 1000u : 0u);
    }
    EXPECT_EQ(packets, row.packets) << row.window << " " << row.text;
  }
}

TEST(TcpSegmentation, GivenNoLimitWhenSentThenASegmentAPacket) {
  for (const uint32_t limit : {0u, 1100u, 1099u}) {
    Options options = PlainOptions();
    options.segmentation_limit = limit;
    Open c(60000, options);
    const std::vector<SentSegment> all = c.Send(5000);
    ASSERT_EQ(all.size(), 5u) << limit;
    for (const SentSegment& sent : all) EXPECT_EQ(sent.length, 1000u) << limit;
  }
}

TEST(TcpSegmentation, GivenNagleWhenSentThenTheSmallRestWaits) {
  Options options = SegmentingOptions();
  options.nagle = true;
  Open c(60000, options);
  const std::vector<SentSegment> sent = c.Send(5500);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].length, 5000u);
}

TEST(TcpSegmentation, GivenPacingWhenSentThenAPacketIsWhatLeavesInAMillisecond) {
  struct Row {
    uint32_t window, round_trip_ms, packet;
  };
  // Twice the window a round trip, in slow start.
  const Row rows[] = {{30000, 20, 3000}, {30000, 15, 4000}, {30000, 100, 1000}, {30000, 1, kMost}};
  for (const Row& row : rows) {
    Options options = SegmentingOptions();
    options.pacing = true;
    Open c(row.window, options);
    c.tcb.rtt.srtt_us = row.round_trip_ms * 1000 << 3;
    const std::vector<SentSegment> sent = c.Send(30000);
    ASSERT_FALSE(sent.empty());
    EXPECT_EQ(sent[0].length, row.packet) << row.round_trip_ms;
  }
}

TEST(TcpSegmentation, GivenUrgentTextWhenSentThenASegmentAPacket) {
  Open urgent(60000);
  ExtendSend(urgent.tcb, 5000);
  MarkUrgent(urgent.tcb);
  const std::vector<SentSegment> all = urgent.Drain();
  ASSERT_EQ(all.size(), 5u);
  for (uint32_t i = 0; i < 5; ++i) EXPECT_EQ(all[i].header.urgent_pointer, 5000 - 1000 * i);
}

TEST(TcpSegmentation, GivenATimeoutWhenRepeatedThenASegmentAPacket) {
  Open c(60000);
  ASSERT_EQ(c.Send(9000).size(), 1u);
  c.AdvanceTo(c.tcb.retransmit_deadline);
  const std::vector<SentSegment> repeats = c.Drain();
  ASSERT_EQ(repeats.size(), 1u);
  EXPECT_EQ(repeats[0].length, 1000u);
  EXPECT_EQ(repeats[0].intent.segment_size, 0u);
}

TEST(TcpSegmentation, GivenALostTailWhenProbedThenWithTheLastSegmentOfThePacket) {
  Options options = SegmentingOptions();
  options.sack = true;
  Connection c(options);
  c.peer_sack = true;
  c.Establish();
  c.tcb.cwnd = 60000;
  const SequenceNumber start = c.tcb.snd.nxt;
  ASSERT_EQ(c.Send(9000).size(), 1u);
  ASSERT_NE(c.tcb.tail_probe.deadline, kNever);
  c.AdvanceTo(c.tcb.tail_probe.deadline);
  const std::vector<SentSegment> probe = c.Drain();
  ASSERT_EQ(probe.size(), 1u);
  EXPECT_EQ(probe[0].header.sequence, start + 8000);
  EXPECT_EQ(probe[0].length, 1000u);
}

}  // namespace
}  // namespace qpip::tcp::testing
