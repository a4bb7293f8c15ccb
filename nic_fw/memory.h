// Registered memory: keys, rights, protection domains, and translation to DMA addresses.
#pragma once

#include <span>

#include "nic_fw/state.h"

namespace qpip::fw {

/// The region that `key` names, or nullptr.
Region* FindRegion(const Nic& nic, uint32_t key);
uint32_t RegionKey(const Region& region, uint32_t index);

/// Checks and translates bytes [offset, offset + length) of a scatter/gather list.
/// A list of pieces cut at page boundaries comes back; `*covered` is how many bytes it holds, less
/// than `length` when kMaxDmaSegments did not suffice (at least one byte). Returns the number of
/// pieces, or 0 when the access is refused: key, protection domain, rights, bounds, or a list
/// shorter than the range.
uint32_t Translate(const Nic& nic, uint32_t protection_domain, uint32_t access,
                   std::span<const abi::Sge> list, uint32_t offset, uint32_t length,
                   DmaSegment* out, uint32_t* covered);

/// Checks a whole list against keys, domain, rights and bounds without translating.
bool CheckList(const Nic& nic, uint32_t protection_domain, uint32_t access,
               std::span<const abi::Sge> list);

/// Takes a free region for a kRegisterMemory; page entries are reserved, not yet filled.
abi::CommandStatus ReserveRegion(const Nic& nic, const abi::RegisterMemory& request,
                                 uint32_t* index);
/// Gives a region back; its key is dead at once.
void ReleaseRegion(const Nic& nic, uint32_t index);

}  // namespace qpip::fw
