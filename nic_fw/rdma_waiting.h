// Messages that have come before a receive for them: "receiver not ready" of verbs, where a queue
// pair asks for it (abi::kQpWaitForReceive). iWARP itself would end the stream.
//
//     pool    | an FPDU being gathered | those that wait, in a ring ...                    |
//                                        read ──> oldest   write ──> next    limit
//
// Segments of untagged messages for receives are put there, checked and in order, and count as
// placed: whatever comes behind them in the stream, tagged or for other queues, is placed past
// them. So an answer to a read does not wait for a receive, as long as the pool has room: what is
// there narrows the window. When a receive is posted the oldest goes on into it.
#pragma once

#include <span>

#include "nic_fw/rdma_state.h"

namespace qpip::fw {

/// Whether the segment whose ULPDU begins with `head` waits: it needs a receive, and there is none,
/// or others wait in front of it.
bool HasToWait(const Nic& nic, QueuePair& q, const RdmaState& r, std::span<const uint8_t> head);

/// The place for a segment that waits, planned in `delivery` and not committed yet: its length
/// field and ULPDU.
DmaSegment PlaceToWait(QueuePair& q, RdmaState& r, const RdmaDelivery& delivery);

/// Immediate data wait with how much has been written in front of them, in the half that verbs do
/// not have: `place` is for what is in front of that.
void KeepWritten(const Nic& nic, const RdmaState& r, const iwarp::SegmentPlan& plan,
                 DmaSegment* place);

enum class WaitingStep : uint8_t {
  kNothing,  ///< more cannot be done now; what comes may be placed
  kBusy,     ///< a copy is under way, or the stream has failed or was refused
};
/// Those that wait go on into receives, as far as there are any.
WaitingStep IssueWaiting(const Nic& nic, QueuePair& q, RdmaState& r);
/// The oldest's first bytes were read.
void OnWaitingHead(RdmaState& r);

/// They are of no use any more.
void DropWaiting(QueuePair& q, RdmaState& r);

}  // namespace qpip::fw
