// Packets as a peer would send them, for tests of what the firmware makes of them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "firmware_bench.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/fragment.h"
#include "protocols/ipv6/header.h"
#include "protocols/udp/header.h"

namespace qpip::fw::test {

using Bytes = std::vector<uint8_t>;

inline ipv6::Address ProtocolAddress(uint8_t last) {
  ipv6::Address address;
  std::memcpy(address.bytes, Address(last).bytes, 16);
  return address;
}

/// A packet between two of the tests' addresses: what follows the IPv6 header is given.
inline Frame MakePacket(uint8_t next_header, const Bytes& payload, uint8_t from = 1,
                        uint8_t to = 2) {
  Frame frame(40 + payload.size());
  ipv6::Header ip;
  ip.next_header = next_header;
  ip.payload_length = static_cast<uint16_t>(payload.size());
  ip.source = ProtocolAddress(from);
  ip.destination = ProtocolAddress(to);
  ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
  std::memcpy(frame.data() + 40, payload.data(), payload.size());
  return frame;
}

/// Sum of the upper layer of an unextended packet with its pseudo-header: 0xffff when it is right.
inline uint16_t TransportSum(const Frame& packet, uint8_t protocol) {
  ipv6::Header ip;
  ipv6::Parse(packet, static_cast<uint32_t>(packet.size()), &ip);
  return ChecksumAdd(std::span<const uint8_t>(packet).subspan(40),
                     PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, protocol));
}

inline Bytes Pattern(size_t bytes, uint32_t seed = 0) {
  Bytes out(bytes);
  for (size_t i = 0; i < bytes; ++i) {
    out[i] = static_cast<uint8_t>((i * 131 + (i >> 8) * 7 + seed) & 0xff);
  }
  return out;
}

/// A datagram with its checksum.
inline Frame MakeDatagram(uint16_t from_port, uint16_t to_port, const Bytes& data) {
  Bytes udp(8);
  StoreBe16(udp.data(), from_port);
  StoreBe16(udp.data() + 2, to_port);
  StoreBe16(udp.data() + 4, static_cast<uint16_t>(8 + data.size()));
  udp.insert(udp.end(), data.begin(), data.end());
  Frame packet = MakePacket(ipv6::kUdp, udp);
  StoreBe16(packet.data() + 46, static_cast<uint16_t>(~TransportSum(packet, ipv6::kUdp)));
  return packet;
}

inline Frame MakeEcho(const Bytes& data) {
  Bytes message = {icmpv6::kEchoRequest, 0, 0, 0, 0x12, 0x34, 0, 7};
  message.insert(message.end(), data.begin(), data.end());
  Frame packet = MakePacket(ipv6::kIcmpv6, message);
  StoreBe16(packet.data() + 42, static_cast<uint16_t>(~TransportSum(packet, ipv6::kIcmpv6)));
  return packet;
}

/// An error of a router's (fd00::9) about `packet`, which came from fd00::1.
inline Frame MakeError(uint8_t type, uint8_t code, uint32_t body, const Frame& packet) {
  Bytes message(8);
  message[0] = type;
  message[1] = code;
  StoreBe32(message.data() + 4, body);
  const size_t quoted = std::min<size_t>(packet.size(), 1232);
  message.insert(message.end(), packet.begin(), packet.begin() + static_cast<int64_t>(quoted));
  Frame error = MakePacket(ipv6::kIcmpv6, message, 9, 1);
  StoreBe16(error.data() + 42, static_cast<uint16_t>(~TransportSum(error, ipv6::kIcmpv6)));
  return error;
}
inline Frame TooBig(const Frame& packet, uint32_t mtu) {
  return MakeError(icmpv6::kPacketTooBig, 0, mtu, packet);
}

/// One fragment of a packet without extension headers: bytes [offset, offset + length) of what
/// follows its IPv6 header.
inline Frame MakeFragment(const Frame& packet, uint32_t offset, uint32_t length, bool more,
                          uint32_t identification = 77) {
  Bytes payload(8);
  ipv6::Emit(ipv6::FragmentHeader{packet[6], offset, more, identification},
             std::span<uint8_t, 8>(payload.data(), 8));
  const auto begin = packet.begin() + 40 + offset;
  payload.insert(payload.end(), begin, begin + length);
  Frame fragment = MakePacket(ipv6::kFragment, payload);
  std::memcpy(fragment.data() + 8, packet.data() + 8, 32);  // the addresses
  return fragment;
}

/// All of a packet, in fragments of `chunk` bytes.
inline std::vector<Frame> Fragments(const Frame& packet, uint32_t chunk,
                                    uint32_t identification = 77) {
  std::vector<Frame> out;
  const auto total = static_cast<uint32_t>(packet.size() - 40);
  for (uint32_t at = 0; at < total; at += chunk) {
    const uint32_t length = std::min(chunk, total - at);
    out.push_back(MakeFragment(packet, at, length, at + length < total, identification));
  }
  return out;
}

/// The packet that a sequence of fragments, in order and without extension headers, stands for.
/// Fails when they are not such.
template <typename Frames>
Frame Reassemble(const Frames& fragments) {
  Frame packet;
  uint32_t at = 0;
  for (const Frame& fragment : fragments) {
    EXPECT_EQ(fragment[6], ipv6::kFragment);
    const uint16_t field = LoadBe16(fragment.data() + 42);
    EXPECT_EQ(field & 0xfff8u, at);
    EXPECT_EQ((field & 1) != 0, &fragment != &fragments.back());
    EXPECT_EQ(LoadBe32(fragment.data() + 44), LoadBe32(fragments.front().data() + 44));
    EXPECT_EQ(LoadBe16(fragment.data() + 4) + 40u, fragment.size());
    if (packet.empty()) {
      packet.assign(fragment.begin(), fragment.begin() + 40);
      packet[6] = fragment[40];
    }
    packet.insert(packet.end(), fragment.begin() + 48, fragment.end());
    at += static_cast<uint32_t>(fragment.size() - 48);
  }
  if (!packet.empty()) StoreBe16(packet.data() + 4, static_cast<uint16_t>(packet.size() - 40));
  return packet;
}

}  // namespace qpip::fw::test
