// The URI that opens a NIC: `shm:FABRIC?address=fd00::1&mtu=9000` (docs/uri.md lists everything).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nic_fw/firmware.h"
#include "sim/wire/wire.h"

namespace qpip::lanai {

enum class Scheme : uint8_t {
  kSharedMemory,  ///< shm: a fabric that one user's processes share
  kMemory,        ///< mem: a fabric inside this process
  kUdp,           ///< udp: datagrams between hosts
  kTun,           ///< tun: the Linux kernel's stack
  kTap,           ///< tap: an Ethernet link with the Linux kernel
};

/// What a URI says, with defaults for what it does not say.
struct NicUri {
  Scheme scheme = Scheme::kSharedMemory;
  wire::FabricOptions fabric;      ///< `address`, `mtu` and `checksum` also of the other schemes
  wire::UdpOptions udp;            ///< UdpWire() completes it
  wire::KernelWireOptions kernel;  ///< KernelWire() completes it
  wire::FaultOptions fault;
  std::string pcap;      ///< file that records the traffic; empty: none
  std::string timeline;  ///< file for the Trace Event JSON; empty: none
  bool occupancy = false;
  uint32_t spin_us = 20;  ///< how long a waiting thread polls before it sleeps
  fw::NicConfig nic;      ///< real-time profile; address, MTU and rings are filled in later

  NicUri();
  /// `udp`, with what it has in common with the other schemes.
  wire::UdpOptions UdpWire() const;
  /// `kernel` likewise. Without offload where checksums are to be on the wire: checksum=1, pcap,
  /// and every fault.
  wire::KernelWireOptions KernelWire() const;
};

/// Parses a URI. Throws std::invalid_argument with one line that says what was wrong and what is
/// accepted: unknown scheme or parameter, a number out of range, no address.
NicUri ParseUri(std::string_view text);

/// The URI with every default filled in; ParseUri gives the same value back.
std::string FormatUri(const NicUri& uri);

}  // namespace qpip::lanai
