// IPv6, ICMPv6 and UDP: RFC 8200, RFC 4443, RFC 768; marks on fragments: RFC 3168.
#include <algorithm>

#include "suite.h"

namespace qpip::conformance {
namespace {

using testbench::ExtensionHeader;
using testbench::Icmpv6Message;
using testbench::Ipv6Header;
using testbench::UdpDatagram;

/// A bench with a UDP socket on port 9, and a station that sends to it.
struct Station {
  TestBench bench;
  std::unique_ptr<testbench::UdpSocket> socket = bench.BindUdp(9);
  Ipv6Header ip = {.source = ParseAddress("fd00::2"), .destination = ParseAddress("fd00::1")};
  UdpDatagram datagram = {.source_port = 5, .destination_port = 9, .payload = Pattern(16)};

  void Inject() { bench.InjectPacket(BuildPacket(ip, datagram)); }
  bool Delivered() {
    const std::optional<testbench::Datagram> received = socket->Receive();
    return received && received->data == datagram.payload;
  }
  /// The ICMPv6 message the NIC sends next.
  Icmpv6Message Error() {
    const std::optional<Packet> packet = bench.TakePacket();
    Expect(packet && packet->icmp && packet->checksum_ok, "no ICMPv6 message");
    return *packet->icmp;
  }
  void Silent() { Expect(!bench.TakePacket(), "the NIC sent something"); }
};

const ExtensionHeader kHopByHop = {0, {0, 1, 4, 0, 0, 0, 0}};
const ExtensionHeader kDestination = {60, {0, 1, 4, 0, 0, 0, 0}};

void ExtensionHeadersInAnyOrder() {
  const ExtensionHeader routing = {43, {0, 0, 0, 0, 0, 0, 0}};
  for (const std::vector<ExtensionHeader>& chain :
       {std::vector<ExtensionHeader>{kHopByHop, kDestination},
        std::vector<ExtensionHeader>{kDestination, kDestination},
        std::vector<ExtensionHeader>{kHopByHop, kDestination, routing, kDestination}}) {
    Station s;
    s.ip.extensions = chain;
    s.Inject();
    Expect(s.Delivered(), "a datagram behind extension headers");
  }
}

void LaterHopByHopIsRefused() {
  Station s;
  s.ip.extensions = {kDestination, kHopByHop};
  s.Inject();
  Expect(!s.Delivered(), "a datagram behind a misplaced hop-by-hop header");
}

/// What becomes of a datagram with an option of this type.
void WithOption(Station& s, uint8_t type) {
  s.ip.extensions = {{60, {0, type, 4, 0, 0, 0, 0}}};
  s.Inject();
}

void UnknownOptionIsSkipped() {
  Station s;
  WithOption(s, 0x1e);
  Expect(s.Delivered(), "an option of type 00");
}

void UnknownOptionDiscards() {
  Station s;
  WithOption(s, 0x5e);
  Expect(!s.Delivered(), "an option of type 01");
  s.Silent();
}

void UnknownOptionIsReported() {
  Station s;
  WithOption(s, 0x9e);
  const Icmpv6Message error = s.Error();
  Expect(!s.Delivered(), "an option of type 10");
  ExpectEqual(int{error.type}, 4, "type");
  ExpectEqual(int{error.code}, 2, "code");
  ExpectEqual(error.body, 42u, "pointer");
}

void RoutingHeaderThatIsDoneIsSkipped() {
  Station s;
  s.ip.extensions = {{43, {0, 99, 0, 0, 0, 0, 0}}};
  s.Inject();
  Expect(s.Delivered(), "a datagram");
}

void UnknownRoutingHeaderIsReported() {
  Station s;
  s.ip.extensions = {{43, {0, 99, 1, 0, 0, 0, 0}}};
  s.Inject();
  const Icmpv6Message error = s.Error();
  ExpectEqual(int{error.type}, 4, "type");
  ExpectEqual(int{error.code}, 0, "code");
  ExpectEqual(error.body, 42u, "pointer: the routing type");
}

ExtensionHeader Fragment(uint16_t offset, bool more) {
  const auto field = static_cast<uint16_t>(offset | (more ? 1 : 0));
  return {44, {0, static_cast<uint8_t>(field >> 8), static_cast<uint8_t>(field), 0, 0, 0, 7}};
}

void AtomicFragmentIsTaken() {
  Station s;
  s.ip.extensions = {Fragment(0, false)};
  s.Inject();
  Expect(s.Delivered(), "an atomic fragment");
}

void FragmentsAreReassembled() {
  Station s;
  const Bytes whole = BuildPacket(s.ip, s.datagram);
  const Bytes upper(whole.begin() + 40, whole.end());
  s.ip.extensions = {Fragment(0, true)};
  s.bench.InjectPacket(BuildPacket(s.ip, 17, std::span(upper).first(16)));
  s.ip.extensions = {Fragment(16, false)};
  s.bench.InjectPacket(BuildPacket(s.ip, 17, std::span(upper).subspan(16)));
  Expect(s.Delivered(), "a datagram in two fragments");
}

/// What the NIC answers to a segment that comes in two fragments with these ECN codepoints, on a
/// connection that knows them; nullopt: nothing.
std::optional<TcpSegment> AnswerToFragments(uint8_t first, uint8_t second) {
  Script s;
  s.Listen();
  TcpSegment syn = s.peer.Segment(kSyn | testbench::kEce | testbench::kCwr);
  syn.mss = 1440;
  s.Injects(syn);
  s.peer.next_sequence = 1;
  Expect(s.Sends("SE. 0:0(0)").Has(testbench::kEce), "ECN is not agreed on");
  s.peer.Ack();
  const Bytes whole = s.peer.Raw(s.peer.Segment(kAck | kPsh, Pattern(100)));
  const std::span<const uint8_t> upper = std::span(whole).subspan(40);
  Ipv6Header ip = {.source = ParseAddress("fd00::2"), .destination = ParseAddress("fd00::1")};
  ip.traffic_class = first;
  ip.extensions = {Fragment(0, true)};
  s.bench.InjectPacket(BuildPacket(ip, 6, upper.first(64)));
  ip.traffic_class = second;
  ip.extensions = {Fragment(64, false)};
  s.bench.InjectPacket(BuildPacket(ip, 6, upper.subspan(64)));
  return s.peer.Take();
}

void MarkOnAFragmentIsKept() {
  for (const auto& [first, second] : {std::pair{2, 3}, {3, 2}, {1, 3}, {3, 1}, {3, 3}}) {
    const std::optional<TcpSegment> answer =
        AnswerToFragments(static_cast<uint8_t>(first), static_cast<uint8_t>(second));
    Expect(answer && answer->acknowledgement == 101, "the segment was not delivered");
    Expect(answer->Has(testbench::kEce), "the mark was lost");
  }
}

void MarkBesideNotEctDrops() {
  Expect(!AnswerToFragments(0, 3), "the mark on the second fragment");
  Expect(!AnswerToFragments(3, 0), "the mark on the first fragment");
}

void UnmarkedFragmentsStaySo() {
  for (const uint8_t codepoint : {0, 1, 2}) {
    const std::optional<TcpSegment> answer = AnswerToFragments(codepoint, codepoint);
    Expect(answer && answer->acknowledgement == 101, "the segment was not delivered");
    Expect(!answer->Has(testbench::kEce), "a mark out of nothing");
  }
}

void NoNextHeaderIsIgnored() {
  Station s;
  s.bench.InjectPacket(BuildPacket(s.ip, 59, Pattern(10)));
  s.Silent();
}

void UnknownNextHeaderIsReported() {
  Station s;
  s.bench.InjectPacket(BuildPacket(s.ip, 200, Pattern(10)));
  const Icmpv6Message error = s.Error();
  ExpectEqual(int{error.type}, 4, "type");
  ExpectEqual(int{error.code}, 1, "code");
  ExpectEqual(error.body, 6u, "pointer: the next header field");
}

void UdpWithoutChecksumIsDropped() {
  Station s;
  s.datagram.checksum = 0;
  s.Inject();
  Expect(!s.Delivered(), "a datagram without checksum");
  s.datagram.checksum = 0x1234;
  s.Inject();
  Expect(!s.Delivered(), "a datagram with a wrong checksum");
}

void ZeroChecksumIsSentAsOnes() {
  Station s;
  // Some value of two bytes makes the sum come to 0.
  for (uint32_t value = 0; value < 65536; ++value) {
    s.socket->SendTo({s.ip.source, 5},
                     Bytes{static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)});
    const std::optional<Packet> packet = s.bench.TakePacket();
    Expect(packet && packet->checksum_ok, "a wrong checksum");
    if (packet->udp->checksum == 0xffff) return;
  }
  throw Failure("the sum never came to 0");
}

void EchoIsAnswered() {
  Station s;
  s.bench.InjectPacket(
      BuildPacket(s.ip, Icmpv6Message{.type = 128, .body = 0x12345678, .payload = Pattern(1000)}));
  const Icmpv6Message reply = s.Error();
  ExpectEqual(int{reply.type}, 129, "type");
  ExpectEqual(reply.body, 0x12345678u, "identifier and sequence");
  Expect(reply.payload == Pattern(1000), "data");
}

void ClosedPortIsReported() {
  Station s;
  s.datagram.destination_port = 10;
  s.Inject();
  const Icmpv6Message error = s.Error();
  ExpectEqual(int{error.type}, 1, "type");
  ExpectEqual(int{error.code}, 4, "code");
  Expect(error.payload == BuildPacket(s.ip, s.datagram), "the packet inside");
}

void ErrorsFitTheSmallestMtu() {
  Station s;
  s.datagram.destination_port = 10;
  s.datagram.payload = Pattern(1400);
  s.Inject();
  const std::optional<Packet> packet = s.bench.TakePacket();
  Expect(packet && packet->icmp, "no error");
  ExpectEqual(packet->bytes.size(), 1280u, "bytes");
  const Bytes whole = BuildPacket(s.ip, s.datagram);
  Expect(std::equal(packet->icmp->payload.begin(), packet->icmp->payload.end(), whole.begin()),
         "the packet inside");
}

void NoErrorAboutAnError() {
  Station s;
  s.bench.InjectPacket(
      BuildPacket(s.ip, Icmpv6Message{.type = 1, .code = 0, .payload = Pattern(40)}));
  s.bench.InjectPacket(BuildPacket(s.ip, Icmpv6Message{.type = 99, .payload = Pattern(40)}));
  s.Silent();
}

void NoErrorAboutMulticast() {
  Station s;
  s.ip.destination = ParseAddress("ff02::1");
  s.datagram.destination_port = 10;
  s.Inject();
  s.Silent();
}

void NoErrorToAnAddressThatIsNobodys() {
  for (const char* source : {"::", "::1", "ff02::1"}) {
    Station s;
    s.ip.source = ParseAddress(source);
    s.datagram.destination_port = 10;
    s.Inject();
    s.Silent();
  }
}

void ErrorsAreLimited() {
  Station s;
  s.datagram.destination_port = 10;
  for (int i = 0; i < 1000; ++i) s.Inject();
  const size_t errors = s.bench.TakePackets().size();
  Expect(errors > 0 && errors < 200, std::to_string(errors) + " errors at once");
  s.bench.Advance(std::chrono::seconds(10));
  s.Inject();
  s.Error();
}

void DamagedEchoIsDropped() {
  Station s;
  s.bench.InjectPacket(BuildPacket(s.ip, Icmpv6Message{.type = 128, .checksum = uint16_t{1}}));
  s.Silent();
}

}  // namespace

