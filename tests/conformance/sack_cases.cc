// Selective acknowledgements and what is made of them: RFC 2018, RFC 2883, RFC 8985.
#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testbench::SackRange;

const Setup kSack = {.peer = {.mss = 1000, .sack_permitted = true}, .round_trip = milliseconds(20)};

void Ahead(Script& s, uint32_t start, size_t bytes) {
  TcpSegment segment = s.peer.Segment(kAck, Pattern(bytes));
  segment.sequence = start;
  s.Injects(segment);
}

void ExpectSack(const TcpSegment& segment, const std::vector<SackRange>& expected) {
  Expect(segment.sack == expected, "SACK of " + testbench::ToString(segment));
}

/// Ten segments of 1000 bytes in flight for 20 ms, which is the round trip measured before.
void Flight(Script& s, size_t bytes = 10'000) {
  s.Accept();
  s.connection->Send(Pattern(bytes));
  ExpectEqual(s.Drain(), 10, "segments of the initial window");
  s.bench.Advance(milliseconds(20));
}

constexpr uint32_t kStart = 1;  // of the first of the ten

void Sack(Script& s, std::vector<SackRange> ranges, uint32_t acknowledgement = kStart) {
  TcpSegment ack = s.peer.Segment(kAck);
  ack.acknowledgement = acknowledgement;
  ack.sack = std::move(ranges);
  s.Injects(ack);
}

/// The range of segments [first, end) of the ten.
SackRange Segments(uint32_t first, uint32_t end) {
  return {kStart + 1000 * first, kStart + 1000 * end};
}

void SackOnlyWhenBothPermit() {
  Script with(kSack);
  with.Listen();
  with.peer.Syn();
  Expect(with.Next().sack_permitted, "not permitted in answer");
  Script without;
  without.Listen();
  without.peer.Syn();
  Expect(!without.Next().sack_permitted, "permitted though not offered");
  without.peer.Ack();
  Ahead(without, 101, 10);
  const TcpSegment ack = without.Next();
  Expect(ack.sack.empty() && !ack.sack_permitted, "SACK though not offered");
}

void FirstBlockIsTheLatest() {
  Script s(kSack);
  s.Accept();
  Ahead(s, 1001, 100);
  ExpectSack(s.Next(), {{1001, 1101}});
  Ahead(s, 501, 100);
  ExpectSack(s.Next(), {{501, 601}, {1001, 1101}});
  Ahead(s, 1101, 100);
  ExpectSack(s.Next(), {{1001, 1201}, {501, 601}});
}

void AsManyBlocksAsFit() {
  Script s(kSack);
  s.Accept();
  for (uint32_t i = 1; i <= 6; ++i) {
    Ahead(s, 1 + 200 * i, 100);
    ExpectEqual(s.Next().sack.size(), std::min<size_t>(i, 4), "blocks");
  }
  Script stamped({.peer = {.sack_permitted = true, .timestamps = true}});
  stamped.Accept();
  for (uint32_t i = 1; i <= 5; ++i) {
    Ahead(stamped, 1 + 200 * i, 100);
    ExpectEqual(stamped.Next().sack.size(), std::min<size_t>(i, 3), "blocks beside timestamps");
  }
}

void SackedSegmentsAreNotSentAgain() {
  Script s(kSack);
  Flight(s);
  Sack(s, {Segments(1, 2)});
  Sack(s, {Segments(1, 4)});
  Sack(s, {Segments(6, 9), Segments(1, 4)});
  std::vector<uint32_t> again;
  while (const std::optional<TcpSegment> segment = s.peer.Wait(milliseconds(20))) {
    again.push_back((segment->sequence - kStart) / 1000);
  }
  Expect(again == std::vector<uint32_t>({0, 4, 5}), "not just the holes are sent again");
}

