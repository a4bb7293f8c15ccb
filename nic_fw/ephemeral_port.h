// Ports that the NIC chooses (RFC 6335 section 6), from a random start on (RFC 6056).
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

inline constexpr uint16_t kFirstEphemeralPort = 49152;
inline constexpr uint32_t kEphemeralPorts = 65536 - kFirstEphemeralPort;

/// The first port for which `is_free(port)` holds, 0 if none.
template <typename IsFree>
uint16_t EphemeralPort(const Nic& nic, IsFree is_free) {
  const auto start = static_cast<uint32_t>(nic.hardware.Random());
  for (uint32_t i = 0; i < kEphemeralPorts; ++i) {
    const auto port =
        static_cast<uint16_t>(kFirstEphemeralPort + ((start + i) & (kEphemeralPorts - 1)));
    if (is_free(port)) return port;
  }
  return 0;
}

}  // namespace qpip::fw
