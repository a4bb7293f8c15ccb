// From the options of a `wg:` wire, and the files that they name, to what it runs with.
#pragma once

#include <string>
#include <vector>

#include "host_lib/port/host_port.h"
#include "sim/wire/wg_config.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

struct WireguardSetup {
  WireguardConfig config;  ///< with everything that options override
  abi::Ip6Address address;
  uint32_t mtu = 0;
  /// Bytes of a packet that is taken: `mtu`, but a peer's may be greater where nobody has said.
  uint32_t longest = 0;
  std::vector<abi::Trouble> remarks;  ///< what is odd but no reason to refuse
};

/// Throws std::runtime_error with one line that says what to do.
WireguardSetup SetUpWireguard(const WireguardOptions& options);

}  // namespace qpip::wire