Topic Ipv6Topic() {
  return {"Ipv6",
          {
              {"extension_headers_in_any_order", {"RFC 8200 4.1-1"}, ExtensionHeadersInAnyOrder},
              {"later_hop_by_hop_is_refused", {"RFC 8200 4.1-1"}, LaterHopByHopIsRefused},
              {"unknown_option_is_skipped", {"RFC 8200 4.2-1"}, UnknownOptionIsSkipped},
              {"unknown_option_discards", {"RFC 8200 4.2-2"}, UnknownOptionDiscards},
              {"unknown_option_is_reported", {"RFC 8200 4.2-3"}, UnknownOptionIsReported},
              {"routing_header_that_is_done_is_skipped",
               {"RFC 8200 4.4-1"},
               RoutingHeaderThatIsDoneIsSkipped},
              {"unknown_routing_header_is_reported",
               {"RFC 8200 4.4-2"},
               UnknownRoutingHeaderIsReported},
              {"fragments_are_reassembled", {"RFC 8200 4.5-1"}, FragmentsAreReassembled},
              {"atomic_fragment_is_taken", {"RFC 8200 4.5-2"}, AtomicFragmentIsTaken},
              {"mark_on_a_fragment_is_kept", {"RFC 3168 5.3-1"}, MarkOnAFragmentIsKept},
              {"mark_beside_not_ect_drops", {"RFC 3168 5.3-2"}, MarkBesideNotEctDrops},
              {"unmarked_fragments_stay_so", {"RFC 3168 5.3-3"}, UnmarkedFragmentsStaySo},
              {"no_next_header_is_ignored", {"RFC 8200 4.7-1"}, NoNextHeaderIsIgnored},
              {"unknown_next_header_is_reported", {"RFC 8200 4-2"}, UnknownNextHeaderIsReported},
              {"udp_without_checksum_is_dropped", {"RFC 8200 8.1-1"}, UdpWithoutChecksumIsDropped},
              {"zero_checksum_is_sent_as_ones", {"RFC 8200 8.1-2"}, ZeroChecksumIsSentAsOnes},
              {"echo_is_answered", {"RFC 4443 4.2-1"}, EchoIsAnswered},
              {"closed_port_is_reported", {"RFC 4443 3.1-1"}, ClosedPortIsReported},
              {"errors_fit_the_smallest_mtu", {"RFC 4443 2.4-c"}, ErrorsFitTheSmallestMtu},
              {"no_error_about_an_error", {"RFC 4443 2.4-e1"}, NoErrorAboutAnError},
              {"no_error_about_multicast", {"RFC 4443 2.4-e3"}, NoErrorAboutMulticast},
              {"no_error_to_an_address_that_is_nobodys",
               {"RFC 4443 2.4-e6"},
               NoErrorToAnAddressThatIsNobodys},
              {"errors_are_limited", {"RFC 4443 2.4-f"}, ErrorsAreLimited},
              {"damaged_echo_is_dropped", {"RFC 4443 2.3-1"}, DamagedEchoIsDropped},
          }};
}

}  // namespace qpip::conformance
