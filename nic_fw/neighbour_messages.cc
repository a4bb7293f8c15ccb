#include "nic_fw/neighbour_messages.h"

#include <cstring>
#include <span>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"

namespace qpip::fw {

using icmpv6::LinkAddress;
using icmpv6::NeighbourMessage;

LinkAddress OwnLink(const Nic& nic) {
  LinkAddress link;
  std::memcpy(link.data(), nic.state.config.link.mac, link.size());
  return link;
}

bool SendOnLink(const Nic& nic, const uint8_t* bytes, uint32_t length, const LinkAddress& to) {
  FrameOut out;
  out.header = bytes;
  out.header_length = length;
  std::memcpy(out.link_address, to.data(), to.size());
  uint64_t lease = 0;
  if (nic.hardware.FrameSend(&out, &lease) != kSendOk) return false;
  nic.Count(abi::NicCounter::kFramesSent);
  nic.Count(abi::NicCounter::kBytesSent, length);
  return true;
}

void SendNeighbourMessage(const Nic& nic, const NeighbourMessage& message,
                          const ipv6::Address& source, const ipv6::Address& destination,
                          const LinkAddress& to) {
  uint8_t frame[ipv6::kHeaderBytes + icmpv6::kMaxNeighbourMessage];
  const std::span<uint8_t, icmpv6::kMaxNeighbourMessage> body(frame + ipv6::kHeaderBytes,
                                                              icmpv6::kMaxNeighbourMessage);
  const auto length = static_cast<uint32_t>(icmpv6::EmitNeighbour(message, body));
  ipv6::Header ip;
  ip.next_header = ipv6::kIcmpv6;
  ip.hop_limit = icmpv6::kNeighbourHopLimit;
  ip.payload_length = static_cast<uint16_t>(length);
  ip.source = source;
  ip.destination = destination;
  ipv6::Emit(ip, std::span<uint8_t, ipv6::kHeaderBytes>(frame, ipv6::kHeaderBytes));
  const uint16_t sum = ChecksumAdd(std::span<const uint8_t>(body).first(length),
                                   PseudoHeaderSum(source, destination, length, ipv6::kIcmpv6));
  StoreBe16(frame + ipv6::kHeaderBytes + icmpv6::offset::kChecksum, static_cast<uint16_t>(~sum));
  if (SendOnLink(nic, frame, static_cast<uint32_t>(ipv6::kHeaderBytes) + length, to)) {
    nic.Count(abi::NicCounter::kNeighbourMessagesSent);
  }
}

void SolicitNeighbour(const Nic& nic, const Neighbour& n) {
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = n.address;
  message.has_source_link = true;
  message.source_link = OwnLink(nic);
  if (n.state == NeighbourState::kProbe) {
    SendNeighbourMessage(nic, message, OwnAddress(nic), n.address, n.link);
  } else {
    const ipv6::Address group = icmpv6::SolicitedNode(n.address);
    SendNeighbourMessage(nic, message, OwnAddress(nic), group, icmpv6::MulticastLink(group));
  }
}

void SolicitOwnAddress(const Nic& nic) {
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = OwnAddress(nic);
  const ipv6::Address group = icmpv6::SolicitedNode(message.target);
  SendNeighbourMessage(nic, message, ipv6::Address{}, group, icmpv6::MulticastLink(group));
}

void SolicitRouters(const Nic& nic) {
  NeighbourMessage message;
  message.type = icmpv6::kRouterSolicitation;
  message.has_source_link = true;
  message.source_link = OwnLink(nic);
  SendNeighbourMessage(nic, message, OwnAddress(nic), icmpv6::kAllRouters,
                       icmpv6::MulticastLink(icmpv6::kAllRouters));
}

}  // namespace qpip::fw
