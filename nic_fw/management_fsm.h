// The management FSM: privileged commands from the host, one at a time (paper section 3.1).
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Starts the next command if one is posted. Returns false when there was nothing to do.
bool ServiceManagement(const Nic& nic);
/// The DMA operation of the command in hand is complete.
void OnCommandDma(const Nic& nic, uint32_t status);

}  // namespace qpip::fw
