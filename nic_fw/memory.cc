#include "nic_fw/memory.h"

#include "nic_fw/memory_key.h"

namespace qpip::fw {
namespace {

/// The region an element lies in, when the element may be accessed; nullptr otherwise.
const Region* CheckElement(const Nic& nic, uint32_t protection_domain, uint32_t access,
                           const abi::Sge& sge) {
  const Region* region = FindRegion(nic, sge.key);
  if (region == nullptr || region->protection_domain != protection_domain) return nullptr;
  if (region->window) return nullptr;  // those are for peers
  if ((region->access & access) != access) return nullptr;
  // Compare offsets, not ends: address + length may wrap.
  const uint64_t offset = sge.address - region->iova;
  if (sge.address < region->iova || offset > region->length ||
      sge.length > region->length - offset) {
    return nullptr;
  }
  return region;
}

}  // namespace

uint32_t AddPieces(const Nic& nic, const Region& region, uint64_t start, uint32_t length,
                   DmaSegment* out, uint32_t* count) {
  if (region.page_count == 0) {
    if (*count == kMaxDmaSegments) return 0;
    out[(*count)++] = {region.base + start, length, 0};
    return length;
  }
  // A paged region: the DMA is split at page boundaries (adjacent pages are not merged, as the
  // engine has one address register).
  const uint64_t* pages = nic.Table(nic.state.tables.page_entries) + region.first_page;
  const uint64_t page_mask = (uint64_t{1} << region.page_shift) - 1;
  start += region.iova & page_mask;
  uint32_t done = 0;
  while (done < length && *count < kMaxDmaSegments) {
    const uint64_t in_page = start & page_mask;
    uint32_t piece = length - done;
    if (piece > page_mask + 1 - in_page) piece = static_cast<uint32_t>(page_mask + 1 - in_page);
    const uint32_t page = static_cast<uint32_t>(start >> region.page_shift);
    QPIP_ASSERT(page < region.page_count);  // bounds were checked against the region's
    out[(*count)++] = {pages[page] + in_page, piece, 0};
    start += piece;
    done += piece;
  }
  return done;
}

uint32_t Translate(const Nic& nic, uint32_t protection_domain, uint32_t access,
                   std::span<const abi::Sge> list, uint32_t offset, uint32_t length,
                   DmaSegment* out, uint32_t* covered) {
  if (list.size() == 1 && offset < list[0].length && length <= list[0].length - offset) {
    // Most lists: one element of a contiguous region.
    const abi::Sge& sge = list[0];
    const Region* const region = CheckElement(nic, protection_domain, access, sge);
    if (region == nullptr || length == 0) return 0;
    if (region->page_count == 0) {
      *out = {region->base + (sge.address - region->iova + offset), length, 0};
      *covered = length;
      return 1;
    }
  }
  uint32_t count = 0;
  uint32_t done = 0;
  for (const abi::Sge& sge : list) {
    if (done == length || count == kMaxDmaSegments) break;
    if (offset >= sge.length) {
      offset -= sge.length;
      continue;
    }
    const Region* region = CheckElement(nic, protection_domain, access, sge);
    if (region == nullptr) return 0;
    uint32_t rest = sge.length - offset;
    if (rest > length - done) rest = length - done;
    done += AddPieces(nic, *region, sge.address - region->iova + offset, rest, out, &count);
    offset = 0;
  }
  *covered = done;
  if (done == 0) return 0;
  // Short only because the pieces ran out, never because the list did.
  return done == length || count == kMaxDmaSegments ? count : 0;
}

bool CheckList(const Nic& nic, uint32_t protection_domain, uint32_t access,
               std::span<const abi::Sge> list) {
  for (const abi::Sge& sge : list) {
    if (sge.length != 0 && CheckElement(nic, protection_domain, access, sge) == nullptr) {
      return false;
    }
  }
  return true;
}

namespace {

/// First-fit search for `count` consecutive translation entries; kNone when there is no such run.
uint32_t FindPageRun(const Nic& nic, uint32_t count) {
  uint32_t start = 0;
  for (;;) {
    if (count > nic.state.config.max_page_entries ||
        start > nic.state.config.max_page_entries - count) {
      return kNone;
    }
    uint32_t conflict_end = kNone;
    for (uint32_t i = 0; i < nic.state.config.max_regions; ++i) {
      const Region& r = nic.region(i);
      if (r.state == RegionState::kFree || r.page_count == 0) continue;
      if (r.first_page < start + count && start < r.first_page + r.page_count) {
        conflict_end = r.first_page + r.page_count;
        break;
      }
    }
    if (conflict_end == kNone) return start;
    start = conflict_end;
  }
}

}  // namespace

abi::CommandStatus ReserveRegion(const Nic& nic, const abi::RegisterMemory& request,
                                 uint32_t* index) {
  if (request.length == 0 || request.iova + request.length < request.iova) {
    return abi::CommandStatus::kBadCommand;
  }
  if (request.page_count != 0) {
    if (request.page_shift < 12 || request.page_shift > 30) return abi::CommandStatus::kBadCommand;
    const uint64_t in_page = request.iova & ((uint64_t{1} << request.page_shift) - 1);
    const uint64_t pages = (in_page + request.length - 1) >> request.page_shift;
    if (pages + 1 != request.page_count) return abi::CommandStatus::kBadCommand;
  }
  // The verbs' rule: whoever may be written to by peers may be written to.
  constexpr uint32_t kWrites = abi::kAccessRemoteWrite | abi::kAccessRemoteAtomic;
  if ((request.access & kWrites) != 0 && (request.access & abi::kAccessLocalWrite) == 0) {
    return abi::CommandStatus::kBadCommand;
  }
  const bool bound = request.queue_pair != abi::kAnyQueuePair;
  if (bound) {
    const QueuePair* q = QueuePairOfHost(nic, request.queue_pair);
    if (q == nullptr || q->protection_domain != request.protection_domain) {
      return abi::CommandStatus::kBadHandle;
    }
  }
  if (nic.state.free_regions.empty()) return abi::CommandStatus::kNoResource;
  uint32_t first_page = kNone;
  if (request.page_count != 0) {
    first_page = FindPageRun(nic, request.page_count);
    if (first_page == kNone) return abi::CommandStatus::kNoResource;
  }
  const uint32_t slot = TakeRegion(nic);
  Region& region = nic.region(slot);
  region.iova = request.iova;
  region.length = request.length;
  region.base = request.page_list;
  region.first_page = first_page;
  region.page_count = request.page_count;
  region.page_shift = static_cast<uint8_t>(request.page_shift);
  region.access = request.access;
  region.protection_domain = request.protection_domain;
  if (bound) {
    region.queue_pair = request.queue_pair;
    ++nic.state.bound_regions;
  }
  *index = slot;
  return abi::CommandStatus::kOk;
}

}  // namespace qpip::fw
