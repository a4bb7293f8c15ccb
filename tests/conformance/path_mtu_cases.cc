// Paths that drop what is too large without a word: RFC 4821.
#include <algorithm>

#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr size_t kBase = 1220;     // of text, in a packet of 1280 bytes
constexpr size_t kLargest = 1440;  // in one of 1500

const Setup kProbing = {.bench = {.parameters = "mtu_probing=always"},
                        .peer = {.mss = kLargest, .sack_permitted = true},
                        .round_trip = milliseconds(20)};
const Setup kHole = {.peer = {.mss = kLargest, .sack_permitted = true},
                     .round_trip = milliseconds(20)};

/// Text for a probe and more behind it: the probe is the first segment. Takes all that goes.
std::vector<TcpSegment> SendsProbe(Script& s, size_t probe = kLargest) {
  s.connection->Send(Pattern(20'000));
  std::vector<TcpSegment> sent;
  while (const std::optional<TcpSegment> segment = s.peer.Take()) sent.push_back(*segment);
  Expect(sent.size() > 4, "the NIC sent too little");
  ExpectEqual(sent[0].payload.size(), probe, "bytes of the probe");
  return sent;
}

/// Everything arrives, and the time that lies between two probes passes.
void Settle(Script& s) {
  do {
    s.peer.Ack();
  } while (s.Drain() != 0);
  s.bench.Advance(milliseconds(300));
}

void Sack(Script& s, uint32_t acknowledgement, const TcpSegment& first, const TcpSegment& last) {
  TcpSegment ack = s.peer.Segment(kAck);
  ack.acknowledgement = acknowledgement;
  ack.sack = {{first.sequence, last.sequence + static_cast<uint32_t>(last.payload.size())}};
  s.Injects(ack);
}

void SearchStartsAtTheBase() {
  Script s(kProbing);
  s.Accept();
  ExpectEqual(s.connection->Info().snd_mss, kBase, "SND.MSS");
  s.connection->Send(Pattern(3000));
  while (const std::optional<TcpSegment> segment = s.peer.Take()) {
    Expect(segment->payload.size() <= kBase, "a segment is larger than 1280 bytes allow");
  }
}

void ProbeWaitsForTextAndWindow() {
  Script little(kProbing);
  little.Accept();
  little.connection->Send(Pattern(kLargest + 4 * kBase - 1));
  ExpectEqual(little.Next().payload.size(), kBase, "bytes with too little text");
  Setup shut = kProbing;
  shut.peer.window = kLargest + 4 * kBase - 1;
  Script narrow(shut);
  narrow.Accept();
  narrow.connection->Send(Pattern(20'000));
  ExpectEqual(narrow.Next().payload.size(), kBase, "bytes with a small window");
  Script enough(kProbing);
  enough.Accept();
  enough.connection->Send(Pattern(kLargest + 4 * kBase));
  ExpectEqual(enough.Next().payload.size(), kLargest, "bytes of the probe");
}

void OneProbeAtATime() {
  Script s(kProbing);
  s.Accept();
  const std::vector<TcpSegment> sent = SendsProbe(s);
  for (size_t i = 1; i < sent.size(); ++i) {
    Expect(sent[i].payload.size() <= kBase, "a second probe");
  }
}

void ProbeThatArrivesRaisesTheSize() {
  Script s(kProbing);
  s.Accept();
  const std::vector<TcpSegment> sent = SendsProbe(s);
  s.bench.Advance(milliseconds(20));
  s.peer.Ack();
  ExpectEqual(s.connection->Info().snd_mss, kLargest, "SND.MSS");
  s.connection->Send(Pattern(kLargest));
  s.bench.StepUntilIdle();
  ExpectEqual(s.Counter("mtu_probes_succeeded"), 1u, "probes");
}

void ProbeLostAloneIsNoCongestion() {
  Script s(kProbing);
  s.Accept();
  const std::vector<TcpSegment> sent = SendsProbe(s);
  const testbench::TcpInfo before = s.connection->Info();
  s.bench.Advance(milliseconds(20));
  Sack(s, 1, sent[1], sent[4]);
  Expect(s.Next().sequence == 1, "the probe's text does not go again");
  const TcpSegment rest = s.Next();
  ExpectEqual(rest.sequence, 1 + kBase, "sequence number of what goes next");
  const testbench::TcpInfo after = s.connection->Info();
  Expect(after.cwnd >= before.cwnd && after.ssthresh == before.ssthresh, "the window was cut");
  ExpectEqual(after.snd_mss, kBase, "SND.MSS");
  // And the sizes above it are not tried next: halfway to it is.
  s.Drain();
  Settle(s);
  SendsProbe(s, (kBase + kLargest) / 2);
}

void ProbeLostWithOthersSaysNothing() {
  Script s(kProbing);
  s.Accept();
  const std::vector<TcpSegment> sent = SendsProbe(s);
  const testbench::TcpInfo before = s.connection->Info();
  s.bench.Advance(milliseconds(20));
  Sack(s, 1, sent[2], sent[5]);
  Expect(s.connection->Info().ssthresh < before.ssthresh, "the window was not cut");
  s.Drain();
  s.bench.Advance(milliseconds(20));
  Settle(s);
  // Slow start, until the window has room for it.
  for (int i = 0; i < 10 && s.connection->Info().cwnd < kLargest + 4 * kBase; ++i) {
    s.connection->Send(Pattern(4 * kBase));
    while (s.Drain() != 0) {
      s.bench.Advance(milliseconds(20));
      s.peer.Ack();
    }
  }
  SendsProbe(s);
}

void RefusedProbeBoundsTheSearch() {
  Script s(kProbing);
  s.Accept();
  s.connection->Send(Pattern(20'000));
  const Packet probe = *s.bench.TakePacket();
  ExpectEqual(probe.bytes.size(), kLargest + 60, "bytes of the probe");
  s.bench.InjectPacket(BuildPacket(
      {.source = ParseAddress("fd00::fe"), .destination = s.bench.address()},
      testbench::Icmpv6Message{.type = 2, .code = 0, .body = 1400, .payload = probe.bytes}));
  uint32_t again = 0;
  uint32_t end = 0;
  while (const std::optional<Packet> packet = s.bench.TakePacket()) {
    Expect(packet->bytes.size() <= kBase + 60, "a segment is larger than the others");
    const uint32_t start = packet->tcp->sequence - probe.tcp->sequence;
    const auto length = static_cast<uint32_t>(packet->tcp->payload.size());
    if (start < kLargest) again += length;
    end = std::max(end, start + length);
  }
  Expect(again >= kLargest, "the probe's text does not go again");
  s.peer.next_ack = 1 + end;
  Settle(s);
  SendsProbe(s, 1340);
}

/// Five time-outs of a full segment, and the answer to the smaller one that follows.
void FallIntoTheHole(Script& s) {
  s.Accept();
  s.connection->Send(Pattern(3 * kLargest));
  s.Drain();
  for (const size_t expected : {kLargest, kLargest, kLargest, kLargest, kBase}) {
    TcpSegment segment;
    do {  // what probes the tail does not count
      const std::optional<Packet> packet = s.bench.WaitForPacket(seconds(20));
      Expect(packet.has_value(), "nothing goes again");
      segment = *packet->tcp;
    } while (segment.sequence != s.connection->Info().snd_una);
    ExpectEqual(segment.payload.size(), expected, "bytes that go again");
    s.Drain();
  }
  ExpectEqual(s.Counter("mtu_black_holes"), 1u, "black holes");
}

void FullSegmentsThatTimeOutShrink() {
  Script s(kHole);
  FallIntoTheHole(s);
  s.peer.next_ack = 1 + kBase;
  s.peer.Ack();
  s.bench.StepUntilIdle();
  int segments = 0;
  for (; const std::optional<TcpSegment> segment = s.peer.Take(); ++segments) {
    Expect(segment->payload.size() <= kBase, "a segment is as large as before");
  }
  Expect(segments > 0, "nothing is sent again");
}

void NewConnectionsKnowTheHole() {
  Script s(kHole);
  FallIntoTheHole(s);
  s.peer.next_ack = 1 + kBase;
  s.peer.Ack();
  s.Drain();
  TcpPeer second(s.bench, {.port = 40001, .mss = kLargest});
  second.HandshakeAsClient();
  const auto connection = s.listener->Accept();
  Expect(connection != nullptr, "no second connection");
  ExpectEqual(connection->Info().snd_mss, kBase, "SND.MSS of the second connection");
}

}  // namespace

Topic PathMtuTopic() {
  return {
      "Path MTU",
      {
          {"search_starts_at_the_base", {"RFC 4821 7.2-1"}, SearchStartsAtTheBase},
          {"probe_waits_for_text_and_window", {"RFC 4821 7.4-1"}, ProbeWaitsForTextAndWindow},
          {"one_probe_at_a_time", {"RFC 4821 7.4-2"}, OneProbeAtATime},
          {"probe_that_arrives_raises_the_size",
           {"RFC 4821 7.6.1-1"},
           ProbeThatArrivesRaisesTheSize},
          {"probe_lost_alone_is_no_congestion",
           {"RFC 4821 7.6.2-1", "RFC 4821 7.6.2-2"},
           ProbeLostAloneIsNoCongestion},
          {"probe_lost_with_others_says_nothing",
           {"RFC 4821 7.6.4-1"},
           ProbeLostWithOthersSaysNothing},
          {"refused_probe_bounds_the_search", {"RFC 4821 7.6.2-3"}, RefusedProbeBoundsTheSearch},
          {"full_segments_that_time_out_shrink", {"RFC 4821 7.7-1"}, FullSegmentsThatTimeOutShrink},
          {"new_connections_know_the_hole", {"RFC 4821 5.2-1"}, NewConnectionsKnowTheHole},
      }};
}

}  // namespace qpip::conformance
