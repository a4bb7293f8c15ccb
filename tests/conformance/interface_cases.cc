// What applications are told and can ask for: urgent data, Nagle, keep-alive, ICMP errors, IP.
#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

void UrgentDataOfAnyLengthIsDelivered() {
  Script s;
  s.Accept();
  for (int i = 0; i < 40; ++i) {
    TcpSegment segment = s.peer.Segment(kAck | kUrg, Pattern(1000));
    segment.urgent_pointer = static_cast<uint16_t>(40000 - 1000 * i);
    s.peer.Inject(segment);
    s.peer.next_sequence += 1000;
    s.Drain();
    ExpectEqual(s.connection->Receive().data.size(), 1000u, "bytes of urgent data");
  }
}

void ApplicationIsToldOfUrgentData() {
  Script s;
  s.Accept();
  Expect(!s.connection->TakeNotices().urgent, "told of urgent data before there is any");
  // Announced ahead of the data, without any, as a peer does whose window is shut.
  TcpSegment announcement = s.peer.Segment(kAck | kUrg);
  announcement.urgent_pointer = 30;
  s.Injects(announcement);
  QpNotices notices = s.connection->TakeNotices();
  Expect(notices.urgent, "not told of urgent data");
  ExpectEqual(notices.urgent_end, 30u, "where the urgent data ends");
  TcpSegment data = s.peer.Segment(kAck | kUrg, Pattern(10));
  data.urgent_pointer = 30;
  s.Injects(data);
  Expect(!s.connection->TakeNotices().urgent, "told twice");
  data = s.peer.Segment(kAck | kUrg, Pattern(10));
  data.sequence += 10;
  data.urgent_pointer = 40;  // the end moves on
  s.Injects(data);
  notices = s.connection->TakeNotices();
  Expect(notices.urgent, "not told that the end has moved");
  ExpectEqual(notices.urgent_end, 50u, "where the urgent data ends now");
  ExpectEqual(s.connection->Receive().data.size(), 20u, "bytes received");
}

void UrgentDataIsPointedTo() {
  Script s({.peer = {.mss = 1000}});
  s.Accept();
  s.connection->SendUrgent(Pattern(1500));
  std::optional<TcpSegment> segment = s.peer.Take();
  Expect(segment && (segment->flags & kUrg) != 0, "no URG on urgent data");
  ExpectEqual(segment->urgent_pointer, 1500, "the pointer of the first segment");
  segment = s.peer.Take();
  Expect(segment && (segment->flags & kUrg) != 0, "no URG on the rest");
  ExpectEqual(uint32_t{segment->urgent_pointer} + segment->sequence, 1501u, "the pointer's target");
  s.peer.Ack();
  s.connection->Send(Pattern(10));
  segment = s.peer.Take();
  Expect(segment && (segment->flags & kUrg) == 0, "URG after all urgent data is acknowledged");
}

void SmallSendsAreNotDelayedWhenNagleIsOff() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(10));
  s.Sends("P. 1:11(10)");
  s.connection->Send(Pattern(10));
  s.Sends("P. 11:21(10)");
}

void SmallSendsWaitForAcknowledgements() {
  Script s({.listen = {.tcp = {.nagle = true}}});
  s.Accept();
  s.connection->Send(Pattern(10));
  s.Sends("P. 1:11(10)");
  s.connection->Send(Pattern(10));
  s.connection->Send(Pattern(10));
  s.Silent();
  s.peer.Ack();
  s.Sends("P. 11:31(20)");
}

void IdleConnectionIsSilent() {
  Script s;
  s.Accept();
  s.SilentUntil(hours(24 * 7));
  s.State(TcpState::kEstablished);
  Expect(!s.bench.NextDeadline(), "a timer runs");
}

void HopLimitIsConfigured() {
  Script s({.bench = {.hop_limit = 7}});
  s.Listen();
  s.peer.Syn();
  ExpectEqual(s.bench.TakePacket()->ip.hop_limit, 7, "hop limit");
}

void DiffServCanBeSet() {
  Script s({.listen = {.tcp = {.dscp = 46}}});
  s.Listen();
  s.peer.Syn();
  ExpectEqual(s.bench.TakePacket()->ip.traffic_class, 46 << 2, "traffic class of the SYN-ACK");
}

Setup WithKeepalive() { return {.listen = {.tcp = {.keepalive = hours(2)}}}; }

void KeepaliveProbesAfterSilence() {
  Script s(WithKeepalive());
  s.Accept();
  const auto accepted = s.bench.Now();
  s.SilentUntil(accepted + hours(2) - milliseconds(1));
  s.bench.Advance(milliseconds(1));
  const std::optional<TcpSegment> probe = s.peer.Take();
  Expect(probe && probe->sequence == 0 && probe->payload.empty(), "no probe of one byte before");
}

