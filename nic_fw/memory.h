// Registered memory: regions, rights, protection domains, and translation to DMA addresses. Keys
// are memory_key.h's, what peers may do remote_access.h's.
#pragma once

#include <span>

#include "nic_fw/state.h"

namespace qpip::fw {

/// Checks and translates bytes [offset, offset + length) of a scatter/gather list.
/// A list of pieces cut at page boundaries comes back; `*covered` is how many bytes it holds, less
/// than `length` when kMaxDmaSegments did not suffice (at least one byte). Returns the number of
/// pieces, or 0 when the access is refused: key, protection domain, rights, bounds, or a list
/// shorter than the range.
uint32_t Translate(const Nic& nic, uint32_t protection_domain, uint32_t access,
                   std::span<const abi::Sge> list, uint32_t offset, uint32_t length,
                   DmaSegment* out, uint32_t* covered);

/// Appends the pieces that bytes [start, start + length) of a region lie in to `out`, as long as
/// there is room for them. Returns how many bytes those hold.
uint32_t AddPieces(const Nic& nic, const Region& region, uint64_t start, uint32_t length,
                   DmaSegment* out, uint32_t* count);

/// Checks a whole list against keys, domain, rights and bounds without translating.
bool CheckList(const Nic& nic, uint32_t protection_domain, uint32_t access,
               std::span<const abi::Sge> list);

/// Takes a free region for a kRegisterMemory; page entries are reserved, not yet filled.
abi::CommandStatus ReserveRegion(const Nic& nic, const abi::RegisterMemory& request,
                                 uint32_t* index);

}  // namespace qpip::fw
