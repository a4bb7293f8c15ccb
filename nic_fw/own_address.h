// The NIC's own address on the link: duplicate address detection (RFC 4862 section 5.4), and the
// answers to those who ask for it (RFC 4861 7.2.4).
#pragma once

#include "nic_fw/link_state.h"

namespace qpip::fw {

/// Whether a packet to this address is for this NIC, and whether the address may be used for
/// anything but neighbour discovery. Only on Ethernet.
bool IsForUs(const Nic& nic, const ipv6::Address& destination);
bool AddressUsable(const Nic& nic);

/// Looks for duplicates once more, or has looked often enough.
void ServiceAddress(const Nic& nic);

/// Somebody else says that the address is its own (RFC 4862 5.4.4).
void OnOwnAddressAdvertised(const Nic& nic);

/// RFC 4861 7.2.3, 7.2.4; RFC 4862 5.4.3.
void OnNeighbourSolicitation(const Nic& nic, const ipv6::Address& source,
                             const icmpv6::NeighbourMessage& message);

}  // namespace qpip::fw
