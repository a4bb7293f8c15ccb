#include "nic_fw/received_packet.h"

#include "protocols/common/checksum.h"

namespace qpip::fw {

uint16_t UpperSum(const Nic& nic, const ReceivedPacket& packet) {
  const FrameIn& frame = packet.frame;
  const uint32_t packet_end = packet.upper.offset + packet.upper.length;
  if ((frame.flags & kFrameSumValid) != 0 && frame.length == packet_end) {
    // The engine summed everything behind the fixed IPv6 header: take extension headers out again
    // (their length is a multiple of 8, so nothing is swapped).
    const auto sum = static_cast<uint16_t>(frame.sum);
    const uint32_t extensions = packet.upper.offset - static_cast<uint32_t>(ipv6::kHeaderBytes);
    if (extensions == 0) return sum;
    return ChecksumSubtract(sum, ChecksumAdd({frame.header + ipv6::kHeaderBytes, extensions}));
  }
  nic.Charge(Stage::kChecksum, packet.variant, packet.upper.length);
  return static_cast<uint16_t>(
      nic.hardware.FrameSum(frame.frame, packet.upper.offset, packet.upper.length));
}

bool ChecksumOk(const Nic& nic, const ReceivedPacket& packet, uint8_t protocol) {
  if ((packet.frame.flags & kFrameTrusted) != 0) return true;
  const uint16_t sum = ChecksumCombine(
      UpperSum(nic, packet),
      PseudoHeaderSum(packet.ip.source, packet.ip.destination, packet.upper.length, protocol));
  return sum == 0xffff;
}

}  // namespace qpip::fw
