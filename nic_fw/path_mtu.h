// What is known of the paths' MTUs (RFC 8201), a destination an entry.
//
// An entry comes of a Packet Too Big that quotes something a queue pair here has sent, or of a
// connection's search (RFC 4821), and is forgotten after ten minutes: then the link's own MTU is
// tried again, by connections that search with a probe. The table is a hash of sets of four; a new
// entry replaces the one of its set that expires first.
//
// What is said of a TCP segment proves by its sequence number that its sender has seen it. A UDP
// datagram has nothing that is hard to guess but its ports: what is said of one is believed when
// such a datagram has left lately (RFC 8201 section 4, RFC 8899 section 4.6.1), and by datagrams
// alone, in an entry of their own. TCP connections find out by their own packets.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

struct PathMtuEntry {
  ipv6::Address destination;
  uint64_t expires_at = 0;        ///< 0: free
  uint32_t mtu : 31 = 0;          ///< bytes, below the link's when it was learned
  bool of_datagrams : 1 = false;  ///< learned by one, and for them alone
  uint32_t limit = 0;  ///< 0: `mtu` is a router's word; else found by probing, and packets of up to
                       ///< so many bytes may get through as well
};
static_assert(sizeof(PathMtuEntry) == 32);

/// Who has sent a datagram, and to whom.
struct DatagramFlow {
  ipv6::Address destination;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
};

/// Bytes of the largest packet to `destination` that is none of TCP's.
uint32_t PathMtu(const Nic& nic, const ipv6::Address& destination);

/// The connection is established: it starts from what is known of its path.
void AdoptPathMtu(const Nic& nic, QueuePair& q);

/// What the connection's search has come to goes into the table and the counters. Existing
/// connections are not told: each has its own evidence of what gets through.
void NoteMtuSearch(const Nic& nic, QueuePair& q);

/// The most that TCP's packets to `destination` may have, for all that routers have said.
uint32_t PathMtuLimit(const Nic& nic, const ipv6::Address& destination);

/// A router has said, of a TCP segment that is outstanding, that packets to `destination` may have
/// `mtu` bytes at most: a value that is not below what IPv6 demands of every link, and below what
/// was known. TCP connections there learn it.
void LearnPathMtu(const Nic& nic, const ipv6::Address& destination, uint32_t mtu);

/// A packet of `packet_bytes` with a datagram of `flow`, or its beginning, has left.
void NoteDatagramSent(const Nic& nic, const DatagramFlow& flow, uint32_t packet_bytes);
/// The same, said of a datagram of `flow`. False: none has left lately that a router could refuse,
/// as far as is known, and nothing is learned.
bool LearnDatagramMtu(const Nic& nic, const DatagramFlow& flow, uint32_t mtu);

/// The link's MTU has changed: TCP connections learn it.
void OnLinkMtu(const Nic& nic);

/// Forgets what is too old. Returns false when nothing is.
bool ServicePathMtus(const Nic& nic);
/// When something will be; tcp::kNever: nothing is known.
uint64_t PathMtuDeadline(const Nic& nic);

}  // namespace qpip::fw
