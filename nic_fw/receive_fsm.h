// The receive FSM: from a frame on the link to text in host memory and completions (paper Figure 2,
// right; Table 3).
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Processes one received frame or link event. Returns false when there was none.
bool ServiceReceive(const Nic& nic);
/// A DMA operation of a fragment is complete.
void OnFragmentDma(const Nic& nic, uint32_t context, uint32_t status);

}  // namespace qpip::fw
