// Windows of both sides: scaling apart, which is RFC 7323's.
#include <algorithm>

#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

void WindowIsUnsigned() {
  Script s({.peer = {.window = 65535}});
  s.Accept();
  ExpectEqual(s.connection->Info().snd_wnd, 65535u, "the peer's window");
}

void WindowHas32Bits() {
  Script s({.peer = {.window = 65535, .window_scale = 14}});
  s.Accept();
  s.peer.Ack();
  ExpectEqual(s.connection->Info().snd_wnd, 65535u << 14, "the peer's window");
}

void RightEdgeNeverRetracts() {
  Script s({.listen = {.tcp = {.receive_buffer = 8000, .receive_chunk = 1000}}});
  s.Accept();
  uint32_t edge = 1 + 8000;
  const auto look = [&] {
    while (const std::optional<TcpSegment> ack = s.peer.Take()) {
      const uint32_t now = ack->acknowledgement + ack->window;
      Expect(now >= edge,
             "the right edge went from " + std::to_string(edge) + " to " + std::to_string(now));
      edge = now;
    }
  };
  for (int round = 0; round < 40; ++round) {
    const auto room = edge - s.peer.next_sequence;
    s.peer.Data(Pattern(std::min<uint32_t>(room, 37 * (round % 7) + 1)));
    look();
    s.connection->Receive(static_cast<size_t>(round % 5) * 100);
    look();
  }
}

/// Ten segments in flight, the first 1000 bytes of which fit what the peer then allows.
void Shrink(Script& s) {
  s.Accept();
  s.connection->Send(Pattern(20000));
  ExpectEqual(s.Drain(), 10, "segments of the initial window");
  s.peer.next_ack = 1;
  s.peer.window = 1000;
  s.peer.Ack();
}

const Setup kShrinking = {.peer = {.mss = 1000}};

void ShrunkWindowHoldsNewDataBack() {
  Script s(kShrinking);
  Shrink(s);
  s.Silent();
  TcpSegment ack = s.peer.Segment(kAck);
  ack.acknowledgement = 5001;  // what was beyond the window has arrived all the same
  s.Injects(ack);
  s.Silent();
}

void ShrunkWindowIsRepairedWithin() {
  Script s(kShrinking);
  Shrink(s);
  const std::optional<TcpSegment> again = s.peer.Wait(seconds(5));
  Expect(again && again->sequence == 1, "SND.UNA is not sent again");
  Expect(again->payload.size() <= 1000, "more than the window is sent again");
}

void ShrunkWindowDoesNotTimeOut() {
  Script s(kShrinking);
  Shrink(s);
  s.peer.window = 0;
  // Nothing but what is beyond the window is outstanding; the peer answers everything.
  for (int i = 0; i < 40; ++i) {
    const std::optional<TcpSegment> segment = s.peer.Wait(seconds(120));
    if (!segment) break;
    s.peer.next_ack = 1001;
    s.peer.Ack();
  }
  s.State(TcpState::kEstablished);
  s.peer.window = 65535;
  s.peer.Ack();
  for (int i = 0; i < 200 && s.connection->SendsOutstanding() != 0; ++i) {
    s.peer.Wait(seconds(60));
    s.peer.Ack();
  }
  ExpectEqual(s.connection->BytesAcknowledged(), 20000u, "acknowledged in the end");
}

