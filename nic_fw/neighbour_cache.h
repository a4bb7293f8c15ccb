// The neighbour cache (RFC 4861 sections 5.1 and 7): which link address a neighbour has, and
// whether it still answers.
//
//     packet for fd00::9 --> NextHop --> Neighbour --> link address        -> frame_send
//                            routes,     INCOMPLETE --> waits (waiting_packets.h)
//                            prefixes,   STALE      --> DELAY --> PROBE --> REACHABLE, or gone
//                            routers     UNREACHABLE -> fails at once
//
// A packet waits here, and nobody waits for it: of each neighbour a few, and not for ever. Three
// questions without an answer, and for some seconds the neighbour is known not to be there.
#pragma once

#include "nic_fw/link_state.h"

namespace qpip::fw {

/// What is to become of an outgoing packet.
enum class LinkAnswer : uint8_t {
  kReady,        ///< `link` is filled in
  kResolving,    ///< `neighbour` is being asked: the packet may wait for the answer
  kNoRouteYet,   ///< may wait for a router's answer
  kWait,         ///< the NIC's own address may not be used yet: nothing goes out
  kNoPlace,      ///< as many neighbours as may be are being asked
  kUnreachable,  ///< the neighbour has not answered
  kNoRoute,      ///< no route, or the NIC's own address may not be used
};
struct LinkResolution {
  LinkAnswer answer = LinkAnswer::kNoRoute;
  uint32_t neighbour = kNone;     ///< kResolving
  icmpv6::LinkAddress link = {};  ///< kReady
  bool provoked = false;          ///< kResolving, kNoRouteYet: the packet answers a stranger
};

/// Finds the link address for a packet, of which `header_length` bytes are readable. Only on
/// Ethernet.
LinkResolution ResolveLink(const Nic& nic, const uint8_t* header, uint32_t header_length);

/// A message carried its sender's address (7.2.3, 6.3.4): news make the entry stale.
void LearnFromSource(const Nic& nic, const ipv6::Address& source,
                     const icmpv6::LinkAddress& address);

/// A neighbour's advertisement of an address that is not the NIC's (7.2.5).
void OnNeighbourAdvertisement(const Nic& nic, const icmpv6::NeighbourMessage& message);

/// New data was acknowledged from there: the way to it works (RFC 4861 7.3.1).
void ConfirmNeighbour(const Nic& nic, const ipv6::Address& source);

/// A router has said something: what waits for a route goes out, or waits for a neighbour, if there
/// is one now.
void RouteWaiting(const Nic& nic);

/// Does what is due for the entry at `index`. Returns the neighbour's address if it did not answer
/// and is given up, the unspecified one otherwise.
ipv6::Address ServiceNeighbour(const Nic& nic, uint32_t index);

}  // namespace qpip::fw
