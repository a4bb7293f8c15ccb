// Congestion control without SACK: RFC 5681 and RFC 6582.
#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Setup kThousand = {.bench = {.rto_min = seconds(1), .parameters = "congestion=reno"},
                         .peer = {.mss = 1000}};

void AckUpTo(Script& s, uint32_t acknowledgement) {
  TcpSegment ack = s.peer.Segment(kAck);
  ack.acknowledgement = acknowledgement;
  s.Injects(ack);
}

/// Ten segments of 1000 bytes in flight, of as many bytes as given.
void Flight(Script& s, size_t bytes = 100'000) {
  s.Accept();
  s.connection->Send(Pattern(bytes));
  ExpectEqual(s.Drain(), 10, "segments of the initial window");
}

void InitialWindowIsTenSegments() {
  Script s(kThousand);
  Flight(s);
  ExpectEqual(s.connection->Info().cwnd, 10'000u, "cwnd");
  Script large({.bench = {.parameters = "congestion=reno"}, .peer = {.mss = 1440}});
  large.Accept();
  large.connection->Send(Pattern(100'000));
  Expect(large.Drain() <= 10, "more than ten segments");
}

void SlowStartDoublesARoundTrip() {
  Script s(kThousand);
  Flight(s);
  s.bench.Advance(milliseconds(50));
  for (uint32_t ack = 1001; ack <= 10'001; ack += 1000) {
    AckUpTo(s, ack);
    Expect(s.Drain() <= 2, "more than one segment an ACK beside what left the network");
  }
  ExpectEqual(s.connection->Info().cwnd, 20'000u, "cwnd after a round trip");
}

void CongestionAvoidanceAddsASegmentARoundTrip() {
  Script s(kThousand);
  Flight(s);
  s.bench.StepUntil(seconds(1));  // a time-out leaves ssthresh behind
  s.Drain();
  AckUpTo(s, 10'001);
  uint32_t acknowledged = 10'001;
  for (int i = 0; i < 200 && s.connection->Info().cwnd < s.connection->Info().ssthresh; ++i) {
    s.bench.Advance(milliseconds(50));
    s.Drain();
    AckUpTo(s, acknowledged = s.peer.next_ack);
  }
  // Full use of cwnd, in steps of one segment acknowledged at a time, for a whole round trip.
  s.bench.Advance(milliseconds(50));
  s.Drain();
  const uint32_t before = s.connection->Info().cwnd;
  const uint32_t end = s.peer.next_ack;
  while (acknowledged < end) {
    AckUpTo(s, acknowledged += 1000);
    s.bench.StepUntilIdle();
  }
  const uint32_t grown = s.connection->Info().cwnd - before;
  Expect(grown > 0 && grown <= 2000, "cwnd grew by " + std::to_string(grown));
}

void TimeoutReducesToOneSegment() {
  Script s(kThousand);
  Flight(s);
  s.SendsAt(seconds(1), ". 1:1001(1000)");
  s.Silent();
  const testbench::TcpInfo info = s.connection->Info();
  ExpectEqual(info.cwnd, 1000u, "cwnd");
  ExpectEqual(info.ssthresh, 5000u, "ssthresh");
}

void CubicIsTheDefault() {
  Script s({.bench = {.rto_min = seconds(1)}, .peer = {.mss = 1000}});
  Flight(s);
  s.SendsAt(seconds(1), ". 1:1001(1000)");
  // RFC 9438 4.6: beta is 0.7; here in units of 1/1024.
  const uint32_t ssthresh = s.connection->Info().ssthresh;
  Expect(ssthresh >= 6990 && ssthresh <= 7010, "ssthresh is " + std::to_string(ssthresh));
}

void SecondTimeoutLeavesSsthresh() {
  Script s(kThousand);
  Flight(s);
  s.bench.StepUntil(seconds(1));
  const uint32_t ssthresh = s.connection->Info().ssthresh;
  s.bench.StepUntil(seconds(3));
  ExpectEqual(s.connection->Info().ssthresh, ssthresh, "ssthresh");
}

void ThirdDuplicateAckRetransmits() {
  Script s(kThousand);
  Flight(s, 10'000);
  AckUpTo(s, 1);
  AckUpTo(s, 1);
  s.Silent();
  AckUpTo(s, 1);
  s.Sends(". 1:1001(1000)");
}

void FirstDuplicateAcksLetNewSegmentsOut() {
  Script s(kThousand);
  Flight(s);
  AckUpTo(s, 1);
  s.Sends(". 10001:11001(1000)");
  AckUpTo(s, 1);
  s.Sends(". 11001:12001(1000)");
  s.Silent();
  ExpectEqual(s.connection->Info().cwnd, 10'000u, "cwnd");
}

void RecoveryEndsAtHalfTheFlight() {
  Script s(kThousand);
  Flight(s, 10'000);
  for (int i = 0; i < 9; ++i) AckUpTo(s, 1);
  s.Drain();
  ExpectEqual(s.connection->Info().ssthresh, 5000u, "ssthresh");
  AckUpTo(s, 10'001);
  const uint32_t cwnd = s.connection->Info().cwnd;
  Expect(cwnd <= 5000, "cwnd is " + std::to_string(cwnd));
}

void PartialAckRetransmitsTheNextHole() {
  Script s(kThousand);
  Flight(s, 10'000);
  for (int i = 0; i < 3; ++i) AckUpTo(s, 1);
  s.Sends(". 1:1001(1000)");
  AckUpTo(s, 4001);
  s.Sends(". 4001:5001(1000)");
  AckUpTo(s, 7001);
  s.Sends(". 7001:8001(1000)");
}

void FullAckEndsTheRecovery() {
  Script s(kThousand);
  Flight(s, 20'000);
  for (int i = 0; i < 3; ++i) AckUpTo(s, 1);
  s.Drain();
  const uint32_t sent = s.peer.next_ack;
  AckUpTo(s, sent);
  s.Drain();
  // New duplicates are a new loss.
  for (int i = 0; i < 3; ++i) AckUpTo(s, sent);
  s.bench.StepUntilIdle();
  bool again = false;
  while (const std::optional<TcpSegment> segment = s.peer.Take())
    again |= segment->sequence == sent;
  Expect(again, "no fast retransmit after the recovery");
}

void DuplicatesAfterATimeoutStartNothing() {
  Script s(kThousand);
  Flight(s, 10'000);
  s.SendsAt(seconds(1), ". 1:1001(1000)");
  for (int i = 0; i < 5; ++i) AckUpTo(s, 1);
  s.Silent();
}

void IdleRestartsFromTheInitialWindow() {
  Script s(kThousand);
  Flight(s, 40'000);
  for (int i = 0; i < 20 && s.connection->SendsOutstanding() != 0; ++i) {
    s.peer.Ack();
    s.Drain();
  }
  Expect(s.connection->Info().cwnd > 10'000, "cwnd has not grown");
  s.bench.Advance(seconds(10));
  s.connection->Send(Pattern(60'000));
  ExpectEqual(s.Drain(), 10, "segments after idleness");
}

}  // namespace

Topic CongestionTopic() {
  return {"Congestion",
          {
              {"initial_window_is_ten_segments", {"RFC 5681 3.1-1"}, InitialWindowIsTenSegments},
              {"slow_start_doubles_a_round_trip",
               {"RFC 5681 3.1-2", "RFC 9293 MUST-19"},
               SlowStartDoublesARoundTrip},
              {"congestion_avoidance_adds_a_segment_a_round_trip",
               {"RFC 5681 3.1-3", "RFC 9293 MUST-19"},
               CongestionAvoidanceAddsASegmentARoundTrip},
              {"timeout_reduces_to_one_segment", {"RFC 5681 3.1-4"}, TimeoutReducesToOneSegment},
              {"cubic_is_the_default", {"RFC 9293 MAY-18"}, CubicIsTheDefault},
              {"second_timeout_leaves_ssthresh", {"RFC 5681 3.1-5"}, SecondTimeoutLeavesSsthresh},
              {"third_duplicate_ack_retransmits", {"RFC 5681 3.2-1"}, ThirdDuplicateAckRetransmits},
              {"first_duplicate_acks_let_new_segments_out",
               {"RFC 5681 3.2-2"},
               FirstDuplicateAcksLetNewSegmentsOut},
              {"recovery_ends_at_half_the_flight", {"RFC 5681 3.2-3"}, RecoveryEndsAtHalfTheFlight},
              {"partial_ack_retransmits_the_next_hole",
               {"RFC 6582 3.2-3"},
               PartialAckRetransmitsTheNextHole},
              {"full_ack_ends_the_recovery", {"RFC 6582 3.2-4"}, FullAckEndsTheRecovery},
              {"duplicates_after_a_timeout_start_nothing",
               {"RFC 6582 3.2-1"},
               DuplicatesAfterATimeoutStartNothing},
              {"idle_restarts_from_the_initial_window",
               {"RFC 5681 4.1"},
               IdleRestartsFromTheInitialWindow},
          }};
}

}  // namespace qpip::conformance
