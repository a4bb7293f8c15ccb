// The messages of neighbour discovery that this NIC sends, and how a frame leaves on the link.
#pragma once

#include "nic_fw/link_state.h"
#include "protocols/icmpv6/message.h"

namespace qpip::fw {

/// The NIC's own link address.
icmpv6::LinkAddress OwnLink(const Nic& nic);

/// Hands a whole frame to the wire; false when that has no room.
bool SendOnLink(const Nic& nic, const uint8_t* bytes, uint32_t length,
                const icmpv6::LinkAddress& to);

/// Sends a message. One that the wire has no room for is lost; a timer or the peer repeats it.
void SendNeighbourMessage(const Nic& nic, const icmpv6::NeighbourMessage& message,
                          const ipv6::Address& source, const ipv6::Address& destination,
                          const icmpv6::LinkAddress& to);

/// Asks for `n`'s address, or whether it still has it.
void SolicitNeighbour(const Nic& nic, const Neighbour& n);

/// Duplicate address detection's question (RFC 4862 5.4.2).
void SolicitOwnAddress(const Nic& nic);

/// RFC 4861 6.3.7.
void SolicitRouters(const Nic& nic);

}  // namespace qpip::fw
