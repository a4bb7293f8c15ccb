#include "nic_fw/memory_window.h"

#include "nic_fw/memory_key.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kPeersWrites = abi::kAccessRemoteWrite | abi::kAccessRemoteAtomic;
constexpr uint32_t kWindowRights = kPeersWrites | abi::kAccessRemoteRead | abi::kAccessZeroBased;

/// Whether a window with these rights may be bound to `region`.
bool AllowsWindow(const Region& region, const StreamOf& stream, uint32_t access) {
  if (region.window || region.protection_domain != stream.protection_domain) return false;
  if (region.queue_pair != kNone && region.queue_pair != stream.queue_pair) return false;
  if ((region.access & abi::kAccessBindWindow) == 0 || (access & ~kWindowRights) != 0) return false;
  // The verbs' rule: whoever may be written to by peers may be written to.
  return (access & kPeersWrites) == 0 || (region.access & abi::kAccessLocalWrite) != 0;
}

}  // namespace

bool AllocateWindow(const Nic& nic, uint32_t protection_domain, uint32_t* index) {
  if (nic.state.free_regions.empty()) return false;
  *index = TakeRegion(nic);
  Region& window = nic.region(*index);
  window.window = true;
  window.state = RegionState::kInvalidated;
  window.protection_domain = protection_domain;
  ++nic.state.windows;
  return true;
}

Region* FindWindow(const Nic& nic, uint32_t key) {
  const uint32_t index = key >> kKeyTagBits;
  if (index >= nic.state.config.max_regions) return nullptr;
  Region& region = nic.region(index);
  const bool same = ((KeyOf(nic, index) ^ key) & ~abi::kWindowKeyBits) == 0;
  return region.state != RegionState::kFree && region.window && same ? &region : nullptr;
}

bool BindWindow(const Nic& nic, const StreamOf& stream, const abi::SendWqe& wqe) {
  Region* window = FindWindow(nic, wqe.immediate);
  if (window == nullptr || window != FindWindow(nic, wqe.remote_key)) return false;
  if (window->protection_domain != stream.protection_domain) return false;
  if (window->state != RegionState::kInvalidated || wqe.remote_key == 0) return false;
  const auto access = static_cast<uint32_t>(wqe.compare >> 32);
  const Region* region = FindRegion(nic, static_cast<uint32_t>(wqe.compare));
  if (region == nullptr || !AllowsWindow(*region, stream, access)) return false;
  // Compare offsets, not ends: address + length may wrap.
  const uint64_t offset = wqe.remote_address - region->iova;
  if (wqe.remote_address < region->iova || offset > region->length || wqe.operand == 0 ||
      wqe.operand > region->length - offset) {
    return false;
  }
  window->iova = wqe.remote_address;
  window->length = wqe.operand;
  window->base = region->base + offset;
  window->page_shift = region->page_shift;
  window->page_count = region->page_count;
  window->first_page = region->first_page;
  if (region->page_count != 0) {
    const uint64_t in_page = region->iova & ((uint64_t{1} << region->page_shift) - 1);
    const auto skipped = static_cast<uint32_t>((in_page + offset) >> region->page_shift);
    window->first_page += skipped;
    window->page_count -= skipped;
  }
  window->access = access;
  if (window->queue_pair == kNone) ++nic.state.bound_regions;
  window->queue_pair = stream.queue_pair;
  window->parent = static_cast<uint32_t>(region - &nic.region(0));
  window->tag = static_cast<uint16_t>(wqe.remote_key);
  window->state = RegionState::kValid;
  return true;
}

void UnbindWindowsOf(const Nic& nic, uint32_t slot) {
  if (nic.state.windows == 0) return;
  for (uint32_t i = 0; i < nic.state.config.max_regions; ++i) {
    Region& region = nic.region(i);
    if (region.state == RegionState::kFree || !region.window || region.parent != slot) continue;
    region.state = RegionState::kInvalidated;
    region.page_count = 0;
    region.parent = kNone;
  }
}

}  // namespace qpip::fw