void KeepaliveWaitsForSilence() {
  Script s(WithKeepalive());
  s.Accept();
  for (int i = 0; i < 5; ++i) {
    s.SilentUntil(s.bench.Now() + hours(1));
    s.peer.Ack();
    s.bench.StepUntilIdle();
  }
  s.Silent();
}

void KeepaliveAnsweredKeepsTheConnection() {
  Script s(WithKeepalive());
  s.Accept();
  for (int i = 0; i < 20; ++i) {
    s.bench.Advance(hours(2));
    ExpectEqual(s.Drain(), 1, "probes in two hours");
    s.peer.Ack();
  }
  s.State(TcpState::kEstablished);
}

void OneProbeLostIsNotTheEnd() {
  Script s(WithKeepalive());
  s.Accept();
  s.bench.Advance(hours(2));
  s.Drain();
  s.bench.Advance(seconds(75));
  ExpectEqual(s.Drain(), 1, "a second probe");
  s.State(TcpState::kEstablished);
  s.bench.Advance(hours(1));
  s.State(TcpState::kClosed);
}

void EcnIsNegotiated() {
  Script s({.bench = {.parameters = "ecn=request"}});
  auto attempt = s.bench.Connect({ParseAddress("fd00::2"), 7});
  const uint8_t flags = s.bench.TakePacket()->tcp->flags;
  Expect(flags == (kSyn | testbench::kEce | testbench::kCwr), "the SYN asks for no ECN");
}

void OptionsOfIpAreIgnored() {
  Script s;
  s.Accept();
  const TcpSegment segment = [&] {
    const Packet parsed =
        testbench::ParsePacket(s.peer.Raw(s.peer.Segment(kAck | kPsh, Pattern(10))));
    TcpSegment copy = *parsed.tcp;
    copy.checksum.reset();
    copy.data_offset.reset();
    copy.raw_options.clear();
    return copy;
  }();
  testbench::Ipv6Header ip = {.source = s.peer.endpoint().address,
                              .destination = s.bench.address()};
  ip.extensions = {{0, {0, 0x1e, 4, 0, 0, 0, 0}}};  // an experimental option to be skipped
  s.bench.InjectPacket(BuildPacket(ip, segment));
  s.Sends(". 1:1(0) ack 11");
}

/// An ICMPv6 error about the NIC's last packet reaches the NIC.
void InjectError(Script& s, const Packet& about, uint8_t type, uint8_t code, uint32_t body = 0) {
  s.bench.InjectPacket(BuildPacket(
      {.source = ParseAddress("fd00::fe"), .destination = s.bench.address()},
      testbench::Icmpv6Message{.type = type, .code = code, .body = body, .payload = about.bytes}));
}

void SoftErrorsDoNotEndAConnection() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(10));
  const Packet sent = *s.bench.TakePacket();
  InjectError(s, sent, 1, 0);  // no route
  InjectError(s, sent, 1, 3);  // address unreachable
  InjectError(s, sent, 3, 0);  // hop limit exceeded
  InjectError(s, sent, 4, 0, 6);
  s.State(TcpState::kEstablished);
  s.peer.next_ack = 11;
  s.peer.Ack();
  ExpectEqual(s.connection->BytesAcknowledged(), 10u, "acknowledged");
}

void HardErrorsEndAnOpeningConnection() {
  Script s({.peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  InjectError(s, *s.bench.TakePacket(), 1, 4);  // port unreachable
  s.State(TcpState::kClosed);
}

void PacketTooBigIsHeeded() {
  Script s({.peer = {.mss = 1440}});
  s.Accept();
  s.connection->Send(Pattern(1440));
  const Packet sent = *s.bench.TakePacket();
  InjectError(s, sent, 2, 0, 1280);
  const std::optional<Packet> again = s.bench.WaitForPacket(milliseconds(1));
  Expect(again && again->bytes.size() <= 1280, "the segment is not cut to the path's MTU at once");
}

void UnreachableIsToldToTheApplication() {
  Script s({.peer = {.port = 7, .nic_port = 5000}});
  s.connection = s.bench.Connect(s.peer.endpoint(), 5000);
  InjectError(s, *s.bench.TakePacket(), 1, 0);
  s.bench.Advance(seconds(300));
  Expect(s.connection->Reason() == DisconnectReason::kUnreachable,
         "the connection ends as timed out, not as unreachable");
}

void SoftErrorsAreReported() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(10));
  const Packet sent = *s.bench.TakePacket();
  InjectError(s, sent, 1, 0);  // no route
  InjectError(s, sent, 3, 0);  // hop limit exceeded
  const QpNotices notices = s.connection->TakeNotices();
  Expect(notices.icmp_error, "not told");
  ExpectEqual(notices.icmp_errors, 2u, "errors");
  ExpectEqual(notices.icmp_type, 3, "type of the last");
  Expect(!s.connection->TakeNotices().icmp_error, "told twice");
}

