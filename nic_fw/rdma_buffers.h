// Where the bytes of RDMA segments go: regions that peers have named, posted receives, the lists of
// reads; from a frame, or from the overflow pool.
#pragma once

#include <span>

#include "nic_fw/memory.h"
#include "nic_fw/rdma_state.h"

namespace qpip::fw {

/// Host memory for the next bytes of a segment, as many as the pieces hold.
struct Places {
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t count = 0;
  uint32_t covered = 0;
};

/// What a planned segment needs to be placed.
struct Target {
  const abi::RecvWqe* wqe = nullptr;  ///< of a Send or immediate data
  std::span<const abi::Sge> list;     ///< where it goes, unless a region is named
  uint32_t offset = 0;                ///< in the list
};

/// Where bytes [done, ...) of a segment go. Answers why not.
iwarp::Cause Place(const Nic& nic, const QueuePair& q, const iwarp::SegmentPlan& plan,
                   const Target& target, uint32_t done, Places* places);
/// ... asked for all of it: a list is translated so many pieces at a time, and may go wrong behind
/// the first.
iwarp::Cause CheckPlaces(const Nic& nic, const QueuePair& q, const iwarp::SegmentPlan& plan,
                         const Target& target);

/// Whether a receive is posted. One whose doorbell is still in the FIFO was posted all the same:
/// the host's own index says so. What it says is looked at; the host is not trusted.
bool HasReceive(const Nic& nic, QueuePair& q);
/// The message that `delivery` ends has filled the receive at hand.
void TakeReceive(QueuePair& q, const abi::RecvWqe& wqe, RdmaDelivery* delivery);

/// A copy inside host memory, on behalf of RdmaState::gathered. Tag::kDrainCopy.
void StartCopy(const Nic& nic, QueuePair& q, RdmaState& r, const DmaSegment& from,
               const DmaSegment* to, uint32_t to_count);
/// ... of the payload of the FPDU at host address `fpdu`, which RdmaState::gathered has planned.
void CopyPayload(const Nic& nic, QueuePair& q, RdmaState& r, uint64_t fpdu, const Target& target);

}  // namespace qpip::fw
