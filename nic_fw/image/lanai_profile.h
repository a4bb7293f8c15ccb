// The LANai profile: what the prototype's NIC is configured as (paper section 4.1).
#pragma once

#include "nic_fw/firmware.h"

namespace qpip::fw {

/// Packet buffers of the link's and the DMA's engines, each of one MTU.
inline constexpr uint32_t kLanaiPacketBuffers = 64;

/// 64 queue pairs, and the paper's "native" MTU, whose payload is 16 KiB with TCP timestamps (40
/// bytes of IPv6, 32 of TCP). The host fills in ring addresses.
constexpr NicConfig LanaiProfile() {
  NicConfig config;
  config.address.bytes[0] = 0xfd;
  config.address.bytes[15] = 1;
  config.mtu = 16384 + 40 + 32;
  config.max_qps = 64;
  return config;
}

}  // namespace qpip::fw
