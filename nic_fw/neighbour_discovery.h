// Neighbour discovery on an Ethernet link (RFC 4861): takes the messages, does what is due. What
// they mean is in neighbour_cache.h, own_address.h and routes.h. On a point-to-point link there is
// none.
#pragma once

#include "nic_fw/link_state.h"
#include "nic_fw/received_packet.h"

namespace qpip::fw {

/// Takes a neighbour discovery message whose checksum is right; the frame stays the caller's.
void OnNeighbourDiscovery(const Nic& nic, const ReceivedPacket& packet);

/// Starts to use the link. Once, when the arena has been formatted.
void StartLink(const Nic& nic);
/// Does what is due. Returns false when nothing was. `*lost`: a neighbour that did not answer and
/// is forgotten, or the unspecified address.
bool ServiceNeighbours(const Nic& nic, ipv6::Address* lost);
/// When something will be due; tcp::kNever on a point-to-point link.
uint64_t NeighbourDeadline(const Nic& nic);

}  // namespace qpip::fw
