// Where packets go next on the link: static routes, and the routers and prefixes that routers
// advertise (RFC 4861 section 6.3).
#pragma once

#include "nic_fw/link_state.h"

namespace qpip::fw {

/// Whom a packet is handed to on this link (RFC 4861 5.2): the longest match of static routes, own
/// prefix and advertised prefixes, else a default router. Returns false when there is none.
bool NextHop(const Nic& nic, const ipv6::Address& destination, ipv6::Address* next);

/// The default router that has this address, or nullptr. The unspecified address: a free place.
DefaultRouter* FindRouter(LinkState& link, const ipv6::Address& address);

/// Begins to ask for routers; packets without a route may wait for the answer.
void StartRouterSolicitation(const Nic& nic);
/// Asks once more, or has asked often enough.
void ServiceRouterSolicitation(const Nic& nic);

/// RFC 4861 6.3.4, without what the message tells of its sender's link address.
void OnRouterAdvertisement(const Nic& nic, const ipv6::Address& source,
                           const icmpv6::NeighbourMessage& message);

/// Forgets routers and prefixes whose time has passed. Returns the next one's, tcp::kNever: none.
uint64_t ExpireRoutes(const Nic& nic);

}  // namespace qpip::fw
