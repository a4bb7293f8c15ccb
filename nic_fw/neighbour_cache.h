// The neighbour cache (RFC 4861 sections 5.1 and 7): which link address a neighbour has, and
// whether it still answers.
//
//     frame for fd00::9 --> NextHop --> Neighbour --> link address        -> frame_send
//                           routes,     INCOMPLETE --> waits, or blocked
//                           prefixes,   STALE      --> DELAY --> PROBE --> REACHABLE, or gone
//                           routers
//
// A small frame waits here for its neighbour's address (a SYN is not lost); one with a payload is
// answered as by a full wire, and its queue pair tries again.
#pragma once

#include "nic_fw/link_state.h"

namespace qpip::fw {

/// What is to become of an outgoing frame.
enum class LinkAnswer : uint8_t {
  kReady,        ///< `link` is filled in
  kQueued,       ///< copied; goes out when the address is known
  kWait,         ///< try again later
  kUnreachable,  ///< no route, or the NIC's own address may not be used
};

/// Finds the link address for a frame. `small_length`: its bytes when it has no payload behind
/// them, so that it can be kept; 0 otherwise. Only on Ethernet.
LinkAnswer ResolveLink(const Nic& nic, const uint8_t* frame, uint32_t small_length, uint8_t* link);

/// The entry of `address`, or kNone.
uint32_t FindNeighbour(const Nic& nic, const ipv6::Address& address);

/// A message carried its sender's address (7.2.3, 6.3.4): news make the entry stale.
void LearnFromSource(const Nic& nic, const ipv6::Address& source,
                     const icmpv6::LinkAddress& address);

/// A neighbour's advertisement of an address that is not the NIC's (7.2.5).
void OnNeighbourAdvertisement(const Nic& nic, const icmpv6::NeighbourMessage& message);

/// New data was acknowledged from there: the way to it works (RFC 4861 7.3.1).
void ConfirmNeighbour(const Nic& nic, const ipv6::Address& source);

/// The NIC's address may be used from now on: what waits goes out, or is asked for.
void WakeNeighbours(const Nic& nic);

/// Does what is due for the entry at `index`. Returns the neighbour's address if it did not answer
/// and is given up, the unspecified one otherwise.
ipv6::Address ServiceNeighbour(const Nic& nic, uint32_t index);

}  // namespace qpip::fw
