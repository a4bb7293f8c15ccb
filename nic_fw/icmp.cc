#include "nic_fw/icmp.h"

#include "nic_fw/neighbour.h"
#include "nic_fw/packet.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/message.h"
#include "protocols/icmpv6/neighbour.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kErrorIntervalNs = 10 * 1000000;

bool TakeErrorToken(const Nic& nic) {
  FirmwareState& s = nic.state;
  const uint64_t elapsed = nic.now - s.icmp_tokens_at;
  if (elapsed >= kErrorIntervalNs) {
    const uint64_t earned = elapsed / kErrorIntervalNs;
    s.icmp_tokens_at += earned * kErrorIntervalNs;
    s.icmp_tokens = earned >= kIcmpErrorBurst - s.icmp_tokens
                        ? kIcmpErrorBurst
                        : s.icmp_tokens + static_cast<uint32_t>(earned);
  }
  if (s.icmp_tokens == 0) {
    nic.Drop(abi::DropReason::kRateLimited);
    return false;
  }
  --s.icmp_tokens;
  return true;
}

/// Sends an ICMPv6 message whose body behind the header is a part of a received frame.
void Send(const Nic& nic, const ReceivedPacket& packet, icmpv6::Header header, uint32_t offset,
          uint32_t length) {
  uint32_t payload_sum = 0;
  uint32_t payload = 0;
  if (length != 0) {
    payload = nic.port.payload_from_frame(nic.port.context, packet.frame.frame, offset, length,
                                          &payload_sum);
    if (payload == 0) return;  // no buffer: ICMP is best effort
  }
  uint8_t frame[ipv6::kHeaderBytes + icmpv6::kHeaderBytes];
  uint8_t* message = frame + ipv6::kHeaderBytes;
  ipv6::Header ip;
  ip.next_header = ipv6::kIcmpv6;
  ip.hop_limit = nic.state.config.hop_limit;
  ip.payload_length = static_cast<uint16_t>(icmpv6::kHeaderBytes + length);
  ip.source = OwnAddress(nic);
  ip.destination = packet.ip.source;
  ipv6::Emit(ip, std::span<uint8_t, ipv6::kHeaderBytes>(frame, ipv6::kHeaderBytes));
  header.checksum = 0;
  const std::span<uint8_t, icmpv6::kHeaderBytes> out(message, icmpv6::kHeaderBytes);
  icmpv6::Emit(header, out);
  uint16_t sum = PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, ipv6::kIcmpv6);
  sum = ChecksumCombine(ChecksumAdd(out, sum), static_cast<uint16_t>(payload_sum));
  StoreBe16(message + icmpv6::offset::kChecksum, static_cast<uint16_t>(~sum));
  FrameOut frame_out;
  frame_out.header = frame;
  frame_out.header_length = sizeof(frame);
  frame_out.payload = payload;
  uint64_t lease = 0;
  // Best effort: whoever sent us something has mostly told us its link address before.
  const bool resolved =
      !OnEthernet(nic) || ResolveLink(nic, frame, 0, frame_out.link_address) == LinkAnswer::kReady;
  if (!resolved) {
    if (payload != 0) nic.port.payload_release(nic.port.context, payload);
    nic.Drop(abi::DropReason::kNoNeighbour);
    return;
  }
  if (nic.port.frame_send(nic.port.context, &frame_out, &lease) == kSendBusy) {
    if (payload != 0) nic.port.payload_release(nic.port.context, payload);
    return;
  }
  nic.Count(abi::NicCounter::kIcmpSent);
  nic.Count(abi::NicCounter::kFramesSent);
  nic.Count(abi::NicCounter::kBytesSent, sizeof(frame) + length);
}

/// RFC 4443 2.4(e): never about an error, to nobody in particular, or to a multicast's many
/// receivers, but for an option that asks for it.
bool MayReport(const Nic& nic, const ReceivedPacket& packet, uint8_t type, uint8_t code) {
  if (packet.ip.source.IsUnspecified() || packet.ip.source.IsMulticast()) return false;
  const bool by_option = type == icmpv6::kParameterProblem && code == icmpv6::kUnknownOption;
  if (packet.ip.destination.IsMulticast() && !by_option) return false;
  if (OnEthernet(nic) && !AddressUsable(nic)) return false;
  return !ipv6::CarriesIcmpError({packet.frame.header, packet.frame.header_length}, packet.ip);
}

void SendError(const Nic& nic, const ReceivedPacket& packet, uint8_t type, uint8_t code,
               uint32_t body) {
  if (!MayReport(nic, packet, type, code) || !TakeErrorToken(nic)) return;
  icmpv6::Header header;
  header.type = type;
  header.code = code;
  header.body = body;
  // As much of the packet as fits the minimum MTU (RFC 4443 2.4(c)); the link's padding is not of
  // the packet.
  const uint32_t room =
      ipv6::kMinMtu - static_cast<uint32_t>(ipv6::kHeaderBytes + icmpv6::kHeaderBytes);
  const uint32_t whole = static_cast<uint32_t>(ipv6::kHeaderBytes) + packet.ip.payload_length;
  const uint32_t length = whole < room ? whole : room;
  Send(nic, packet, header, 0, length);
}

}  // namespace

void OnIcmp(const Nic& nic, const ReceivedPacket& packet) {
  icmpv6::Header header;
  abi::DropReason reason = abi::DropReason::kNone;
  if (icmpv6::Parse(packet.UpperReadable(), &header) != icmpv6::ParseError::kNone ||
      packet.upper.length < icmpv6::kHeaderBytes) {
    reason = abi::DropReason::kBadIcmpHeader;
  } else if (!ChecksumOk(nic, packet, ipv6::kIcmpv6)) {
    reason = abi::DropReason::kBadIcmpChecksum;
  } else if (OnEthernet(nic) && icmpv6::IsNeighbourDiscovery(header.type)) {
    OnNeighbourDiscovery(nic, packet);
    nic.port.frame_release(nic.port.context, packet.frame.frame);
    return;
  } else if (header.type != icmpv6::kEchoRequest || header.code != 0 ||
             (OnEthernet(nic) && !AddressUsable(nic))) {
    reason = abi::DropReason::kIcmpIgnored;
  }
  if (reason != abi::DropReason::kNone) {
    nic.Drop(reason);
  } else {
    nic.Count(abi::NicCounter::kIcmpReceived);
    // RFC 4443 4.2: same identifier, sequence number and data.
    header.type = icmpv6::kEchoReply;
    const uint32_t skip = static_cast<uint32_t>(icmpv6::kHeaderBytes);
    Send(nic, packet, header, packet.upper.offset + skip, packet.upper.length - skip);
  }
  nic.port.frame_release(nic.port.context, packet.frame.frame);
}

void SendPortUnreachable(const Nic& nic, const ReceivedPacket& packet) {
  SendError(nic, packet, icmpv6::kDestinationUnreachable, icmpv6::kPort, 0);
}

void SendParameterProblem(const Nic& nic, const ReceivedPacket& packet) {
  SendError(nic, packet, icmpv6::kParameterProblem, packet.upper.icmp_code, packet.upper.pointer);
}

void SendUnknownNextHeader(const Nic& nic, const ReceivedPacket& packet) {
  SendError(nic, packet, icmpv6::kParameterProblem, icmpv6::kUnknownNextHeader,
            packet.upper.next_header_at);
}

}  // namespace qpip::fw
