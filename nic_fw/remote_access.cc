#include "nic_fw/remote_access.h"

#include "nic_fw/memory.h"
#include "nic_fw/memory_key.h"

namespace qpip::fw {
namespace {

using iwarp::AccessVerdict;

constexpr uint64_t kAtomicBytes = 8;

bool IsOf(const Region& region, const StreamOf& stream) {
  return region.protection_domain == stream.protection_domain &&
         (region.queue_pair == kNone || region.queue_pair == stream.queue_pair);
}

/// Bytes from the region's start to `offset`; what lies before it becomes larger than any region.
uint64_t FromStart(const Region& region, uint64_t offset) {
  return (region.access & abi::kAccessZeroBased) != 0 ? offset : offset - region.iova;
}

/// The peer's address has to be a multiple of 8 (RFC 7306 5.1), and so has that of the memory,
/// which the host's `iova` may hide. Pages are looked at when they are known (CarryOut).
bool IsAligned(const Region& region, uint64_t start) {
  const bool there = region.page_count != 0 || (region.base + start) % kAtomicBytes == 0;
  return there && (region.iova + start) % kAtomicBytes == 0;
}

AccessVerdict Check(const Nic& nic, const StreamOf& stream, const RemoteAccess& access,
                    const Region** found) {
  const Region* region = FindRegion(nic, access.stag);
  if (region == nullptr) return AccessVerdict::kInvalidStag;
  // A window is dead with the region that it is a part of.
  if (region->window && nic.region(region->parent).state != RegionState::kValid) {
    return AccessVerdict::kInvalidStag;
  }
  if (!IsOf(*region, stream)) return AccessVerdict::kNotAssociated;
  if ((region->access & access.rights) != access.rights) return AccessVerdict::kNoRight;
  if (access.offset + access.length < access.offset) return AccessVerdict::kWrap;
  const uint64_t start = FromStart(*region, access.offset);
  const bool before = (region->access & abi::kAccessZeroBased) == 0 && access.offset < region->iova;
  if (before || start > region->length || access.length > region->length - start) {
    return AccessVerdict::kBounds;
  }
  const bool atomic = (access.rights & abi::kAccessRemoteAtomic) != 0;
  if (atomic && !IsAligned(*region, start)) return AccessVerdict::kMisaligned;
  *found = region;
  return AccessVerdict::kGranted;
}

}  // namespace

AccessVerdict CheckRemote(const Nic& nic, const StreamOf& stream, const RemoteAccess& access) {
  const Region* region = nullptr;
  return Check(nic, stream, access, &region);
}

AccessVerdict TranslateRemote(const Nic& nic, const StreamOf& stream, const RemoteAccess& access,
                              DmaSegment* out, uint32_t* count, uint32_t* covered) {
  const Region* region = nullptr;
  *count = 0;
  *covered = 0;
  const AccessVerdict verdict = Check(nic, stream, access, &region);
  if (verdict != AccessVerdict::kGranted) return verdict;
  *covered = AddPieces(nic, *region, FromStart(*region, access.offset), access.length, out, count);
  return verdict;
}

AccessVerdict Invalidate(const Nic& nic, const StreamOf& stream, uint32_t stag, bool by_peer) {
  Region* region = FindRegion(nic, stag);
  if (region == nullptr) return AccessVerdict::kInvalidStag;
  if (!IsOf(*region, stream)) return AccessVerdict::kNotAssociated;
  if (by_peer && region->queue_pair == kNone) return AccessVerdict::kNoRight;
  region->state = RegionState::kInvalidated;
  return AccessVerdict::kGranted;
}

void InvalidateBound(const Nic& nic, uint32_t queue_pair) {
  if (nic.state.bound_regions == 0) return;
  for (uint32_t i = 0; i < nic.state.config.max_regions; ++i) {
    Region& region = nic.region(i);
    if (region.state == RegionState::kValid && region.queue_pair == queue_pair) {
      region.state = RegionState::kInvalidated;
    }
  }
}

}  // namespace qpip::fw
