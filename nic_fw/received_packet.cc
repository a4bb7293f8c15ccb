#include "nic_fw/received_packet.h"

#include "protocols/common/checksum.h"

namespace qpip::fw {

bool ChecksumOk(const Nic& nic, const ReceivedPacket& packet, uint8_t protocol) {
  const FrameIn& frame = packet.frame;
  if ((frame.flags & kFrameTrusted) != 0) return true;
  const uint32_t packet_end = packet.upper.offset + packet.upper.length;
  uint16_t sum = 0;
  if ((frame.flags & kFrameSumValid) != 0 && frame.length == packet_end) {
    // The engine summed everything behind the fixed IPv6 header: take extension headers out again
    // (their length is a multiple of 8, so nothing is swapped).
    sum = static_cast<uint16_t>(frame.sum);
    const uint32_t extensions = packet.upper.offset - static_cast<uint32_t>(ipv6::kHeaderBytes);
    if (extensions != 0) {
      sum = ChecksumSubtract(sum, ChecksumAdd({frame.header + ipv6::kHeaderBytes, extensions}));
    }
  } else {
    sum = static_cast<uint16_t>(nic.port.frame_sum(nic.port.context, frame.frame,
                                                   packet.upper.offset, packet.upper.length));
    nic.Charge(Stage::kChecksum, packet.variant, packet.upper.length);
  }
  sum = ChecksumCombine(
      sum, PseudoHeaderSum(packet.ip.source, packet.ip.destination, packet.upper.length, protocol));
  return sum == 0xffff;
}

}  // namespace qpip::fw
