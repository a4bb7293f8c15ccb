// Initial sequence numbers and opening.
#include <cstdlib>

#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

uint32_t IsnAt(Time clock, uint64_t seed = 1, uint16_t port = 5000) {
  Script s({.bench = {.seed = seed, .clock_start = clock}});
  auto attempt = s.bench.Connect(s.peer.endpoint(), port);
  return s.bench.TakePacket()->tcp->sequence;
}

void IsnFollowsAClock() {
  const uint32_t difference = IsnAt(seconds(11)) - IsnAt(seconds(10));
  // A tick of roughly 4 us (3.4.1).
  Expect(difference > 200'000 && difference < 300'000,
         "in one second: " + std::to_string(difference));
}

void IsnDiffersBetweenConnections() {
  const uint32_t a = IsnAt(seconds(10), 1, 5000);
  const uint32_t b = IsnAt(seconds(10), 1, 5001);
  const uint32_t c = IsnAt(seconds(10), 1, 5002);
  Expect(a != b && b != c && b - a != c - b, "sequence numbers follow the port");
}

void IsnDependsOnASecret() {
  Expect(IsnAt(seconds(10), 1) != IsnAt(seconds(10), 2), "the same with another secret");
}

void StartActive(Script& s) { s.connection = s.bench.Connect(s.peer.endpoint(), 5000); }

const Setup kActive = {.peer = {.port = 7, .nic_port = 5000}};

void SimultaneousOpen() {
  Script s(kActive);
  StartActive(s);
  s.Sends("S 0:0(0)");
  s.peer.Syn();
  s.State(TcpState::kSynReceived);
  s.Sends("S. 0:0(0) ack 1");
  s.peer.Ack();
  s.State(TcpState::kEstablished);
  s.peer.Data(Pattern(5));
  s.Sends(". 1:1(0) ack 6");
}

void ResetInSynReceivedReturnsToWhereItCameFrom() {
  Script passive;
  passive.Listen();
  passive.peer.Syn();
  passive.Sends("S. 0:0(0) ack 1");
  passive.peer.Reset();
  Expect(passive.listener->States().front() == TcpState::kListen, "not in LISTEN again");
  passive.peer.HandshakeAsClient();
  Expect(passive.listener->Accept() != nullptr, "no connection after the reset one");

  Script active(kActive);
  StartActive(active);
  active.Sends("S 0:0(0)");
  active.peer.Syn();
  active.Sends("S. 0:0(0) ack 1");
  active.peer.Reset();
  active.State(TcpState::kClosed);
  Expect(active.connection->Reason() != DisconnectReason::kNone, "the application is not told");
}

void ListeningDoesNotDisturbConnections() {
  Script s;
  s.Accept();
  auto other = s.bench.Listen(81);
  s.listener.reset();
  s.listener = s.bench.Listen(80);
  s.State(TcpState::kEstablished);
  s.peer.Data(Pattern(5));
  s.Sends(". 1:1(0) ack 6");
}

void ListenOnThePortOfAnOpeningConnection() {
  Script s({.peer = {.port = 7, .nic_port = 5000}});
  StartActive(s);
  auto listener = s.bench.Listen(5000);
  TcpPeer client(s.bench, {.port = 9, .nic_port = 5000});
  client.HandshakeAsClient();
  Expect(listener->Accept() != nullptr, "the listener does not work");
  s.State(TcpState::kSynSent);
}

void SynHasTheNicsAddress() {
  Script s;
  s.Connect();
  s.connection->Send(Pattern(1));
  const std::optional<Packet> packet = s.bench.TakePacket();
  Expect(AddressToString(packet->ip.source) == "fd00::1", "another source address");
}

void OpenToAnInvalidAddressIsRefused() {
  for (const char* address : {"ff02::1", "::", "::1"}) {
    Script s;
    try {
      auto attempt = s.bench.Connect({ParseAddress(address), 7});
      s.bench.Advance(milliseconds(1));
      Expect(attempt->State() == TcpState::kClosed, std::string(address) + " is connected to");
    } catch (const Error&) {
    }
    Expect(!s.bench.TakePacket(), std::string("a packet to ") + address);
  }
}

void Answered(const char* source, const char* destination, bool expected) {
  Script s;
  s.Listen();
  TcpSegment syn = {.source_port = 9, .destination_port = 80};
  syn.flags = kSyn;
  s.bench.InjectPacket(
      BuildPacket({.source = ParseAddress(source), .destination = ParseAddress(destination)}, syn));
  Expect(s.bench.TakePacket().has_value() == expected,
         std::string("from ") + source + " to " + destination);
}

void SynToMulticastIsDiscarded() {
  Answered("fd00::2", "ff02::1", false);
  Answered("fd00::2", "fd00::1", true);
}

void SynFromMulticastIsIgnored() { Answered("ff02::2", "fd00::1", false); }

void SynFromNowhereIsIgnored() { Answered("::", "fd00::1", false); }

}  // namespace

Topic OpenTopic() {
  return {
      "Open",
      {
          {"isn_follows_a_clock", {"RFC 9293 MUST-8"}, IsnFollowsAClock},
          {"isn_differs_between_connections", {"RFC 9293 SHLD-1"}, IsnDiffersBetweenConnections},
          {"isn_depends_on_a_secret", {"RFC 9293 MUST-9"}, IsnDependsOnASecret},
          {"simultaneous_open", {"RFC 9293 MUST-10"}, SimultaneousOpen},
          {"reset_in_syn_received_returns_to_where_it_came_from",
           {"RFC 9293 MUST-11"},
           ResetInSynReceivedReturnsToWhereItCameFrom},
          {"listening_does_not_disturb_connections",
           {"RFC 9293 MUST-41"},
           ListeningDoesNotDisturbConnections},
          {"listen_on_the_port_of_an_opening_connection",
           {"RFC 9293 MUST-42"},
           ListenOnThePortOfAnOpeningConnection},
          {"syn_has_the_nics_address",
           {"RFC 9293 MUST-44", "RFC 9293 MUST-45"},
           SynHasTheNicsAddress},
          {"open_to_an_invalid_address_is_refused",
           {"RFC 9293 MUST-46"},
           OpenToAnInvalidAddressIsRefused},
          {"syn_to_multicast_is_discarded", {"RFC 9293 MUST-57"}, SynToMulticastIsDiscarded},
          {"syn_from_multicast_is_ignored", {"RFC 9293 MUST-63"}, SynFromMulticastIsIgnored},
          {"syn_from_nowhere_is_ignored", {"RFC 9293 MUST-63"}, SynFromNowhereIsIgnored},
      }};
}

}  // namespace qpip::conformance
