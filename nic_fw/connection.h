// What happens to connections beside the segments that arrive: their timers, peers that go away.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// All connections with `peer` end: it has left the link. The unspecified address: everybody's do.
void OnPeerDown(const Nic& nic, const ipv6::Address& peer);

/// `neighbour` did not answer: connections that are being opened through it fail.
void OnNeighbourLost(const Nic& nic, const ipv6::Address& neighbour);

/// A timer of `q` is due.
void OnTimer(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
