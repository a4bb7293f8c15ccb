#include "nic_fw/neighbour_discovery.h"

#include <span>

#include "nic_fw/neighbour_cache.h"
#include "nic_fw/neighbour_table.h"
#include "nic_fw/own_address.h"
#include "nic_fw/routes.h"
#include "nic_fw/waiting_packets.h"
#include "protocols/icmpv6/message.h"

namespace qpip::fw {
namespace {

/// The earliest deadline of all; what has expired is forgotten.
uint64_t ExpireAndSummarise(const Nic& nic) {
  const LinkState& link = LinkOf(nic);
  uint64_t next = Earlier(Earlier(link.address_deadline, link.router_deadline), ExpireRoutes(nic));
  if (!link.without_route.empty()) next = Earlier(next, link.routers_awaited_until);
  // Nobody is asked while the NIC has no address to ask from.
  if (link.address_state != AddressState::kPreferred) return next;
  for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
    const Neighbour& n = NeighbourAt(nic, i);
    if (n.state != NeighbourState::kFree) next = Earlier(next, n.deadline);
  }
  return next;
}

}  // namespace

void OnNeighbourDiscovery(const Nic& nic, const ReceivedPacket& packet) {
  const std::span<const uint8_t> bytes = packet.UpperReadable();
  icmpv6::NeighbourMessage message;
  const icmpv6::NeighbourEnvelope envelope = {packet.ip.source, packet.ip.destination,
                                              packet.ip.hop_limit};
  // A message longer than what the core can read is more than this firmware knows what to do with.
  if (bytes.size() < packet.upper.length ||
      icmpv6::ParseNeighbour(bytes, envelope, &message) != icmpv6::NeighbourError::kNone) {
    nic.Drop(abi::DropReason::kBadNeighbourMessage);
    return;
  }
  nic.Count(abi::NicCounter::kNeighbourMessagesReceived);
  switch (message.type) {
    case icmpv6::kNeighbourSolicitation:
      OnNeighbourSolicitation(nic, packet.ip.source, message);
      break;
    case icmpv6::kNeighbourAdvertisement:
      if (message.target == OwnAddress(nic)) {
        OnOwnAddressAdvertised(nic);
      } else {
        OnNeighbourAdvertisement(nic, message);
      }
      break;
    case icmpv6::kRouterAdvertisement:
      OnRouterAdvertisement(nic, packet.ip.source, message);
      if (message.has_source_link) LearnFromSource(nic, packet.ip.source, message.source_link);
      RouteWaiting(nic);
      Hasten(LinkOf(nic), nic.now);  // what has no route even so is not going to have one
      break;
    default:
      break;  // a router solicitation: for routers
  }
}

void StartLink(const Nic& nic) {
  if (!OnEthernet(nic)) return;
  LinkState& link = LinkOf(nic);
  link = LinkState{};
  link.configured_mtu = nic.state.config.mtu;
  link.address_deadline = link.next_deadline = nic.now;
  link.router_deadline = tcp::kNever;
  link.routers_awaited_until = tcp::kNever;
  FormatNeighbours(nic);
  FormatWaitingPackets(nic);
}

bool ServiceNeighbours(const Nic& nic, ipv6::Address* lost) {
  *lost = {};
  if (!OnEthernet(nic) || LinkOf(nic).next_deadline > nic.now) return false;
  LinkState& link = LinkOf(nic);
  if (link.address_deadline <= nic.now) ServiceAddress(nic);
  if (link.router_deadline <= nic.now) ServiceRouterSolicitation(nic);
  if (link.routers_awaited_until <= nic.now) FailWaiting(nic, kNone, icmpv6::kNoRoute);
  if (link.address_state == AddressState::kPreferred) {
    for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
      const Neighbour& n = NeighbourAt(nic, i);
      if (n.state == NeighbourState::kFree || n.deadline > nic.now) continue;
      *lost = ServiceNeighbour(nic, i);
      if (lost->IsUnspecified()) continue;
      link.next_deadline = nic.now;  // the others' turn is the next
      return true;
    }
  }
  link.next_deadline = ExpireAndSummarise(nic);
  return true;
}

uint64_t NeighbourDeadline(const Nic& nic) {
  return OnEthernet(nic) ? LinkOf(nic).next_deadline : tcp::kNever;
}

}  // namespace qpip::fw
