// Fragments, extension headers, ICMPv6 and datagrams of strangers, and bytes that are no packet.
#include <algorithm>
#include <array>

#include "kinds.h"
#include "protocols/common/byte_order.h"
#include "protocols/ipv6/fragment.h"

namespace qpip::attack {
namespace {

std::vector<uint8_t> Fragment(Random& random, const ipv6::FragmentHeader& header, size_t bytes) {
  std::vector<uint8_t> packet(ipv6::kFragmentHeaderBytes);
  ipv6::Emit(header, std::span<uint8_t, ipv6::kFragmentHeaderBytes>(packet.data(), packet.size()));
  const std::vector<uint8_t> text = RandomBytes(random, bytes);
  packet.insert(packet.end(), text.begin(), text.end());
  return packet;
}

void SendFragment(Scene& scene, const ipv6::Address& source, const ipv6::FragmentHeader& header,
                  size_t bytes) {
  scene.lan.SendPacket(
      {.next_header = ipv6::kFragment, .source = source, .destination = scene.target.address},
      Fragment(scene.random, header, bytes));
}

void FirstFragments(Scene& scene) {
  while (scene.pace.Next()) {
    SendFragment(scene, Stranger(scene.random),
                 {.next_header = ipv6::kUdp,
                  .offset = 0,
                  .more = true,
                  .identification = static_cast<uint32_t>(scene.random())},
                 1232);
  }
}

void TinyFragments(Scene& scene) {
  const ipv6::Address source = Stranger(scene.random);
  uint32_t offset = 0;
  uint32_t packet = 0;
  while (scene.pace.Next()) {
    // Every second unit, so that nothing ever fits together.
    SendFragment(
        scene, source,
        {.next_header = ipv6::kUdp, .offset = offset, .more = true, .identification = packet}, 8);
    offset += 16;
    if (offset > 65000) {
      offset = 0;
      ++packet;
    }
  }
}

void OverlappingFragments(Scene& scene) {
  const ipv6::Address source = Stranger(scene.random);
  while (scene.pace.Next()) {
    SendFragment(scene, source,
                 {.next_header = ipv6::kUdp,
                  .offset = static_cast<uint32_t>(scene.random() % 64 * 8),
                  .more = scene.random() % 4 != 0,
                  .identification = static_cast<uint32_t>(scene.random() % 16)},
                 8 * (1 + scene.random() % 64));
  }
}

/// What ends behind 65,535 bytes, or is no multiple of eight.
void ImpossibleFragments(Scene& scene) {
  while (scene.pace.Next()) {
    SendFragment(scene, Stranger(scene.random),
                 {.next_header = static_cast<uint8_t>(scene.random()),
                  .offset = scene.random() % 2 == 0 ? 65528u : 0u,
                  .more = scene.random() % 2 == 0,
                  .identification = static_cast<uint32_t>(scene.random())},
                 1 + scene.random() % 200);
  }
}

/// Headers one behind the other, `count` of `type`, options of the type given.
std::vector<uint8_t> Chain(size_t count, uint8_t type, uint8_t last, uint8_t option) {
  std::vector<uint8_t> chain;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t next = i + 1 < count ? type : last;
    chain.insert(chain.end(), {next, 0, option, 4, 0, 0, 0, 0});
  }
  return chain;
}

void LongChains(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendPacket({.next_header = ipv6::kDestinationOptions,
                          .source = Stranger(scene.random),
                          .destination = scene.target.address},
                         Chain(120, ipv6::kDestinationOptions, ipv6::kNoNextHeader, 1));
  }
}

/// Options that a node which does not know them answers by an error (RFC 8200 section 4.2).
void UnknownOptions(Scene& scene) {
  while (scene.pace.Next()) {
    std::vector<uint8_t> packet = Chain(1, 0, ipv6::kUdp, scene.random() % 2 == 0 ? 0xbe : 0xfe);
    packet.resize(packet.size() + scene.random() % 400);
    scene.lan.SendPacket(
        {.next_header = scene.random() % 2 == 0 ? uint8_t{ipv6::kHopByHop}
                                                : uint8_t{ipv6::kDestinationOptions},
         .source = Stranger(scene.random),
         .destination = scene.target.address},
        packet);
  }
}

void RoutingHeaders(Scene& scene) {
  while (scene.pace.Next()) {
    std::vector<uint8_t> packet(24 + 8);
    packet[0] = ipv6::kUdp;
    packet[1] = 2;
    packet[2] = static_cast<uint8_t>(scene.random() % 5);  // type
    packet[3] = static_cast<uint8_t>(scene.random() % 3);  // segments left
    scene.lan.SendPacket({.next_header = ipv6::kRouting,
                          .source = Stranger(scene.random),
                          .destination = scene.target.address},
                         packet);
  }
}

