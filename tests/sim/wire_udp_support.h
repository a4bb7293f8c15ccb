// For tests of the udp: wire: ports on this machine's loopback, and packets to be cut.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "protocols/ipv6/header.h"
#include "wire_test_support.h"

namespace qpip::wire::test {

inline UdpOptions UdpAt(uint8_t last_address_byte, uint32_t mtu = 1452) {
  UdpOptions options;
  options.host = "127.0.0.1";
  options.address = Address(last_address_byte);
  options.mtu = mtu;
  return options;
}

inline uint16_t PortOf(const Wire& wire) { return static_cast<uint16_t>(Counter(wire, "port")); }

/// A client of `server`, reached by every address.
inline std::unique_ptr<Wire> OpenClient(const Wire& server, UdpOptions options) {
  options.peers.push_back({{}, "127.0.0.1", PortOf(server)});
  return OpenUdpWire(options);
}

inline Bytes FrameFrom(uint8_t from, uint8_t to, size_t length, uint64_t seed) {
  Bytes bytes = MakeFrame(Address(to), length, seed);
  std::memcpy(&bytes[8], Address(from).bytes, 16);
  return bytes;
}

inline void Give(Wire* wire, const Bytes& bytes) {
  ASSERT_EQ(SendBytes(wire, bytes), SendResult::kSent);
  wire->Flush();
}

inline Bytes Take(Wire* wire) {
  InFrame frame;
  if (!ReceiveWithin(wire, &frame)) return {};
  EXPECT_FALSE(frame.peer_down);
  EXPECT_FALSE(frame.checksum_vouched);
  Bytes bytes = Content(frame);
  wire->Release(frame);
  return bytes;
}

/// Sends a marked frame and takes it: whatever was on the way before has been looked at.
inline void Pass(Wire* from, Wire* to, const Bytes& marker) {
  Give(from, marker);
  ASSERT_EQ(Take(to), marker);
}

/// A TCP packet of `text` bytes, the transport checksum left to whoever cuts it.
inline Bytes TcpPacket(uint8_t from, uint8_t to, size_t text, uint8_t flags) {
  Bytes bytes = FrameFrom(from, to, 72 + text, text);
  std::fill(bytes.begin(), bytes.begin() + 8, uint8_t{0});
  bytes[0] = 0x60;
  bytes[4] = static_cast<uint8_t>((32 + text) >> 8);
  bytes[5] = static_cast<uint8_t>(32 + text);
  bytes[6] = 6;
  bytes[7] = 64;
  bytes[52] = 0x80;
  bytes[53] = flags;
  bytes[56] = bytes[57] = 0;
  return bytes;
}
inline constexpr uint8_t kAckPush = 0x18;

/// What arrived of a train: frames whose text, one behind the other, is the packet's.
struct Arrived {
  size_t frames = 0;
  size_t vouched = 0;
  Bytes text;
  uint8_t last_flags = 0;
};

inline Arrived TakeText(Wire* wire, size_t bytes) {
  Arrived arrived;
  while (arrived.text.size() < bytes) {
    InFrame frame;
    if (!ReceiveWithin(wire, &frame)) return arrived;
    const Bytes content = Content(frame);
    EXPECT_EQ(size_t{content[4]} << 8 | content[5], content.size() - 40);
    EXPECT_GE(frame.pieces[0].iov_len, std::min<size_t>(content.size(), 256));
    arrived.text.insert(arrived.text.end(), content.begin() + 72, content.end());
    arrived.last_flags = content[53];
    ++arrived.frames;
    arrived.vouched += frame.checksum_vouched ? 1 : 0;
    wire->Release(frame);
  }
  return arrived;
}

/// Sends a packet to be cut, its text in three pieces.
inline SendResult SendTrain(Wire* wire, const Bytes& packet, uint32_t segment_size, bool stable,
                            uint64_t* lease) {
  auto* text = const_cast<uint8_t*>(packet.data()) + 72;
  const size_t third = (packet.size() - 72) / 3;
  const iovec payload[3] = {
      {text, third}, {text + third, third}, {text + 2 * third, packet.size() - 72 - 2 * third}};
  return wire->Send({.header = std::span(packet).first(72),
                     .payload = payload,
                     .payload_stable = stable,
                     .segment_size = segment_size},
                    lease);
}

}  // namespace qpip::wire::test
