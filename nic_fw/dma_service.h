// Finished DMA operations: back to whoever started them.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Handles one finished DMA operation. Returns false when there was none.
bool ServiceDma(const Nic& nic);

/// Goes on in the same handler with what it has started, where the platform is at once done with it
/// (Platform::dma_at_once). Whoever calls this must have left everything in order: what follows may
/// end the connection.
inline void FinishDma(const Nic& nic) {
  if (!nic.hardware.DmaAtOnce()) return;
  while (nic.hardware.DmaUnderWay() && ServiceDma(nic)) {
  }
}

}  // namespace qpip::fw