void WindowShrunkToZeroIsProbed() {
  Script s(kShrinking);
  Shrink(s);
  s.peer.window = 0;
  s.peer.next_ack = 10'001;  // all that is outstanding has arrived, and nothing more may come
  s.peer.Ack();
  s.Silent();
  const std::optional<TcpSegment> probe = s.peer.Wait(seconds(10));
  Expect(probe && probe->sequence == 10'001 && probe->payload.size() == 1, "no probe");
}

/// A connection with 5000 bytes to send and a peer whose window is shut.
void Shut(Script& s) {
  s.Accept();
  s.peer.window = 0;
  s.peer.Ack();
  s.connection->Send(Pattern(5000));
}

const Setup kShut = {.bench = {.rto_min = seconds(1)}};

void ZeroWindowIsProbed() {
  Script s(kShut);
  Shut(s);
  s.Silent();
  const std::optional<TcpSegment> probe = s.peer.Wait(seconds(10));
  Expect(probe.has_value(), "no probe");
  s.peer.window = 65535;
  s.peer.next_ack = 1;
  s.peer.Ack();
  s.Sends(". 1:1441(1440)");
}

void FirstProbeAfterAnRto() {
  Script s(kShut);
  Shut(s);
  const Time rto = s.connection->Info().rto;
  s.SilentUntil(rto - Time(1));
  s.bench.StepUntil(rto);
  s.Next();
}

void ProbesBackOff() {
  Script s(kShut);
  Shut(s);
  Time last{0};
  Time interval{0};
  for (int i = 0; i < 6; ++i) {
    Expect(s.peer.Wait(seconds(120)).has_value(), "no probe");
    const Time now = s.peer.TakenAt();
    if (i > 1) Expect(now - last == 2 * interval, "the interval does not double");
    interval = now - last;
    last = now;
    s.peer.next_ack = 1;
    s.peer.Ack();
  }
}

void ShutWindowMayStayShut() {
  Script s(kShut);
  Shut(s);
  int probes = 0;
  while (s.bench.Now() < hours(6) && s.peer.Wait(hours(1))) {
    s.peer.next_ack = 1;
    s.peer.Ack();
    ++probes;
  }
  Expect(probes > 300, "only " + std::to_string(probes) + " probes in six hours");
  s.State(TcpState::kEstablished);
}

void WindowUpdateReopens() {
  Script s(kShut);
  Shut(s);
  s.bench.Advance(milliseconds(100));
  s.peer.window = 3000;
  s.peer.Ack();
  s.Sends(". 1:1441(1440)");
}

const Setup kNoReceive = {.listen = {.tcp = {.receive_buffer = 0}}};

void ShutOwnWindowIsKept() {
  Script s(kNoReceive);
  s.Accept();
  for (int i = 0; i < 5; ++i) {
    s.bench.Advance(hours(1));
    s.Injects(s.peer.Segment(kAck, Pattern(1)));
    s.Sends(". 1:1(0) ack 1 win 0");
  }
  s.connection->PostReceive(4000);
  s.Sends(". 1:1(0) ack 1 win 4000");
}

void ResetCountsAtZeroWindow() {
  Script s(kNoReceive);
  s.Accept();
  s.peer.Reset();
  s.State(TcpState::kClosed);
}

void AckAndUrgentCountAtZeroWindow() {
  Script s(kNoReceive);
  s.Accept();
  s.connection->Send(Pattern(100));
  s.Drain();
  TcpSegment segment = s.peer.Segment(kAck | kUrg, Pattern(1));
  segment.urgent_pointer = 1;
  s.Injects(segment);
  ExpectEqual(s.connection->BytesAcknowledged(), 100u, "acknowledged");
}

void SmallWindowIsNotOpened() {
  Script s({.listen = {.tcp = {.receive_buffer = 4000, .receive_chunk = 500}}});
  s.Accept();
  for (int i = 0; i < 8; ++i) s.peer.Data(Pattern(500));
  s.Drain();
  s.connection->Receive(500);
  s.Silent();
  s.connection->Receive(500);
  s.Silent();
  s.connection->Receive(1000);
  s.Sends(". 1:1(0) ack 4001 win 2000");
}

void WithheldWindowIsToldInTheEnd() {
  Script s({.listen = {.tcp = {.receive_buffer = 4000, .receive_chunk = 500}}});
  s.Accept();
  for (int i = 0; i < 8; ++i) s.peer.Data(Pattern(500));
  s.Drain();
  s.connection->Receive(500);
  s.SendsAt(milliseconds(100), ". 1:1(0) ack 4001 win 500");
  // From then on that is what is posted together, and it is told at once.
  s.peer.Data(Pattern(500));
  s.Drain();
  s.connection->Receive(500);
  s.Sends(". 1:1(0) ack 4501 win 500");
}

void SmallStepsAreNotTold() {
  Script s({.listen = {.tcp = {.receive_buffer = 8000, .receive_chunk = 500}}});
  s.Accept();
  for (int i = 0; i < 6; ++i) s.peer.Data(Pattern(500));
  s.Drain();
  s.connection->Receive(500);
  s.Silent();
  s.connection->Receive(500);
  s.Silent();
  s.connection->Receive(500);
  s.Sends(". 1:1(0) ack 3001 win 6500");
}

void SmallWindowIsNotFilled() {
  Script s({.peer = {.mss = 1000}});
  s.Accept();
  s.peer.window = 0;
  s.peer.Ack();
  s.connection->Send(Pattern(5000));
  s.Silent();
  s.peer.window = 100;
  s.peer.Ack();
  s.Silent();
  const std::optional<TcpSegment> forced = s.peer.Wait(seconds(5));
  Expect(forced && forced->payload.size() == 100, "the small window is not used in the end");
}

}  // namespace