void UnknownProtocols(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendPacket({.next_header = static_cast<uint8_t>(61 + scene.random() % 190),
                          .source = Stranger(scene.random),
                          .destination = scene.target.address},
                         RandomBytes(scene.random, scene.random() % 100));
  }
}

void Pings(Scene& scene) {
  const std::vector<uint8_t> text = RandomBytes(scene.random, 1024);
  while (scene.pace.Next()) {
    scene.lan.SendIcmp(Stranger(scene.random), IcmpMessage({.type = icmpv6::kEchoRequest}, text));
  }
}

void MulticastPings(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendIcmp(Stranger(scene.random), IcmpMessage({.type = icmpv6::kEchoRequest}), 64,
                       &icmpv6::kAllNodes);
  }
}

void ClosedUdp(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendUdp(Stranger(scene.random), 4000,
                      static_cast<uint16_t>(20000 + scene.random() % 1000));
  }
}

/// From echo to echo: of the target itself, and of somebody else.
void UdpLoops(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendUdp(scene.random() % 2 == 0 ? scene.target.address : Stranger(scene.random),
                      kEchoPort, kEchoPort, RandomBytes(scene.random, 8));
  }
}

void BadChecksums(Scene& scene) {
  while (scene.pace.Next()) {
    const ipv6::Address source = Stranger(scene.random);
    std::vector<uint8_t> segment =
        TcpSegment(source, scene.target.address, RandomSyn(scene.random), {});
    segment[tcp::offset::kChecksum] ^= static_cast<uint8_t>(1 + scene.random() % 255);
    scene.lan.SendPacket(
        {.next_header = ipv6::kTcp, .source = source, .destination = scene.target.address},
        segment);
  }
}

void Noise(Scene& scene) {
  while (scene.pace.Next()) {
    std::vector<uint8_t> frame =
        RandomBytes(scene.random, Lan::kEthernetBytes + scene.random() % 300);
    std::copy(scene.target.link.begin(), scene.target.link.end(), frame.begin());
    StoreBe16(frame.data() + 12, 0x86dd);
    if (frame.size() > Lan::kEthernetBytes + ipv6::kHeaderBytes && scene.random() % 8 != 0) {
      uint8_t* const ip = frame.data() + Lan::kEthernetBytes;
      ip[0] = 0x60;
      if (scene.random() % 4 != 0) {
        StoreBe16(ip + ipv6::offset::kPayloadLength,
                  static_cast<uint16_t>(frame.size() - Lan::kEthernetBytes - ipv6::kHeaderBytes));
      }
      constexpr uint8_t kNext[] = {0, 6, 17, 43, 44, 51, 58, 60};
      ip[ipv6::offset::kNextHeader] = kNext[scene.random() % std::size(kNext)];
      const ipv6::Address source = Stranger(scene.random);
      std::copy(std::begin(source.bytes), std::end(source.bytes), ip + ipv6::offset::kSource);
      std::copy(std::begin(scene.target.address.bytes), std::end(scene.target.address.bytes),
                ip + ipv6::offset::kDestination);
    }
    scene.lan.SendFrame(frame);
  }
}

constexpr std::array kKinds = {
    Kind{"first-fragments", Attacker::kStranger,
         "first fragments of 1,232 bytes whose rest never comes", FirstFragments, true},
    Kind{"tiny-fragments", Attacker::kStranger, "fragments of eight bytes with gaps between",
         TinyFragments},
    Kind{"overlapping-fragments", Attacker::kStranger,
         "fragments that overlap and contradict each other", OverlappingFragments},
    Kind{"impossible-fragments", Attacker::kStranger,
         "fragments beyond 65,535 bytes, and of odd lengths", ImpossibleFragments},
    Kind{"long-chains", Attacker::kStranger, "120 extension headers in a packet", LongChains},
    Kind{"unknown-options", Attacker::kStranger,
         "options that ask for an error when they are not known", UnknownOptions, true},
    Kind{"routing-headers", Attacker::kStranger, "routing headers of five types", RoutingHeaders},
    Kind{"unknown-protocols", Attacker::kStranger, "upper layers that nobody knows",
         UnknownProtocols},
    Kind{"pings", Attacker::kStranger, "echo requests of 1,024 bytes", Pings},
    Kind{"multicast-pings", Attacker::kStranger, "echo requests to all nodes", MulticastPings},
    Kind{"udp-closed-ports", Attacker::kStranger, "empty datagrams to ports where nobody is",
         ClosedUdp},
    Kind{"udp-loops", Attacker::kStranger,
         "datagrams from echo port to echo port, half of them from the target's own address",
         UdpLoops},
    Kind{"bad-checksums", Attacker::kStranger, "SYNs with wrong checksums", BadChecksums},
    Kind{"noise", Attacker::kStranger, "random bytes, most of them behind a sound IPv6 header",
         Noise},
};

}  // namespace

std::span<const Kind> PacketKinds() { return kKinds; }

}  // namespace qpip::attack
