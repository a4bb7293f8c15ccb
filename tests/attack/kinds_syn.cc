// SYNs, and segments that belong to no connection.
#include <array>

#include "kinds.h"

namespace qpip::attack {
namespace {

void Flood(Scene& scene) {
  while (scene.pace.Next()) scene.lan.SendTcp(Stranger(scene.random), RandomSyn(scene.random));
}

/// From the link, where each answer needs a neighbour that is not there.
void FloodFromLink(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendTcp(AbsentNeighbour(scene.target, static_cast<uint32_t>(scene.random())),
                      RandomSyn(scene.random));
  }
}

void Repeat(Scene& scene) {
  const ipv6::Address source = Stranger(scene.random);
  const tcp::Header syn = RandomSyn(scene.random);
  while (scene.pace.Next()) scene.lan.SendTcp(source, syn);
}

/// So many that a table of those that were answered forgets each before it comes again.
void RepeatMany(Scene& scene) {
  std::vector<std::pair<ipv6::Address, tcp::Header>> syns(1000);
  for (auto& [source, syn] : syns) {
    source = Stranger(scene.random);
    syn = RandomSyn(scene.random);
  }
  for (size_t i = 0; scene.pace.Next(); ++i) {
    const auto& [source, syn] = syns[i % syns.size()];
    scene.lan.SendTcp(source, syn);
  }
}

void WithText(Scene& scene) {
  const std::vector<uint8_t> text = RandomBytes(scene.random, 512);
  while (scene.pace.Next())
    scene.lan.SendTcp(Stranger(scene.random), RandomSyn(scene.random), text);
}

void ToItself(Scene& scene) {
  while (scene.pace.Next()) {
    tcp::Header syn = RandomSyn(scene.random);
    if (scene.random() % 2 == 0) syn.source_port = kEchoPort;
    scene.lan.SendTcp(scene.target.address, syn);
  }
}

void ClosedPorts(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendTcp(
        Stranger(scene.random),
        RandomSyn(scene.random, static_cast<uint16_t>(20000 + scene.random() % 1000)));
  }
}

void StrayAcks(Scene& scene) {
  while (scene.pace.Next()) {
    tcp::Header ack = RandomSyn(scene.random);
    ack.flags = tcp::kAck;
    ack.has_mss = ack.has_window_scale = ack.sack_permitted = false;
    ack.acknowledgement = tcp::SequenceNumber(static_cast<uint32_t>(scene.random()));
    scene.lan.SendTcp(Stranger(scene.random), ack, RandomBytes(scene.random, scene.random() % 64));
  }
}

void OddFlags(Scene& scene) {
  while (scene.pace.Next()) {
    tcp::Header odd = RandomSyn(scene.random);
    odd.flags = static_cast<uint8_t>(scene.random());
    odd.urgent_pointer = static_cast<uint16_t>(scene.random());
    odd.acknowledgement = tcp::SequenceNumber(static_cast<uint32_t>(scene.random()));
    scene.lan.SendTcp(Stranger(scene.random), odd, RandomBytes(scene.random, scene.random() % 64));
  }
}

constexpr std::array kKinds = {
    Kind{"syn-flood", Attacker::kStranger, "SYNs from addresses that nobody has", Flood, true},
    Kind{"syn-on-link", Attacker::kNeighbour, "SYNs from addresses on the link that nobody has",
         FloodFromLink, true},
    Kind{"syn-repeated", Attacker::kStranger, "one SYN, over and over", Repeat},
    Kind{"syn-thousand", Attacker::kStranger, "a thousand SYNs, each over and over", RepeatMany},
    Kind{"syn-text", Attacker::kStranger, "SYNs with 512 bytes of text", WithText},
    Kind{"syn-own-address", Attacker::kStranger,
         "SYNs from the target's own address, half of them from its own port", ToItself},
    Kind{"syn-closed-ports", Attacker::kStranger, "SYNs to ports where nobody listens",
         ClosedPorts},
    Kind{"stray-acks", Attacker::kStranger, "ACKs and text of connections that do not exist",
         StrayAcks},
    Kind{"odd-flags", Attacker::kStranger, "segments with flags, numbers and text at random",
         OddFlags},
};

}  // namespace

std::span<const Kind> SynKinds() { return kKinds; }

}  // namespace qpip::attack
