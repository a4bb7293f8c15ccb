// RDMA segments on their way in: FPDUs are found in the text of the stream, checked, and their
// bytes placed where they belong: a region that the peer has named, a posted receive, the list of a
// read (RFC 5044 section 6, RFC 5041 sections 5.3 and 7, RFC 5040 section 5).
//
//     all of it in one frame ──────> placed from the frame
//     in several ──────────────────> into the overflow pool, and copied from there when it is whole
//
// What is wrong is refused by a Terminate, and neither placed nor acknowledged.
#pragma once

#include "nic_fw/rdma_state.h"

namespace qpip::fw {

/// Issues whatever can be of the text at hand.
void IssueRdma(const Nic& nic, QueuePair& q);

/// A part of what context `index` has issued is in place. True: that was the last part, and the
/// context may go on (or go).
bool OnRdmaPart(const Nic& nic, uint32_t index, uint32_t status);
/// All parts are: what has been placed takes effect and counts.
void OnRdmaPlaced(const Nic& nic, QueuePair& q, uint32_t index);
/// ... out of the pool.
void OnRdmaCopied(const Nic& nic, QueuePair& q, uint32_t status);

/// The peer has closed, and all it has sent is placed. Says so to the host, and closes in turn.
void OnRdmaEndOfStream(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
