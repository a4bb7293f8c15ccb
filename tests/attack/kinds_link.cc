// Neighbours that are not there, and forged neighbour discovery (RFC 4861; the threats are RFC
// 3756's, those to a host's table RFC 6583's). To claim another host's address, or a router's, is
// possible for whoever is on the link, with any implementation: what is tried here is what it does
// to others.
#include <algorithm>
#include <array>

#include "kinds.h"
#include "protocols/common/byte_order.h"

namespace qpip::attack {
namespace {

/// Datagrams to the echo port, whose echoes have nowhere to go.
void Absent(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendUdp(AbsentNeighbour(scene.target, static_cast<uint32_t>(scene.random())), 4000,
                      kEchoPort, RandomBytes(scene.random, 8));
  }
}

void AbsentOne(Scene& scene) {
  const ipv6::Address source = AbsentNeighbour(scene.target, 1);
  while (scene.pace.Next())
    scene.lan.SendUdp(source, 4000, kEchoPort, RandomBytes(scene.random, 8));
}

void AbsentPings(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendIcmp(AbsentNeighbour(scene.target, static_cast<uint32_t>(scene.random())),
                       IcmpMessage({.type = icmpv6::kEchoRequest}));
  }
}

std::vector<uint8_t> Discovery(const icmpv6::NeighbourMessage& message) {
  std::vector<uint8_t> bytes(icmpv6::kMaxNeighbourMessage);
  bytes.resize(icmpv6::EmitNeighbour(
      message, std::span<uint8_t, icmpv6::kMaxNeighbourMessage>(bytes.data(), bytes.size())));
  return bytes;
}

icmpv6::LinkAddress RandomLink(Random& random) {
  icmpv6::LinkAddress link = {2};
  StoreBe32(link.data() + 2, static_cast<uint32_t>(random()));
  return link;
}

/// Each makes an entry of whoever asks.
void Crowd(Scene& scene) {
  while (scene.pace.Next()) {
    scene.lan.SendIcmp(AbsentNeighbour(scene.target, static_cast<uint32_t>(scene.random())),
                       Discovery({.type = icmpv6::kNeighbourSolicitation,
                                  .target = scene.target.address,
                                  .has_source_link = true,
                                  .source_link = RandomLink(scene.random)}),
                       icmpv6::kNeighbourHopLimit);
  }
}

void Advertisements(Scene& scene) {
  while (scene.pace.Next()) {
    const ipv6::Address who =
        AbsentNeighbour(scene.target, static_cast<uint32_t>(scene.random() % 4096));
    scene.lan.SendIcmp(who,
                       Discovery({.type = icmpv6::kNeighbourAdvertisement,
                                  .target = who,
                                  .router = scene.random() % 2 == 0,
                                  .solicited = scene.random() % 2 == 0,
                                  .override_entry = true,
                                  .has_target_link = true,
                                  .target_link = RandomLink(scene.random)}),
                       icmpv6::kNeighbourHopLimit);
  }
}

ipv6::Address LinkLocal(Random& random) {
  ipv6::Address address{{0xfe, 0x80}};
  StoreBe32(address.bytes + 8, static_cast<uint32_t>(random()));
  StoreBe32(address.bytes + 12, static_cast<uint32_t>(random()));
  return address;
}

/// Routers without number, each with a hop limit of 1, timers of a millisecond and an MTU of 1280.
void Routers(Scene& scene) {
  while (scene.pace.Next()) {
    std::vector<uint8_t> message(16 + 8 + 8);
    message[0] = icmpv6::kRouterAdvertisement;
    message[4] = 1;                       // hop limit
    StoreBe16(message.data() + 6, 9000);  // lifetime
    StoreBe32(message.data() + 8, 1);     // reachable
    StoreBe32(message.data() + 12, 1);    // retransmit
    message[16] = 1;                      // source link address
    message[17] = 1;
    const icmpv6::LinkAddress link = RandomLink(scene.random);
    std::copy(link.begin(), link.end(), message.begin() + 18);
    message[24] = 5;  // MTU
    message[25] = 1;
    StoreBe32(message.data() + 28, 1280);
    scene.lan.SendIcmp(LinkLocal(scene.random), message, icmpv6::kNeighbourHopLimit,
                       &icmpv6::kAllNodes);
  }
}

/// Redirects of one client's address to a neighbour that is not there, from who is no router of
/// ours.
void Redirects(Scene& scene) {
  while (scene.pace.Next()) {
    LiveConnection live;
    if (!PickLive(scene, &live)) continue;
    std::vector<uint8_t> message(40);
    message[0] = icmpv6::kRedirect;
    const ipv6::Address to = LinkLocal(scene.random);
    std::copy(std::begin(to.bytes), std::end(to.bytes), message.begin() + 8);
    std::copy(std::begin(live.address.bytes), std::end(live.address.bytes), message.begin() + 24);
    scene.lan.SendIcmp(LinkLocal(scene.random), message, icmpv6::kNeighbourHopLimit);
  }
}

/// Discovery that no rule lets pass: hop limits, codes, lengths and sources at random.
void Malformed(Scene& scene) {
  while (scene.pace.Next()) {
    std::vector<uint8_t> message = RandomBytes(scene.random, 8 + scene.random() % 80);
    message[0] = static_cast<uint8_t>(icmpv6::kRouterSolicitation + scene.random() % 5);
    message[2] = message[3] = 0;
    scene.lan.SendIcmp(scene.random() % 2 == 0 ? ipv6::Address{} : LinkLocal(scene.random), message,
                       scene.random() % 2 == 0 ? icmpv6::kNeighbourHopLimit : uint8_t{64});
  }
}

constexpr std::array kKinds = {
    Kind{"absent-neighbours", Attacker::kNeighbour,
         "datagrams from addresses on the link that nobody has", Absent, true},
    Kind{"absent-neighbour", Attacker::kNeighbour,
         "datagrams from one address on the link that nobody has", AbsentOne},
    Kind{"absent-pings", Attacker::kNeighbour, "echo requests from such addresses", AbsentPings},
    Kind{"neighbour-crowd", Attacker::kNeighbour, "neighbour solicitations from ever new addresses",
         Crowd},
    Kind{"neighbour-claims", Attacker::kNeighbour,
         "unsolicited neighbour advertisements of 4,096 addresses", Advertisements},
    Kind{"forged-routers", Attacker::kNeighbour,
         "router advertisements of ever new routers, with a hop limit of 1, timers of 1 ms and an "
         "MTU of 1280",
         Routers, true},
    Kind{"forged-redirects", Attacker::kNeighbour, "redirects of a client's address from nowhere",
         Redirects},
    Kind{"malformed-discovery", Attacker::kNeighbour, "neighbour discovery of random bytes",
         Malformed},
};

}  // namespace

std::span<const Kind> LinkKinds() { return kKinds; }

}  // namespace qpip::attack
