// The receive FSM: from a frame on the link to text in host memory and completions (paper Figure 2,
// right; Table 3).
#pragma once

#include "nic_fw/placement.h"
#include "nic_fw/state.h"

namespace qpip::fw {

/// Processes one received frame or link event. Returns false when there was none.
bool TakeFrame(const Nic& nic);
/// The same; where there is none, what the frames before it have left to do.
inline bool ServiceReceive(const Nic& nic) { return TakeFrame(nic) || EndBatch(nic); }
/// A DMA operation of a fragment is complete.
void OnFragmentDma(const Nic& nic, uint32_t context, uint32_t status);

}  // namespace qpip::fw
