#include "nic_fw/icmp.h"

#include "nic_fw/icmp_answer.h"
#include "nic_fw/icmp_errors.h"
#include "nic_fw/neighbour_discovery.h"
#include "nic_fw/own_address.h"
#include "nic_fw/received_frame.h"
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

/// RFC 4443 2.4(e): never about an error (e.1) or redirect (e.2), to a source that is not one
/// node's (e.6), or about a packet to many (e.3) but for an option that asks for it. A frame to
/// many that holds a packet to one (e.4, e.5) is the wire's to refuse.
bool MayReport(const Nic& nic, const ReceivedPacket& packet, uint8_t type, uint8_t code) {
  if (packet.ip.source.IsUnspecified() || packet.ip.source.IsMulticast()) return false;
  const bool by_option = type == icmpv6::kParameterProblem && code == icmpv6::kUnknownOption;
  if (packet.ip.destination.IsMulticast() && !by_option) return false;
  if (OnEthernet(nic) && !AddressUsable(nic)) return false;
  return !ipv6::CarriesIcmpError({packet.frame.header, packet.frame.header_length}, packet.ip);
}

/// As much of the packet as fits the minimum MTU (RFC 4443 2.4(c)); the link's padding is not of
/// the packet.
uint32_t QuotedBytes(const ReceivedPacket& packet) {
  const uint32_t room =
      ipv6::kMinMtu - static_cast<uint32_t>(ipv6::kHeaderBytes + icmpv6::kHeaderBytes);
  const uint32_t whole = static_cast<uint32_t>(ipv6::kHeaderBytes) + packet.ip.payload_length;
  return whole < room ? whole : room;
}

void SendError(const Nic& nic, const ReceivedPacket& packet, uint8_t type, uint8_t code,
               uint32_t body) {
  if (!MayReport(nic, packet, type, code) || !TakeErrorToken(nic)) return;
  icmpv6::Header header;
  header.type = type;
  header.code = code;
  header.body = body;
  SendFromPacket(nic, packet, header, 0, QuotedBytes(packet));
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
    // RFC 6980 section 5: never in fragments.
    if (packet.upper.fragment_header || IsReassembled(packet.frame.frame)) {
      nic.Drop(abi::DropReason::kBadNeighbourMessage);
    } else {
      OnNeighbourDiscovery(nic, packet);
    }
    ReleaseFrame(nic, packet.frame.frame);
    return;
  } else if (header.IsError()) {
    if (!OnIcmpError(nic, packet, header)) nic.Drop(abi::DropReason::kIcmpIgnored);
    ReleaseFrame(nic, packet.frame.frame);
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
    SendFromPacket(nic, packet, header, packet.upper.offset + skip, packet.upper.length - skip);
  }
  ReleaseFrame(nic, packet.frame.frame);
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

bool SendReassemblyTimeExceeded(const Nic& nic, uint32_t index) {
  const ReassemblySlot& slot = SlotAt(nic, index);
  // The first fragment, as it came.
  ReceivedPacket packet;
  packet.frame.header = slot.head;
  packet.frame.header_length = slot.head_length;
  const uint32_t behind = slot.header_at + static_cast<uint32_t>(ipv6::kFragmentHeaderBytes);
  const std::span<const uint8_t> head(slot.head, slot.head_length);
  if (ipv6::Parse(head, behind + slot.first_length, &packet.ip) != ipv6::ParseError::kNone ||
      !MayReport(nic, packet, icmpv6::kTimeExceeded, icmpv6::kReassemblyTime) ||
      !TakeErrorToken(nic)) {
    return false;
  }
  icmpv6::Header header;
  header.type = icmpv6::kTimeExceeded;
  header.code = icmpv6::kReassemblyTime;
  SendFromFirstFragment(nic, index, header, QuotedBytes(packet));
  return true;
}

}  // namespace qpip::fw
