// A stream's connection becomes an RDMA queue pair's (abi::Adopt): MPA's set-up is done (RFC
// 5044 7.1).
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Carries out kAdopt.
abi::CommandStatus AdoptConnection(const Nic& nic, const abi::Adopt& request);

}  // namespace qpip::fw
