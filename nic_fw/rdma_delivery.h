// What RDMA segments come to whose bytes are in place: completions, requests that are owed,
// answers, Terminates; and how a stream that has been refused is brought to its end (RFC 5040
// section 7).
#pragma once

#include "nic_fw/rdma_state.h"
#include "nic_fw/remote_access.h"

namespace qpip::fw {

inline constexpr uint32_t kAtomicBytes = 8;
/// Whom a peer's access is checked for.
inline StreamOf StreamOfQueue(const QueuePair& q) { return {q.handle, q.protection_domain}; }

/// An FPDU, or a segment, is refused for `cause`: the peer is told so by a Terminate, unless it has
/// been told before.
void RefuseFpdu(const Nic& nic, QueuePair& q, RdmaState& r, iwarp::Cause cause);
void RefuseSegment(const Nic& nic, QueuePair& q, RdmaState& r, const iwarp::SegmentPlan& plan,
                   iwarp::Cause cause, uint32_t ulpdu_length);

/// A segment takes effect: its bytes are in place.
void DeliverRdma(const Nic& nic, QueuePair& q, RdmaState& r, const RdmaDelivery& delivery);

}  // namespace qpip::fw
