// What a peer may do with this end's memory (RFC 5040 7.2 and 8.1.1, RFC 5041 7.1 and 8.2).
//
// An STag is the key of a region (memory_key.h) that was registered with rights for peers. A stream
// may use those of its protection domain, unless they are bound to one queue pair: then only that.
#pragma once

#include "nic_fw/state.h"
#include "protocols/iwarp/rdma_receiver.h"

namespace qpip::fw {

/// Whose access it is.
struct StreamOf {
  uint32_t queue_pair = 0;  ///< handle
  uint32_t protection_domain = 0;
};

struct RemoteAccess {
  uint32_t stag = 0;
  uint64_t offset = 0;  ///< tagged offset: an address of the region, or from its start if it is
                        ///< zero-based
  uint32_t length = 0;  ///< bytes; not 0, of which nothing is to be checked
  uint32_t rights = 0;  ///< abi::AccessFlags: what for
};

/// Whether it may be, and if not why not, by the first check that fails: STag, stream, rights,
/// wrapping, bounds, alignment of an atomic operation.
iwarp::AccessVerdict CheckRemote(const Nic& nic, const StreamOf& stream,
                                 const RemoteAccess& access);

/// ... and where the bytes lie: as many as kMaxDmaSegments pieces hold, `*covered`. `*count` pieces
/// when it is granted.
iwarp::AccessVerdict TranslateRemote(const Nic& nic, const StreamOf& stream,
                                     const RemoteAccess& access, DmaSegment* out, uint32_t* count,
                                     uint32_t* covered);

/// Makes an STag useless, until its owner deregisters it. A peer may do so with those that are
/// bound to its stream (RFC 5040 8.1.1 rule 7), the host with all of the stream's domain.
iwarp::AccessVerdict Invalidate(const Nic& nic, const StreamOf& stream, uint32_t stag,
                                bool by_peer);
/// ... and all that are bound to a queue pair, which ends.
void InvalidateBound(const Nic& nic, uint32_t queue_pair);

}  // namespace qpip::fw
