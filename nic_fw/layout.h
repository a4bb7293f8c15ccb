// Where the tables lie in the arena, and how large it must be.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

inline constexpr uint32_t kArenaMagic = 0x51504950;  // "QPIP"

/// Checks `config` and, when it is in range, fills in offsets and sizes. Returns false otherwise.
bool ComputeLayout(const NicConfig& config, FirmwareState* state);

/// Puts a queue pair into its initial state.
void FormatQueuePair(const Nic& nic, uint32_t handle);

/// Says where the tables of a queue pair's connection are: it has come from elsewhere, and they are
/// empty.
void PlaceRuns(const Nic& nic, QueuePair& q);

/// Puts every table entry into its initial state.
void FormatTables(const Nic& nic);

}  // namespace qpip::fw
