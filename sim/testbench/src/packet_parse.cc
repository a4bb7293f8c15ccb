// From bytes to values. Unlike the NIC's own parsers this goes on behind what it does not like, so
// that a test can look at it.
#include <algorithm>

#include "addresses.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "protocols/udp/header.h"
#include "qpip/testbench/packet.h"

namespace qpip::testbench {
namespace {

using View = std::span<const uint8_t>;

Bytes Copy(View bytes) { return {bytes.begin(), bytes.end()}; }

bool SumIsRight(const Packet& packet, View upper) {
  const uint16_t pseudo =
      PseudoHeaderSum(ToAddress(packet.ip.source), ToAddress(packet.ip.destination),
                      static_cast<uint32_t>(upper.size()), packet.protocol);
  return ChecksumAdd(upper, pseudo) == 0xffff;
}

/// Bytes of an extension header, 0 when `type` is none that can be walked over.
size_t ExtensionBytes(uint8_t type, View rest) {
  if (rest.size() < 8) return 0;
  switch (type) {
    case ipv6::kHopByHop:
    case ipv6::kRouting:
    case ipv6::kDestinationOptions:
      return (size_t{rest[1]} + 1) * 8;
    case ipv6::kFragment:
      return 8;
    default:
      return 0;
  }
}

/// Moves `rest` behind the extension headers and sets the protocol.
void WalkExtensions(Packet& packet, uint8_t next, View* rest) {
  for (size_t bytes = ExtensionBytes(next, *rest); bytes != 0 && bytes <= rest->size();
       bytes = ExtensionBytes(next, *rest)) {
    packet.ip.extensions.push_back({next, Copy(rest->subspan(1, bytes - 1))});
    next = (*rest)[0];
    *rest = rest->subspan(bytes);
  }
  packet.protocol = next;
}

void SetOptions(const tcp::Header& header, TcpSegment* segment) {
  if (header.has_mss) segment->mss = header.mss;
  if (header.has_window_scale) segment->window_scale = header.window_scale;
  segment->sack_permitted = header.sack_permitted;
  if (header.has_timestamps) segment->timestamps = {header.ts_value, header.ts_echo};
  for (size_t i = 0; i < header.sack_count; ++i) {
    segment->sack.push_back({header.sack[i].start.value(), header.sack[i].end.value()});
  }
}

void ParseTcp(Packet& packet, View upper) {
  tcp::Header header;
  size_t header_bytes = 0;
  const tcp::ParseError error = tcp::Parse(upper, &header, &header_bytes);
  if (error != tcp::ParseError::kNone) {
    packet.error = std::string("TCP: ") + tcp::ParseErrorName(error);
    return;
  }
  TcpSegment segment;
  segment.source_port = header.source_port;
  segment.destination_port = header.destination_port;
  segment.sequence = header.sequence.value();
  segment.acknowledgement = header.acknowledgement.value();
  segment.flags = header.flags;
  segment.window = header.window;
  segment.urgent_pointer = header.urgent_pointer;
  segment.checksum = header.checksum;
  segment.data_offset = static_cast<uint8_t>(header_bytes / 4);
  segment.reserved = upper[tcp::offset::kDataOffset] & 0x0f;
  SetOptions(header, &segment);
  segment.raw_options =
      Copy(upper.subspan(tcp::kMinHeaderBytes, header_bytes - tcp::kMinHeaderBytes));
  segment.payload = Copy(upper.subspan(header_bytes));
  packet.checksum_ok = SumIsRight(packet, upper);
  packet.tcp = std::move(segment);
}

void ParseUdp(Packet& packet, View upper) {
  if (upper.size() < udp::kHeaderBytes) {
    packet.error = "UDP: too short";
    return;
  }
  UdpDatagram datagram;
  datagram.source_port = LoadBe16(upper.data() + udp::offset::kSourcePort);
  datagram.destination_port = LoadBe16(upper.data() + udp::offset::kDestinationPort);
  datagram.length = LoadBe16(upper.data() + udp::offset::kLength);
  datagram.checksum = LoadBe16(upper.data() + udp::offset::kChecksum);
  datagram.payload = Copy(upper.subspan(udp::kHeaderBytes));
  packet.checksum_ok = *datagram.checksum != 0 && SumIsRight(packet, upper);
  packet.udp = std::move(datagram);
}

void ParseIcmp(Packet& packet, View upper) {
  icmpv6::Header header;
  if (icmpv6::Parse(upper, &header) != icmpv6::ParseError::kNone) {
    packet.error = "ICMPv6: too short";
    return;
  }
  Icmpv6Message message;
  message.type = header.type;
  message.code = header.code;
  message.body = header.body;
  message.checksum = header.checksum;
  message.payload = Copy(upper.subspan(icmpv6::kHeaderBytes));
  packet.checksum_ok = SumIsRight(packet, upper);
  packet.icmp = std::move(message);
}

}  // namespace

Packet ParsePacket(std::span<const uint8_t> bytes, Time time) {
  Packet packet;
  packet.time = time;
  packet.bytes = Copy(bytes);
  ipv6::Header header;
  const ipv6::ParseError error = ipv6::Parse(bytes, static_cast<uint32_t>(bytes.size()), &header);
  if (error == ipv6::ParseError::kTooShort || error == ipv6::ParseError::kBadVersion) {
    packet.error = std::string("IPv6: ") + ipv6::ParseErrorName(error);
    return packet;
  }
  packet.ip.source = ToIn6(header.source);
  packet.ip.destination = ToIn6(header.destination);
  packet.ip.hop_limit = header.hop_limit;
  packet.ip.traffic_class = header.traffic_class;
  packet.ip.flow_label = header.flow_label;
  packet.ip.payload_length = header.payload_length;
  View rest = bytes.subspan(ipv6::kHeaderBytes);
  rest = rest.first(std::min<size_t>(rest.size(), header.payload_length));
  WalkExtensions(packet, header.next_header, &rest);
  if (packet.protocol == ipv6::kTcp) {
    ParseTcp(packet, rest);
  } else if (packet.protocol == ipv6::kUdp) {
    ParseUdp(packet, rest);
  } else if (packet.protocol == ipv6::kIcmpv6) {
    ParseIcmp(packet, rest);
  } else {
    packet.payload = Copy(rest);
  }
  return packet;
}

}  // namespace qpip::testbench
