// Window scale, timestamps and PAWS: RFC 7323.
#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

const Setup kStamped = {.peer = {.timestamps = true}};

void ScalingNeedsBothSyns() {
  Script without({.listen = {.tcp = {.receive_buffer = 1u << 20}}});
  without.Listen();
  without.peer.Syn();
  Expect(!without.Next().window_scale, "window scale is answered though it was not offered");

  Script with({.listen = {.tcp = {.receive_buffer = 1u << 20}}, .peer = {.window_scale = 2}});
  with.Accept();
  Expect(with.connection->Info().window_scaling, "not in use");
  with.peer.Data(Pattern(10));
  // Less the receive that the text has taken, of 4096 bytes.
  ExpectEqual(uint32_t{with.Next().window} << 5, (1u << 20) - 4096 - (1u << 5),
              "window at a shift of 5");
}

void WindowOfASynIsNotScaled() {
  Script s({.peer = {.window = 1000, .window_scale = 4}});
  s.Listen();
  s.peer.Syn();
  s.Drain();
  s.peer.Ack();
  s.connection = s.listener->Accept();
  ExpectEqual(s.connection->Info().snd_wnd, 16'000u, "window of the ACK, scaled");
  Script active({.peer = {.port = 7, .window = 1000, .window_scale = 4}});
  active.Connect();
  ExpectEqual(active.connection->Info().snd_wnd, 1000u, "window of the SYN-ACK");
}

void ShiftAbove14CountsAs14() {
  Script s({.peer = {.window = 2, .window_scale = 15}});
  s.Accept();
  ExpectEqual(s.connection->Info().snd_wnd, 2u << 14, "the peer's window");
}

void TimestampsNeedBothSyns() {
  Script without;
  without.Listen();
  without.peer.Syn();
  Expect(!without.Next().timestamps, "timestamps are answered though they were not offered");
  Script with(kStamped);
  with.Listen();
  with.peer.Syn();
  const TcpSegment answer = with.Next();
  Expect(answer.timestamps && answer.timestamps->echo == with.peer.ts_value, "no echo of TSval");
}

void EverySegmentHasTimestamps() {
  Script s(kStamped);
  s.Accept();
  s.peer.Data(Pattern(10));
  Expect(s.Next().timestamps.has_value(), "an ACK");
  s.connection->Send(Pattern(10));
  Expect(s.Next().timestamps.has_value(), "text");
  s.bench.Advance(seconds(1));
  Expect(s.Next().timestamps.has_value(), "a retransmission");
  s.peer.Ack();
  s.connection->ShutdownSend();
  Expect(s.Next().timestamps.has_value(), "a FIN");
}

void SegmentWithoutTimestampsIsDropped() {
  Script s(kStamped);
  s.Accept();
  TcpSegment bare = s.peer.Segment(kAck | kPsh, Pattern(10));
  bare.timestamps.reset();
  s.Injects(bare);
  s.Silent();
  ExpectEqual(s.connection->Available(), 0u, "bytes received");
  s.State(TcpState::kEstablished);
}

void EchoIsOfTheSegmentThatMovedTheEdge() {
  Script s({.bench = {.ack_on_batch_end = false}, .peer = {.timestamps = true}});
  s.Accept();
  s.peer.ts_value = 2000;
  s.peer.Data(Pattern(10));
  s.Silent();
  s.peer.ts_value = 3000;
  s.peer.Data(Pattern(10));
  // Two segments, one ACK: the first of them counts (4.3, case A).
  ExpectEqual(s.Next().timestamps->echo, 2000u, "TSecr");
}

void EchoStaysAtAGap() {
  Script s(kStamped);
  s.Accept();
  s.peer.ts_value = 2000;
  s.peer.Data(Pattern(10));
  s.Drain();
  s.peer.ts_value = 3000;
  TcpSegment ahead = s.peer.Segment(kAck, Pattern(10));
  ahead.sequence += 10;
  s.Injects(ahead);
  ExpectEqual(s.Next().timestamps->echo, 2000u, "TSecr at the gap");
  s.peer.ts_value = 4000;
  s.peer.Data(Pattern(10));
  ExpectEqual(s.Next().timestamps->echo, 4000u, "TSecr when it is filled");
}

void OldTimestampIsDroppedAndAcknowledged() {
  Script s(kStamped);
  s.Accept();
  s.peer.ts_value = 2000;
  s.peer.Data(Pattern(10));
  s.Drain();
  s.peer.ts_value = 1999;
  s.Injects(s.peer.Segment(kAck | kPsh, Pattern(10)));
  s.Sends(". 1:1(0) ack 11");
  ExpectEqual(s.connection->Available(), 10u, "bytes received");
  ExpectEqual(s.Counter("drop.tcp_paws"), 1u, "drops");
}

void ResetHasTimestamps() {
  Script s(kStamped);
  s.Accept();
  s.connection->Abort();
  const TcpSegment reset = s.Next();
  Expect((reset.flags & kRst) != 0 && reset.timestamps.has_value(), "no RST with timestamps");
  Script without;
  without.Accept();
  without.connection->Abort();
  Expect(!without.Next().timestamps.has_value(), "timestamps that were not agreed on");
}

void AnsweringResetEchoesTimestamps() {
  Script s(kStamped);
  s.peer.Syn();  // nobody listens
  const TcpSegment reset = s.Next();
  Expect((reset.flags & kRst) != 0 && reset.timestamps.has_value(), "no RST with timestamps");
}

void ResetIsNotSubjectToPaws() {
  Script s(kStamped);
  s.Accept();
  s.peer.ts_value = 5;
  s.peer.Reset();
  s.State(TcpState::kClosed);
}

void AfterWeeksAnyTimestampIsTaken() {
  Script s(kStamped);
  s.Accept();
  s.peer.ts_value = 2000;
  s.peer.Data(Pattern(10));
  s.Drain();
  s.bench.Advance(hours(24 * 25));
  s.peer.ts_value = 1000;
  s.peer.Data(Pattern(10));
  s.Sends(". 1:1(0) ack 21");
}

void ClockTicksAMillisecond() {
  Script s(kStamped);
  s.Accept();
  s.connection->Send(Pattern(1));
  const uint32_t first = s.Next().timestamps->value;
  s.peer.Ack();
  s.bench.Advance(seconds(100));
  s.connection->Send(Pattern(1));
  const uint32_t ticks = s.Next().timestamps->value - first;
  Expect(ticks >= 100 && ticks <= 100'000, std::to_string(ticks) + " ticks in 100 s");
}

}  // namespace

Topic TimestampTopic() {
  return {
      "Timestamp",
      {
          {"scaling_needs_both_syns", {"RFC 7323 2.2-1"}, ScalingNeedsBothSyns},
          {"window_of_a_syn_is_not_scaled", {"RFC 7323 2.2-2"}, WindowOfASynIsNotScaled},
          {"shift_above_14_counts_as_14", {"RFC 7323 2.3-1"}, ShiftAbove14CountsAs14},
          {"timestamps_need_both_syns", {"RFC 7323 3.2-1"}, TimestampsNeedBothSyns},
          {"reset_has_timestamps", {"RFC 7323 3.2-4"}, ResetHasTimestamps},
          {"answering_reset_echoes_timestamps",
           {"RFC 7323 5.2-1"},
           AnsweringResetEchoesTimestamps,
           "RECOMMENDED for research by the RFC, and not done, as in Linux"},
          {"every_segment_has_timestamps", {"RFC 7323 3.2-2"}, EverySegmentHasTimestamps},
          {"segment_without_timestamps_is_dropped",
           {"RFC 7323 3.2-3"},
           SegmentWithoutTimestampsIsDropped},
          {"echo_is_of_the_segment_that_moved_the_edge",
           {"RFC 7323 4.3-1"},
           EchoIsOfTheSegmentThatMovedTheEdge},
          {"echo_stays_at_a_gap", {"RFC 7323 4.3-2"}, EchoStaysAtAGap},
          {"old_timestamp_is_dropped_and_acknowledged",
           {"RFC 7323 5.3-1"},
           OldTimestampIsDroppedAndAcknowledged},
          {"reset_is_not_subject_to_paws", {"RFC 7323 5.2-2"}, ResetIsNotSubjectToPaws},
          {"after_weeks_any_timestamp_is_taken", {"RFC 7323 5.5-1"}, AfterWeeksAnyTimestampIsTaken},
          {"clock_ticks_a_millisecond", {"RFC 7323 5.4-1"}, ClockTicksAMillisecond},
      }};
}

}  // namespace qpip::conformance
