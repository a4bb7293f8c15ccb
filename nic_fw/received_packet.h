// A received packet between the layers of the receive FSM.
#pragma once

#include <span>

#include "nic_fw/state.h"
#include "protocols/ipv6/extension.h"

namespace qpip::fw {

struct ReceivedPacket {
  FrameIn frame;
  Variant variant = Variant::kData;
  ipv6::Header ip;
  ipv6::UpperLayer upper;
  tcp::FourTuple tuple;  ///< TCP only

  /// The upper-layer bytes the core can read: its header for sure, payload perhaps.
  std::span<const uint8_t> UpperReadable() const {
    const uint32_t end = upper.offset + upper.length;
    const uint32_t readable = end < frame.header_length ? end : frame.header_length;
    return {frame.header + upper.offset, readable - upper.offset};
  }
};

/// One's complement sum of the upper-layer packet (of a fragment's part of it): the receive
/// engine's when it has one, the core's own (charged) otherwise.
uint16_t UpperSum(const Nic& nic, const ReceivedPacket& packet);

/// Verifies the transport checksum: nothing to do on a trusted wire.
bool ChecksumOk(const Nic& nic, const ReceivedPacket& packet, uint8_t protocol);

}  // namespace qpip::fw
