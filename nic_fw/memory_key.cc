#include "nic_fw/memory_key.h"

#include "protocols/common/siphash.h"

namespace qpip::fw {
namespace {

/// A permutation of 16 bits that nobody can compute without the NIC's secret: four rounds of
/// Feistel's network, each with SipHash. One a slot.
uint16_t Permute(const SipHashKey& secret, uint32_t slot, uint16_t number) {
  uint8_t left = static_cast<uint8_t>(number >> 8);
  uint8_t right = static_cast<uint8_t>(number);
  for (uint8_t round = 0; round < 4; ++round) {
    // ('K': apart from whatever else is hashed under the secret.)
    const uint8_t bytes[] = {'K', round, static_cast<uint8_t>(slot >> 8),
                             static_cast<uint8_t>(slot), right};
    const uint8_t mixed = static_cast<uint8_t>(left ^ SipHash24(secret, bytes));
    left = right;
    right = mixed;
  }
  return static_cast<uint16_t>(left << 8 | right);
}

}  // namespace

uint32_t TakeRegion(const Nic& nic) {
  const uint32_t index = PopFront(nic.state.free_regions, RegionLink{nic});
  if (index == kNone) return kNone;
  Region& region = nic.region(index);
  const uint16_t uses = static_cast<uint16_t>(region.uses + 1);
  region = Region{};
  region.uses = uses;
  region.tag = Permute(nic.state.isn_key, index, uses);
  // No STag is zero: to some that means "none".
  if (region.tag == 0 && index == 0) region.tag = Permute(nic.state.isn_key, index, ++region.uses);
  region.state = RegionState::kValid;
  return index;
}

void FreeRegion(const Nic& nic, uint32_t index) {
  Region& region = nic.region(index);
  QPIP_ASSERT(region.state != RegionState::kFree);
  if (region.queue_pair != kNone) --nic.state.bound_regions;
  if (region.window) --nic.state.windows;
  region.state = RegionState::kFree;
  region.page_count = 0;
  PushBack(nic.state.free_regions, RegionLink{nic}, index);
}

uint32_t KeyOf(const Nic& nic, uint32_t index) {
  return index << kKeyTagBits | nic.region(index).tag;
}

Region* FindSlot(const Nic& nic, uint32_t key) {
  const uint32_t index = key >> kKeyTagBits;
  if (index >= nic.state.config.max_regions || KeyOf(nic, index) != key) return nullptr;
  Region& region = nic.region(index);
  return region.state != RegionState::kFree ? &region : nullptr;
}

Region* FindRegion(const Nic& nic, uint32_t key) {
  Region* const region = FindSlot(nic, key);
  return region != nullptr && region->state == RegionState::kValid ? region : nullptr;
}

}  // namespace qpip::fw