void TimeoutSendsSndUnaAgain() {
  Script s(kSack);
  Flight(s);
  Sack(s, {Segments(1, 2)});
  std::optional<TcpSegment> segment;
  const Time before = s.bench.Now();
  while ((segment = s.peer.Wait(seconds(2)))) {
    if (s.Counter("tcp_retransmission_timeouts") > 0) break;
  }
  Expect(segment && segment->sequence == kStart && s.bench.Now() > before,
         "SND.UNA is not sent again");
}

void DuplicateIsToldOnce() {
  Script s(kSack);
  s.Accept();
  s.peer.Data(Pattern(100));
  s.Drain();
  Ahead(s, 1, 100);
  const TcpSegment ack = s.Next();
  ExpectEqual(ack.acknowledgement, 101u, "ACK");
  ExpectSack(ack, {{1, 101}});
  Ahead(s, 201, 100);
  ExpectSack(s.Next(), {{201, 301}});
}

void DuplicateOfAHeldSegmentIsTold() {
  Script s(kSack);
  s.Accept();
  Ahead(s, 201, 200);
  s.Drain();
  Ahead(s, 201, 100);
  ExpectSack(s.Next(), {{201, 301}, {201, 401}});
}

/// The first of the ten is missing, the next three arrive one by one.
void SackThreeTimes(Script& s) {
  for (uint32_t end = 2; end <= 4; ++end) Sack(s, {Segments(1, end)});
}

void ThreeSackedOneByOneMeanLoss() {
  Script s(kSack);
  Flight(s);
  SackThreeTimes(s);
  s.Sends(". 1:1001(1000)");
}

void ThreeSackedAtOnceMeanLoss() {
  Script s(kSack);
  Flight(s);
  Sack(s, {Segments(1, 4)});
  s.Sends(". 1:1001(1000)");
}

void OneSackWaitsForReordering() {
  Script s(kSack);
  Flight(s);
  Sack(s, {Segments(1, 2)});
  s.Silent();
  const Time sacked = s.bench.Now();
  const std::optional<TcpSegment> again = s.peer.Wait(milliseconds(20));
  Expect(again && again->sequence == kStart, "the hole is not sent again within a round trip");
  Expect(s.peer.TakenAt() > sacked, "it was sent at once");
}

