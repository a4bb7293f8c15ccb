// Host memory without content, for studies that move gigabytes nobody looks at.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qpip::sim {

/// Address space that reads as zeros to the NIC, and to which placements go nowhere. The host must
/// not touch it: it is not mapped readable. Never given back. Throws std::bad_alloc.
void* AllocatePhantom(size_t bytes);
/// Whether an address lies in such memory.
bool IsPhantom(uint64_t address);

}  // namespace qpip::sim
