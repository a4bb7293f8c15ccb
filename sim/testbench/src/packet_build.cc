// From values to bytes, by the codecs of protocols/.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

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

constexpr size_t kMaxTcpOptionBytes = tcp::kMaxHeaderBytes - tcp::kMinHeaderBytes;

uint16_t UpperLayerSum(const Ipv6Header& ip, uint8_t protocol, std::span<const uint8_t> bytes) {
  const uint16_t pseudo = PseudoHeaderSum(ToAddress(ip.source), ToAddress(ip.destination),
                                          static_cast<uint32_t>(bytes.size()), protocol);
  return ChecksumAdd(bytes, pseudo);
}

void Append(Bytes& to, std::span<const uint8_t> from) {
  to.insert(to.end(), from.begin(), from.end());
}

tcp::Header ToHeader(const TcpSegment& segment) {
  if (segment.sack.size() > 4) {
    throw std::invalid_argument("BuildPacket: more than four SACK ranges; use raw_options");
  }
  tcp::Header header;
  header.source_port = segment.source_port;
  header.destination_port = segment.destination_port;
  header.sequence = tcp::SequenceNumber(segment.sequence);
  header.acknowledgement = tcp::SequenceNumber(segment.acknowledgement);
  header.flags = segment.flags;
  header.window = segment.window;
  header.urgent_pointer = segment.urgent_pointer;
  header.has_mss = segment.mss.has_value();
  header.mss = segment.mss.value_or(0);
  header.has_window_scale = segment.window_scale.has_value();
  header.window_scale = segment.window_scale.value_or(0);
  header.sack_permitted = segment.sack_permitted;
  header.has_timestamps = segment.timestamps.has_value();
  if (segment.timestamps) {
    header.ts_value = segment.timestamps->value;
    header.ts_echo = segment.timestamps->echo;
  }
  header.sack_count = static_cast<uint8_t>(segment.sack.size());
  for (size_t i = 0; i < segment.sack.size(); ++i) {
    header.sack[i] = {tcp::SequenceNumber(segment.sack[i].start),
                      tcp::SequenceNumber(segment.sack[i].end)};
  }
  return header;
}

Bytes Pad(Bytes options) {
  options.resize((options.size() + 3) & ~size_t{3}, 0);  // end of option list
  return options;
}

Bytes BuildTcpHeader(const TcpSegment& segment) {
  const tcp::Header header = ToHeader(segment);
  const Bytes raw = Pad(segment.raw_options);
  const size_t known = tcp::EmitSize(header);
  if (known - tcp::kMinHeaderBytes + raw.size() > kMaxTcpOptionBytes) {
    throw std::invalid_argument("BuildPacket: more than 40 bytes of TCP options");
  }
  Bytes bytes(known);
  tcp::Emit(header, bytes);
  Append(bytes, raw);
  const auto words = segment.data_offset.value_or(static_cast<uint8_t>(bytes.size() / 4));
  bytes[tcp::offset::kDataOffset] = static_cast<uint8_t>((words << 4) | (segment.reserved & 0x0f));
  return bytes;
}

/// The chain of extension headers, and what the IPv6 header says comes next.
std::pair<Bytes, uint8_t> BuildExtensions(const Ipv6Header& ip, uint8_t protocol) {
  Bytes chain;
  for (size_t i = 0; i < ip.extensions.size(); ++i) {
    const bool last = i + 1 == ip.extensions.size();
    chain.push_back(last ? protocol : ip.extensions[i + 1].type);
    Append(chain, ip.extensions[i].body);
  }
  return {chain, ip.extensions.empty() ? protocol : ip.extensions.front().type};
}

}  // namespace

uint32_t TcpSegment::SequenceLength() const {
  return static_cast<uint32_t>(payload.size()) + (Has(kSyn) ? 1 : 0) + (Has(kFin) ? 1 : 0);
}

Bytes BuildPacket(const Ipv6Header& ip, uint8_t protocol, std::span<const uint8_t> payload) {
  const auto [extensions, next] = BuildExtensions(ip, protocol);
  const size_t length = extensions.size() + payload.size();
  if (length > ipv6::kMaxPayload) {
    throw std::invalid_argument("BuildPacket: more than 65535 bytes of IPv6 payload");
  }
  ipv6::Header header;
  header.traffic_class = ip.traffic_class;
  header.flow_label = ip.flow_label;
  header.hop_limit = ip.hop_limit;
  header.next_header = next;
  header.payload_length = ip.payload_length.value_or(static_cast<uint16_t>(length));
  header.source = ToAddress(ip.source);
  header.destination = ToAddress(ip.destination);
  Bytes bytes(ipv6::kHeaderBytes);
  ipv6::Emit(header, std::span<uint8_t, ipv6::kHeaderBytes>(bytes));
  Append(bytes, extensions);
  Append(bytes, payload);
  return bytes;
}

Bytes BuildPacket(const Ipv6Header& ip, const TcpSegment& segment) {
  Bytes bytes = BuildTcpHeader(segment);
  Append(bytes, segment.payload);
  const uint16_t correct = static_cast<uint16_t>(~UpperLayerSum(ip, ipv6::kTcp, bytes));
  StoreBe16(bytes.data() + tcp::offset::kChecksum, segment.checksum.value_or(correct));
  return BuildPacket(ip, ipv6::kTcp, bytes);
}

Bytes BuildPacket(const Ipv6Header& ip, const UdpDatagram& datagram) {
  udp::Header header;
  header.source_port = datagram.source_port;
  header.destination_port = datagram.destination_port;
  const size_t length = udp::kHeaderBytes + datagram.payload.size();
  header.length = datagram.length.value_or(static_cast<uint16_t>(length));
  Bytes bytes(udp::kHeaderBytes);
  udp::Emit(header, std::span<uint8_t, udp::kHeaderBytes>(bytes));
  Append(bytes, datagram.payload);
  const uint16_t correct = udp::FinishChecksum(UpperLayerSum(ip, ipv6::kUdp, bytes));
  StoreBe16(bytes.data() + udp::offset::kChecksum, datagram.checksum.value_or(correct));
  return BuildPacket(ip, ipv6::kUdp, bytes);
}

Bytes BuildPacket(const Ipv6Header& ip, const Icmpv6Message& message) {
  icmpv6::Header header;
  header.type = message.type;
  header.code = message.code;
  header.body = message.body;
  Bytes bytes(icmpv6::kHeaderBytes);
  icmpv6::Emit(header, std::span<uint8_t, icmpv6::kHeaderBytes>(bytes));
  Append(bytes, message.payload);
  StoreBe16(bytes.data() + icmpv6::offset::kChecksum, 0);
  const uint16_t correct = static_cast<uint16_t>(~UpperLayerSum(ip, ipv6::kIcmpv6, bytes));
  StoreBe16(bytes.data() + icmpv6::offset::kChecksum, message.checksum.value_or(correct));
  return BuildPacket(ip, ipv6::kIcmpv6, bytes);
}

Bytes Pattern(size_t count, uint8_t first) {
  Bytes bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>((first + i) % 251);
  return bytes;
}

}  // namespace qpip::testbench
