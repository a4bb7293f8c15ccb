// Segments for a listener, made by hand.
#pragma once

#include <algorithm>
#include <set>
#include <string_view>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "test_support.h"

namespace qpip::fw::test {

/// A TCP segment with `text` from `from` to the NIC with address `to`.
inline Frame MakeSegment(const abi::Ip6Address& from, const tcp::Header& header,
                         std::string_view text = {}, uint8_t to = 2) {
  const size_t length = tcp::EmitSize(header) + text.size();
  Frame frame(40 + length);
  ipv6::Header ip;
  ip.next_header = ipv6::kTcp;
  ip.payload_length = static_cast<uint16_t>(length);
  std::memcpy(ip.source.bytes, from.bytes, 16);
  std::memcpy(ip.destination.bytes, Address(to).bytes, 16);
  ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
  const std::span<uint8_t> transport = std::span<uint8_t>(frame).subspan(40);
  const size_t header_bytes = tcp::Emit(header, transport);
  std::copy(text.begin(), text.end(), transport.begin() + static_cast<ptrdiff_t>(header_bytes));
  const uint16_t sum = ChecksumAdd(
      transport, PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, ipv6::kTcp));
  StoreBe16(transport.data() + tcp::offset::kChecksum, static_cast<uint16_t>(~sum));
  return frame;
}

inline tcp::Header MakeSyn(uint32_t i) {
  tcp::Header syn;
  syn.source_port = static_cast<uint16_t>(1024 + i % 60000);
  syn.destination_port = 7;
  syn.sequence = tcp::SequenceNumber(i * 2654435761u);
  syn.flags = tcp::kSyn;
  syn.window = 65535;
  syn.has_mss = true;
  syn.mss = 1440;
  syn.has_timestamps = i % 2 == 0;
  syn.has_window_scale = true;
  syn.window_scale = 7;
  return syn;
}

/// One of many addresses that nobody has.
inline abi::Ip6Address Spoofed(uint32_t i) {
  abi::Ip6Address address = Address(99);
  address.bytes[8] = static_cast<uint8_t>(i >> 16);
  address.bytes[9] = static_cast<uint8_t>(i >> 8);
  address.bytes[10] = static_cast<uint8_t>(i);
  return address;
}

/// The TCP header of a frame that the NIC has sent.
inline tcp::Header HeaderOf(const Frame& frame) {
  tcp::Header header;
  size_t bytes = 0;
  const auto transport = std::span<const uint8_t>(frame).subspan(40);
  EXPECT_EQ(tcp::Parse(transport, &header, &bytes), tcp::ParseError::kNone);
  return header;
}

}  // namespace qpip::fw::test