Topic WindowTopic() {
  return {"Window",
          {
              {"window_is_unsigned", {"RFC 9293 MUST-1"}, WindowIsUnsigned},
              {"window_has_32_bits", {"RFC 9293 REC-1"}, WindowHas32Bits},
              {"right_edge_never_retracts", {"RFC 9293 SHLD-14"}, RightEdgeNeverRetracts},
              {"shrunk_window_holds_new_data_back",
               {"RFC 9293 SHLD-15", "RFC 9293 MUST-34"},
               ShrunkWindowHoldsNewDataBack},
              {"shrunk_window_is_repaired_within",
               {"RFC 9293 SHLD-16", "RFC 9293 MUST-34"},
               ShrunkWindowIsRepairedWithin},
              {"shrunk_window_does_not_time_out",
               {"RFC 9293 SHLD-17", "RFC 9293 MUST-34"},
               ShrunkWindowDoesNotTimeOut},
              {"window_shrunk_to_zero_is_probed", {"RFC 9293 MUST-35"}, WindowShrunkToZeroIsProbed},
              {"zero_window_is_probed", {"RFC 9293 MUST-36"}, ZeroWindowIsProbed},
              {"first_probe_after_an_rto", {"RFC 9293 SHLD-29"}, FirstProbeAfterAnRto},
              {"probes_back_off", {"RFC 9293 SHLD-30"}, ProbesBackOff},
              {"shut_window_may_stay_shut", {"RFC 9293 MUST-37"}, ShutWindowMayStayShut},
              {"window_update_reopens", {"RFC 9293 MUST-36"}, WindowUpdateReopens},
              {"shut_own_window_is_kept", {"RFC 9293 MAY-8"}, ShutOwnWindowIsKept},
              {"reset_counts_at_zero_window", {"RFC 9293 MUST-66"}, ResetCountsAtZeroWindow},
              {"ack_and_urgent_count_at_zero_window",
               {"RFC 9293 MUST-66"},
               AckAndUrgentCountAtZeroWindow},
              {"small_window_is_not_opened", {"RFC 9293 MUST-39"}, SmallWindowIsNotOpened},
              {"withheld_window_is_told_in_the_end",
               {"RFC 9293 MUST-39"},
               WithheldWindowIsToldInTheEnd},
              {"small_steps_are_not_told", {"RFC 9293 MUST-39"}, SmallStepsAreNotTold},
              {"small_window_is_not_filled", {"RFC 9293 MUST-38"}, SmallWindowIsNotFilled},
          }};
}

}  // namespace qpip::conformance
