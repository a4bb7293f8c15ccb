// What each backend does alike between what the host library is told (host_lib/port) and what the
// firmware is configured with.
#pragma once

#include <string>
#include <utility>

#include "host_lib/port/host_port.h"
#include "nic_fw/config.h"

namespace qpip::sim_backend {

/// What a host is told of a NIC of this configuration. `sram_bytes`: of the arena, as the firmware
/// counts it.
inline abi::PortInfo PortInfoOf(const fw::NicConfig& config, uint32_t sram_bytes,
                                std::string description) {
  abi::PortInfo info;
  info.address = config.address;
  info.mtu = config.mtu;
  info.max_qps = config.max_qps;
  info.max_cqs = config.max_cqs;
  info.max_regions = config.max_regions;
  info.max_send_depth = 1u << config.send_depth_log2;
  info.sram_bytes = sram_bytes;
  info.reassembly_slots = config.reassembly_slots;
  info.wire_trusted = config.wire_trusted != 0;
  info.description = std::move(description);
  return info;
}

/// Where the host's rings are.
inline void SetRings(const abi::RingSetup& rings, fw::NicConfig* config) {
  config->command_ring = rings.command_ring;
  config->event_ring = rings.event_ring;
  config->command_log2 = rings.command_log2;
  config->event_log2 = rings.event_log2;
  config->reassembly_pool = rings.reassembly_pool;
}

}  // namespace qpip::sim_backend