void OldAckIsChallenged() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(10));
  s.Drain();
  TcpSegment forged = s.peer.Segment(kAck | kPsh, Pattern(10));
  forged.acknowledgement = 11 - 100'000;  // older than the largest window
  s.Injects(forged);
  s.Sends(". 11:11(0) ack 1 ");
  ExpectEqual(s.connection->Available(), 0u, "bytes injected");
}

void AckOfWhatWasNeverSentIsChallenged() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(10));
  s.Drain();
  s.Injects(s.peer.Segment(kAck));
  TcpSegment forged = s.peer.Segment(kAck | kPsh, Pattern(10));
  forged.acknowledgement = 0 - 1;  // the window has room for older ones
  s.Injects(forged);
  s.Sends(". 11:11(0) ack 1 ");
  ExpectEqual(s.connection->Available(), 0u, "bytes injected");
  TcpSegment overtaken = s.peer.Segment(kAck | kPsh, Pattern(10));
  overtaken.acknowledgement = 1;  // of our SYN
  s.Injects(overtaken);
  ExpectEqual(s.connection->Available(), 10u, "bytes of an overtaken segment");
}

}  // namespace

Topic InterfaceTopic() {
  return {"Interface",
          {
              {"urgent_data_of_any_length_is_delivered",
               {"RFC 9293 MUST-31"},
               UrgentDataOfAnyLengthIsDelivered},
              {"application_is_told_of_urgent_data",
               {"RFC 9293 MUST-30", "RFC 9293 MUST-62", "RFC 9293 MUST-32", "RFC 9293 MUST-33"},
               ApplicationIsToldOfUrgentData},
              {"urgent_data_is_pointed_to",
               {"RFC 9293 MUST-30", "RFC 9293 MUST-62"},
               UrgentDataIsPointedTo},
              {"small_sends_are_not_delayed_when_nagle_is_off",
               {"RFC 9293 MUST-17"},
               SmallSendsAreNotDelayedWhenNagleIsOff},
              {"small_sends_wait_for_acknowledgements",
               {"RFC 9293 SHLD-7"},
               SmallSendsWaitForAcknowledgements},
              {"idle_connection_is_silent",
               {"RFC 9293 MUST-25", "RFC 9293 MUST-28"},
               IdleConnectionIsSilent},
              {"keepalive_probes_after_silence",
               {"RFC 9293 MAY-5", "RFC 9293 MUST-24", "RFC 9293 MUST-27", "RFC 9293 SHLD-12"},
               KeepaliveProbesAfterSilence},
              {"keepalive_waits_for_silence", {"RFC 9293 MUST-26"}, KeepaliveWaitsForSilence},
              {"keepalive_answered_keeps_the_connection",
               {"RFC 9293 MAY-5"},
               KeepaliveAnsweredKeepsTheConnection},
              {"one_probe_lost_is_not_the_end", {"RFC 9293 MUST-29"}, OneProbeLostIsNotTheEnd},
              {"hop_limit_is_configured", {"RFC 9293 MUST-49"}, HopLimitIsConfigured},
              {"diffserv_can_be_set", {"RFC 9293 MUST-48", "RFC 9293 SHLD-22"}, DiffServCanBeSet},
              {"ecn_is_negotiated", {"RFC 9293 SHLD-8"}, EcnIsNegotiated},
              {"options_of_ip_are_ignored", {"RFC 9293 MUST-50"}, OptionsOfIpAreIgnored},
              {"soft_errors_do_not_end_a_connection",
               {"RFC 9293 MUST-56"},
               SoftErrorsDoNotEndAConnection},
              {"hard_errors_end_an_opening_connection",
               {"RFC 9293 SHLD-26", "RFC 9293 MUST-54"},
               HardErrorsEndAnOpeningConnection},
              {"packet_too_big_is_heeded",
               {"RFC 9293 MUST-54", "RFC 4443 2.4-d"},
               PacketTooBigIsHeeded},
              {"unreachable_is_told_to_the_application",
               {"RFC 9293 SHLD-25", "RFC 9293 MUST-54"},
               UnreachableIsToldToTheApplication},
              {"soft_errors_are_reported", {"RFC 9293 MUST-47"}, SoftErrorsAreReported},
              {"old_ack_is_challenged", {"RFC 9293 MAY-12", "RFC 5961 5.2-1"}, OldAckIsChallenged},
              {"ack_of_what_was_never_sent_is_challenged",
               {"RFC 9293 MAY-12", "RFC 5961 5.2-2"},
               AckOfWhatWasNeverSentIsChallenged},
          }};
}

}  // namespace qpip::conformance
