// The retransmission timer (RFC 6298), and when a connection is given up.
#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kData[] = "P. 1:101(100) ack 1";

/// A round trip of `rtt` for 100 bytes.
void RoundTrip(Script& s, Time rtt) {
  s.connection->Send(Pattern(100));
  s.Next();
  s.bench.Advance(rtt);
  s.peer.Ack();
  s.bench.StepUntilIdle();
}

void FirstSynTimeoutIsOneSecond() {
  Script s({.peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  s.Sends("S 0:0(0)");
  s.SendsAt(seconds(1), "S 0:0(0)");
  s.SendsAt(seconds(3), "S 0:0(0)");
}

void FirstMeasurement() {
  Script s({.bench = {.rto_min = milliseconds(1)}, .peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  s.Sends("S 0:0(0)");
  s.bench.Advance(milliseconds(100));
  s.peer.next_ack = 1;
  s.peer.SynAck();
  s.Drain();
  const testbench::TcpInfo info = s.connection->Info();
  Expect(info.srtt == milliseconds(100), "SRTT is not the measurement");
  Expect(info.rttvar == milliseconds(50), "RTTVAR is not half of it");
  Expect(info.rto == milliseconds(300), "RTO is not SRTT + 4 RTTVAR");
  s.connection->Send(Pattern(100));
  s.Sends(kData);
  s.SendsAt(milliseconds(400), kData);
}

void LaterMeasurementsAreSmoothed() {
  Script s({.bench = {.rto_min = milliseconds(1)}, .peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  s.Sends("S 0:0(0)");
  s.bench.Advance(milliseconds(100));
  s.peer.next_ack = 1;
  s.peer.SynAck();
  s.Drain();
  RoundTrip(s, milliseconds(180));
  const testbench::TcpInfo info = s.connection->Info();
  // RTTVAR = 3/4 * 50 + 1/4 * |100 - 180|, SRTT = 7/8 * 100 + 1/8 * 180
  Expect(info.rttvar == std::chrono::microseconds(57500), "RTTVAR");
  Expect(info.srtt == milliseconds(110), "SRTT");
  Expect(info.rto == milliseconds(340), "RTO");
}

void RtoHasAFloorOfOneSecond() {
  Script s;
  s.Accept();
  RoundTrip(s, milliseconds(1));
  Expect(s.connection->Info().rto >= seconds(1), "the RTO is below 1 s");
}

void RtoFloorIsConfigured() {
  Script s({.bench = {.rto_min = seconds(1)}});
  s.Accept();
  RoundTrip(s, milliseconds(1));
  const Time rto = s.connection->Info().rto;
  Expect(rto > seconds(1) && rto < milliseconds(1100), "the RTO is not 1 s and the RTT");
}

void RtoIsBoundedBySixtySeconds() {
  Script s({.bench = {.user_timeout = seconds(1000)}});
  s.Accept();
  s.connection->Send(Pattern(100));
  s.Sends(kData);
  Time last{0};
  Time longest{0};
  while (s.peer.Wait(seconds(200))) {
    longest = std::max(longest, s.peer.TakenAt() - last);
    last = s.peer.TakenAt();
  }
  Expect(longest == seconds(60), "the longest interval is not 60 s");
}

void BackOffDoubles() {
  Script s({.bench = {.rto_min = seconds(1)}});
  s.Accept();
  s.connection->Send(Pattern(100));
  s.Sends(kData);
  s.SendsAt(seconds(1), kData);
  s.SendsAt(seconds(3), kData);
  s.SendsAt(seconds(7), kData);
  s.SendsAt(seconds(15), kData);
}

void RetransmittedSegmentIsNotMeasured() {
  Script s({.bench = {.rto_min = seconds(1)}});
  s.Accept();
  const Time before = s.connection->Info().srtt;
  s.connection->Send(Pattern(100));
  s.Sends(kData);
  s.SendsAt(seconds(1), kData);
  s.bench.Advance(milliseconds(900));
  s.peer.Ack();
  Expect(s.connection->Info().srtt == before, "the round trip of a retransmission is measured");
  // The time-out stays backed off until there is a measurement.
  s.connection->Send(Pattern(100));
  s.Sends("P. 101:201(100)");
  s.SilentUntil(s.bench.Now() + seconds(2) - Time(1));
  s.bench.Advance(Time(1));
  s.Sends("P. 101:201(100)");
}

void TimerStartsAgainWithEachAck() {
  Script s({.bench = {.rto_min = seconds(1)}, .peer = {.mss = 1000}});
  s.Accept();
  s.connection->Send(Pattern(3000));
  s.Drain();
  s.bench.Advance(milliseconds(600));
  TcpSegment ack = s.peer.Segment(kAck);
  ack.acknowledgement = 1001;
  s.Injects(ack);
  s.bench.StepUntilIdle();
  const Time rto = s.connection->Info().rto;
  s.SilentUntil(milliseconds(600) + rto - Time(1));
  s.bench.Advance(Time(1));
  s.Sends(". 1001:2001(1000)");
}

void TimerStopsWhenAllIsAcknowledged() {
  Script s;
  s.Accept();
  RoundTrip(s, milliseconds(10));
  s.SilentUntil(seconds(3600));
  ExpectEqual(s.Counter("tcp_retransmission_timeouts"), 0u, "time-outs");
}

void EarliestSegmentIsSentAgain() {
  Script s({.bench = {.rto_min = seconds(1)}, .peer = {.mss = 1000}});
  s.Accept();
  s.connection->Send(Pattern(3000));
  s.Drain();
  s.SendsAt(seconds(1), ". 1:1001(1000)");
  s.Silent();
}

void LostSynLeavesThreeSeconds() {
  Script s({.peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  s.Sends("S 0:0(0)");
  s.SendsAt(seconds(1), "S 0:0(0)");
  s.peer.next_ack = 1;
  s.peer.SynAck();
  s.Sends(". 1:1(0)");
  s.connection->Send(Pattern(100));
  s.Sends(kData);
  s.SilentUntil(seconds(4) - Time(1));
  s.bench.StepUntil(seconds(4));
  s.Sends(kData);
}

void UnansweredDataEndsTheConnection() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(100));
  s.bench.Advance(seconds(3600));
  s.State(TcpState::kClosed);
  Expect(s.connection->SendStatus(1) == IBV_WC_RETRY_EXC_ERR, "the send's status");
  Expect(s.connection->Reason() == DisconnectReason::kTimedOut, "the reason");
}

void ThirdTimeoutIsReported() {
  Script s({.bench = {.rto_min = seconds(1)}});
  s.Accept();
  s.connection->Send(Pattern(100));
  s.Sends(kData);
  const auto told = [&] { return s.connection->TakeNotices().retransmitting; };
  s.SendsAt(seconds(1), kData);
  s.SendsAt(seconds(3), kData);
  Expect(!told(), "told before the third");
  s.SendsAt(seconds(7), kData);
  Expect(told(), "not told of the third");
  s.SendsAt(seconds(15), kData);
  Expect(!told(), "told twice of one series");
  s.State(TcpState::kEstablished);
}

void ApplicationSetsTheTimeout() {
  for (const int limit : {5, 500}) {
    Script s({.listen = {.tcp = {.user_timeout = seconds(limit)}}});
    s.Accept();
    s.connection->Send(Pattern(100));
    s.bench.Advance(seconds(limit) - milliseconds(1));
    s.State(TcpState::kEstablished);
    s.bench.Advance(seconds(61));
    s.State(TcpState::kClosed);
  }
}

void GivingUpTakes100Seconds() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(100));
  s.bench.Advance(seconds(100) - milliseconds(1));
  s.State(TcpState::kEstablished);
}

void SynIsGivenUp() {
  Script s({.peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  s.bench.Advance(seconds(3600));
  Expect(s.Drain() > 3, "the SYN is not sent again");
  s.State(TcpState::kClosed);
  Expect(s.connection->Reason() == DisconnectReason::kTimedOut, "the reason");
}

void SynIsRepeatedForThreeMinutes() {
  Script s({.peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  s.bench.Advance(seconds(180) - milliseconds(1));
  s.State(TcpState::kSynSent);
}

void SynTimeoutIsConfigured() {
  Script s({.bench = {.connect_timeout = seconds(180)}, .peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  s.bench.Advance(seconds(180) - milliseconds(1));
  s.State(TcpState::kSynSent);
  s.bench.Advance(seconds(61));
  s.State(TcpState::kClosed);
}

void SynAckIsSentAgain() {
  Script s;
  s.Listen();
  s.peer.Syn();
  s.Sends("S. 0:0(0) ack 1");
  s.SendsAt(seconds(1), "S. 0:0(0) ack 1");
  s.SendsAt(seconds(3), "S. 0:0(0) ack 1");
}

}  // namespace

Topic RetransmissionTopic() {
  return {
      "Retransmission",
      {
          {"first_syn_timeout_is_one_second",
           {"RFC 6298 2.1", "RFC 9293 MUST-22"},
           FirstSynTimeoutIsOneSecond},
          {"syn_ack_is_sent_again", {"RFC 9293 MUST-22"}, SynAckIsSentAgain},
          {"first_measurement", {"RFC 6298 2.2"}, FirstMeasurement},
          {"later_measurements_are_smoothed", {"RFC 6298 2.3"}, LaterMeasurementsAreSmoothed},
          {"rto_has_a_floor_of_one_second",
           {"RFC 6298 2.4"},
           RtoHasAFloorOfOneSecond,
           "the default is 200 ms"},
          {"rto_floor_is_configured", {"RFC 6298 2.4"}, RtoFloorIsConfigured},
          {"rto_is_bounded_by_sixty_seconds", {"RFC 6298 2.5"}, RtoIsBoundedBySixtySeconds},
          {"back_off_doubles", {"RFC 6298 5.5", "RFC 9293 MUST-19"}, BackOffDoubles},
          {"retransmitted_segment_is_not_measured",
           {"RFC 9293 MUST-18", "RFC 6298 3"},
           RetransmittedSegmentIsNotMeasured},
          {"timer_starts_again_with_each_ack", {"RFC 6298 5.1-5.3"}, TimerStartsAgainWithEachAck},
          {"timer_stops_when_all_is_acknowledged",
           {"RFC 6298 5.1-5.3"},
           TimerStopsWhenAllIsAcknowledged},
          {"earliest_segment_is_sent_again", {"RFC 6298 5.4"}, EarliestSegmentIsSentAgain},
          {"lost_syn_leaves_three_seconds", {"RFC 6298 5.7"}, LostSynLeavesThreeSeconds},
          {"unanswered_data_ends_the_connection",
           {"RFC 9293 MUST-20"},
           UnansweredDataEndsTheConnection},
          {"third_timeout_is_reported",
           {"RFC 9293 MUST-47", "RFC 9293 SHLD-9", "RFC 9293 SHLD-10"},
           ThirdTimeoutIsReported},
          {"application_sets_the_timeout", {"RFC 9293 MUST-21"}, ApplicationSetsTheTimeout},
          {"giving_up_takes_100_seconds", {"RFC 9293 SHLD-11"}, GivingUpTakes100Seconds},
          {"syn_is_given_up", {"RFC 9293 MUST-22"}, SynIsGivenUp},
          {"syn_is_repeated_for_three_minutes", {"RFC 9293 MUST-23"}, SynIsRepeatedForThreeMinutes},
          {"syn_timeout_is_configured", {"RFC 9293 MUST-23"}, SynTimeoutIsConfigured},
      }};
}

}  // namespace qpip::conformance
