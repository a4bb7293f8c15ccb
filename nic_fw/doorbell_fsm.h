// The doorbell FSM: from the doorbell FIFO to the queue pair table (paper section 3.1).
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Takes a bounded number of doorbells, or scans all queues after an overflow. Returns false when
/// there was none.
bool ServiceDoorbells(const Nic& nic);

}  // namespace qpip::fw
