// What is known of the paths' MTUs (RFC 8201), a destination an entry.
//
// An entry comes of a Packet Too Big that quotes something a queue pair here has sent, or of a
// connection's search (RFC 4821), and is forgotten after ten minutes: then the link's own MTU is
// tried again, by connections that search with a probe. The table is a hash of sets of four; a new
// entry replaces the one of its set that expires first.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

struct PathMtuEntry {
  ipv6::Address destination;
  uint64_t expires_at = 0;  ///< 0: free
  uint32_t mtu = 0;         ///< bytes, below the link's when it was learned
  uint32_t limit = 0;  ///< 0: `mtu` is a router's word; else found by probing, and packets of up to
                       ///< so many bytes may get through as well
};

/// Bytes of the largest packet to `destination`.
uint32_t PathMtu(const Nic& nic, const ipv6::Address& destination);

/// The connection is established: it starts from what is known of its path.
void AdoptPathMtu(const Nic& nic, QueuePair& q);

/// What the connection's search has come to goes into the table and the counters. Existing
/// connections are not told: each has its own evidence of what gets through.
void NoteMtuSearch(const Nic& nic, QueuePair& q);

/// The most that packets to `destination` may have, for all that routers have said.
uint32_t PathMtuLimit(const Nic& nic, const ipv6::Address& destination);

/// A router has said that packets to `destination` may have `mtu` bytes at most: a value that is
/// not below what IPv6 demands of every link, and below what was known. TCP connections there
/// learn it.
void LearnPathMtu(const Nic& nic, const ipv6::Address& destination, uint32_t mtu);

/// The link's MTU has changed: TCP connections learn it.
void OnLinkMtu(const Nic& nic);

/// Forgets what is too old. Returns false when nothing is.
bool ServicePathMtus(const Nic& nic);
/// When something will be; tcp::kNever: nothing is known.
uint64_t PathMtuDeadline(const Nic& nic);

}  // namespace qpip::fw
