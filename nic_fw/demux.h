// Demultiplexing: from an arriving packet's addresses to a queue pair. One hash table of chained
// handles for TCP 4-tuples and UDP ports; keyed hash, so that no peer can choose collisions.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// The TCP queue pair of `tuple`, or kNone.
uint32_t FindTcp(const Nic& nic, const tcp::FourTuple& tuple);
/// The UDP queue pair bound to `port`, or kNone.
uint32_t FindUdp(const Nic& nic, uint16_t port);
/// Files `q` under its tuple (TCP) or local port (UDP). Must not be filed already.
void InsertDemux(const Nic& nic, QueuePair& q);
void RemoveDemux(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