void LostRetransmissionIsFound() {
  Script s(kSack);
  Flight(s, 30'000);
  SackThreeTimes(s);
  bool first = false;
  while (const std::optional<TcpSegment> segment = s.peer.Take())
    first |= segment->sequence == kStart;
  Expect(first, "the hole is not sent again");
  // A round trip later everything sent after the retransmission arrives, but not it.
  s.bench.Advance(milliseconds(20));
  Sack(s, {Segments(1, 10)});
  s.Drain();
  s.bench.Advance(milliseconds(20));
  const uint32_t sent = (s.peer.next_ack - kStart) / 1000;
  Expect(sent > 10, "nothing new was sent during the recovery");
  Sack(s, {Segments(1, sent)});
  bool again = false;
  while (const std::optional<TcpSegment> segment = s.peer.Wait(milliseconds(25))) {
    again |= segment->sequence == kStart;
  }
  Expect(again, "the lost retransmission is not sent again");
  ExpectEqual(s.Counter("tcp_retransmission_timeouts"), 0u, "time-outs");
}

void TailIsProbed() {
  Script s(kSack);
  s.Accept();
  const Time sent = s.bench.Now();
  s.connection->Send(Pattern(3000));
  ExpectEqual(s.Drain(), 3, "segments");
  const std::optional<TcpSegment> probe = s.peer.Wait(seconds(1));
  Expect(probe && probe->sequence == 2001, "the probe is not the last segment");
  const Time after = s.peer.TakenAt() - sent;
  Expect(after >= milliseconds(40) && after <= milliseconds(50),
         "the probe is not after two round trips");
  ExpectEqual(s.Counter("tcp_retransmission_timeouts"), 0u, "time-outs");
}

void ProbeTakesTheTimeOutsPlace() {
  Script s(kSack);
  s.Accept();
  for (uint32_t acked = 101; acked < 2000; acked += 100) {  // a calm path
    s.connection->Send(Pattern(100));
    s.Drain();
    s.bench.Advance(milliseconds(20));
    Sack(s, {}, acked);
  }
  const uint32_t window = s.connection->Info().cwnd;
  const Time rto = s.connection->Info().rto;
  const Time sent = s.bench.Now();
  s.connection->Send(Pattern(100));
  ExpectEqual(s.Drain(), 1, "segments");
  const std::optional<TcpSegment> probe = s.peer.Wait(seconds(1));
  Expect(probe && probe->payload.size() == 100, "nothing is probed");
  Expect(s.peer.TakenAt() - sent <= rto, "the probe is later than the time-out");
  ExpectEqual(s.Counter("tcp_retransmission_timeouts"), 0u, "time-outs");
  ExpectEqual(s.connection->Info().cwnd, window, "cwnd");
}

void OvertakenAckIsRead() {
  Script s(kSack);
  Flight(s);
  Sack(s, {Segments(7, 8)}, kStart + 3000);
  Sack(s, {Segments(4, 6)}, kStart + 2000);
  Sack(s, {}, kStart + 4000);
  while (const std::optional<TcpSegment> segment = s.peer.Wait(milliseconds(100))) {
    const bool held = segment->sequence >= kStart + 4000 && segment->sequence < kStart + 6000;
    Expect(!held, "what the peer holds is sent again");
  }
}

void ProbeIsNewDataIfThereIsAny() {
  Script s(kSack);
  s.Accept();
  s.connection->Send(Pattern(20'000));
  ExpectEqual(s.Drain(), 10, "segments of the initial window");
  const std::optional<TcpSegment> probe = s.peer.Wait(seconds(1));
  Expect(probe && probe->sequence == 10'001, "the probe is not new data");
}

/// Three segments of which the last is probed, and a round trip after that.
void ProbeTail(Script& s) {
  s.Accept();
  s.connection->Send(Pattern(3000));
  ExpectEqual(s.Drain(), 3, "segments");
  const std::optional<TcpSegment> probe = s.peer.Wait(seconds(1));
  Expect(probe && probe->sequence == 2001, "no probe");
  s.bench.Advance(milliseconds(20));
}

/// One segment more, and its ACK: the first beyond the probe. Answers ssthresh.
uint32_t ThresholdAfterOneMore(Script& s, uint32_t sequence) {
  s.connection->Send(Pattern(1000));
  ExpectEqual(s.Drain(), 1, "segments");
  s.bench.Advance(milliseconds(20));
  Sack(s, {}, sequence + 1000);
  return s.connection->Info().ssthresh;
}

void RecoveryForgetsTheProbe() {
  Script s(kSack);
  s.Accept();
  s.connection->Send(Pattern(10'000));
  ExpectEqual(s.Drain(), 10, "segments of the initial window");
  Expect(s.peer.Wait(seconds(1)).has_value(), "no probe");
  s.bench.Advance(milliseconds(20));
  Sack(s, {Segments(1, 10)});
  Expect(s.peer.Wait(milliseconds(20)).has_value(), "the hole is not sent again");
  const uint32_t threshold = s.connection->Info().ssthresh;
  s.bench.Advance(milliseconds(20));
  Sack(s, {}, 10'001);
  ExpectEqual(ThresholdAfterOneMore(s, 10'001), threshold, "ssthresh");
}

void ProbeNeedsAMeasurement() {
  Script s(kSack);  // without timestamps, which would measure what was sent twice
  s.Accept();
  s.connection->Send(Pattern(100));
  ExpectEqual(s.Drain(), 1, "segments");
  while (s.Counter("tcp_retransmission_timeouts") == 0) {
    Expect(s.peer.Wait(seconds(10)).has_value(), "neither probe nor time-out");
  }
  Sack(s, {}, 101);
  s.connection->Send(Pattern(100));
  ExpectEqual(s.Drain(), 1, "segments");
  Expect(s.peer.Wait(seconds(10)).has_value(), "no time-out");
  ExpectEqual(s.Counter("tcp_retransmission_timeouts"), 2u, "time-outs");
}

void LossThatTheProbeRepairedCounts() {
  Script s(kSack);
  ProbeTail(s);
  const uint32_t threshold = s.connection->Info().ssthresh;
  Sack(s, {}, 3001);
  Expect(ThresholdAfterOneMore(s, 3001) < threshold, "ssthresh stays");
}

void ProbeInVainIsNoLoss() {
  Script reported(kSack);
  ProbeTail(reported);
  const uint32_t threshold = reported.connection->Info().ssthresh;
  Sack(reported, {{2001, 3001}}, 3001);
  ExpectEqual(ThresholdAfterOneMore(reported, 3001), threshold, "ssthresh after a D-SACK");
  Script twice(kSack);
  ProbeTail(twice);
  Sack(twice, {}, 3001);
  Sack(twice, {}, 3001);
  ExpectEqual(ThresholdAfterOneMore(twice, 3001), threshold, "ssthresh after two ACKs");
}

}  // namespace

Topic SackTopic() {
  return {
      "Sack",
      {
          {"sack_only_when_both_permit", {"RFC 2018 2-1"}, SackOnlyWhenBothPermit},
          {"first_block_is_the_latest", {"RFC 2018 4-1", "RFC 2018 4-2"}, FirstBlockIsTheLatest},
          {"as_many_blocks_as_fit", {"RFC 2018 4-2"}, AsManyBlocksAsFit},
          {"sacked_segments_are_not_sent_again", {"RFC 2018 5-1"}, SackedSegmentsAreNotSentAgain},
          {"timeout_sends_snd_una_again", {"RFC 2018 8-1"}, TimeoutSendsSndUnaAgain},
          {"duplicate_is_told_once", {"RFC 2883 4-1", "RFC 2883 4-2"}, DuplicateIsToldOnce},
          {"duplicate_of_a_held_segment_is_told", {"RFC 2883 4-3"}, DuplicateOfAHeldSegmentIsTold},
          {"three_sacked_one_by_one_mean_loss", {"RFC 8985 6.2-1"}, ThreeSackedOneByOneMeanLoss},
          {"three_sacked_at_once_mean_loss", {"RFC 8985 6.2-1"}, ThreeSackedAtOnceMeanLoss},
          {"one_sack_waits_for_reordering", {"RFC 8985 6.2-2"}, OneSackWaitsForReordering},
          {"lost_retransmission_is_found", {"RFC 8985 6.2-3"}, LostRetransmissionIsFound},
          {"tail_is_probed", {"RFC 8985 7.2-1", "RFC 8985 7.3-1"}, TailIsProbed},
          {"probe_takes_the_time_outs_place", {"RFC 8985 7.2-2"}, ProbeTakesTheTimeOutsPlace},
          {"recovery_forgets_the_probe", {"RFC 8985 7.1-1"}, RecoveryForgetsTheProbe},
          {"probe_needs_a_measurement", {"RFC 8985 7.3-2"}, ProbeNeedsAMeasurement},
          {"loss_that_the_probe_repaired_counts",
           {"RFC 8985 7.4-1"},
           LossThatTheProbeRepairedCounts},
          {"probe_in_vain_is_no_loss", {"RFC 8985 7.4-2"}, ProbeInVainIsNoLoss},
          {"overtaken_ack_is_read", {"RFC 6675 5-1"}, OvertakenAckIsRead},
          {"probe_is_new_data_if_there_is_any", {"RFC 8985 7.3-1"}, ProbeIsNewDataIfThereIsAny},
      }};
}

}  // namespace qpip::conformance
