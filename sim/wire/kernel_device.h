// A TUN or TAP device of the Linux kernel: opening it and setting up the kernel's side.
#pragma once

#include <cstdint>
#include <string>

#include "sim/wire/descriptor.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

/// The header in front of every frame on the descriptor (virtio 1.2, 5.1.6, without num_buffers;
/// IFF_VNET_HDR). Words are in this machine's order.
struct VirtioNetHeader {
  uint8_t flags = 0;
  uint8_t gso_type = 0;
  uint16_t header_length = 0;   ///< of the headers that each segment repeats
  uint16_t gso_size = 0;        ///< payload bytes of a segment
  uint16_t checksum_start = 0;  ///< kNeedsChecksum: from here to the end is to be summed
  uint16_t checksum_offset = 0;
  static constexpr uint8_t kNeedsChecksum = 1;  ///< the field holds the pseudo-header's sum only
  static constexpr uint8_t kDataValid = 2;      ///< the checksum has been verified
  static constexpr uint8_t kGsoTcpIpv6 = 4;
  static constexpr uint8_t kGsoEcn = 0x80;  ///< with the above: the segment has CWR set
};
static_assert(sizeof(VirtioNetHeader) == 10);

struct KernelDevice {
  Descriptor descriptor;  ///< non-blocking; each read or write is a VirtioNetHeader and a frame
  uint32_t mtu = 0;       ///< the kernel's, of the device
  std::string warning;    ///< of what may not work though the device is open; empty: none
};

/// Attaches to a device or makes one. With `options.host` the kernel's side is set up as well:
/// link up, MTU, address without duplicate address detection; nothing is touched that is so
/// already, so an unprivileged process may attach to a device prepared for it. Throws
/// std::runtime_error with one line that says what to do.
KernelDevice OpenKernelDevice(const KernelWireOptions& options);

}  // namespace qpip::wire
