// What a queue pair offers its peer.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Recomputes what `q` can take and lets the TCP machine advertise it. Nothing on a UDP queue pair.
void UpdateReceiveWindow(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
