// Keys of registered memory: which slot of the table they name, and whether they are good today.
//
//     | slot 16 | tag 16 |
//
// A tag cannot be guessed (RFC 5040 8.1.1 rule 8): it is the number of the slot's registrations,
// put through a permutation that only this NIC knows, so none comes round again before all
// others of its slot have been used. And a slot that comes free is the last one to be taken again.
#pragma once

#include <cstdint>

#include "nic_fw/state.h"

namespace qpip::fw {

inline constexpr uint32_t kKeyTagBits = 16;
/// Slots that a key can name.
inline constexpr uint32_t kMostRegions = 1u << (32 - kKeyTagBits);

/// Takes the slot that has been free longest, and makes its next key. Returns kNone when none is
/// free. Everything else of the region is as by default.
uint32_t TakeRegion(const Nic& nic);
/// Gives a slot back; its key is dead.
void FreeRegion(const Nic& nic, uint32_t index);

uint32_t KeyOf(const Nic& nic, uint32_t index);

/// The slot that `key` names today, valid or invalidated, for its owner to give back; nullptr when
/// the key is nobody's.
Region* FindSlot(const Nic& nic, uint32_t key);
/// ... and nullptr when it was invalidated.
Region* FindRegion(const Nic& nic, uint32_t key);

}  // namespace qpip::fw
