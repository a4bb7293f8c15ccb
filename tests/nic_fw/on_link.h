// The NIC on an Ethernet link, its neighbours played by the test.
#pragma once

#include "nic_fw/link_state.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/header.h"
#include "test_support.h"

namespace qpip::fw::test {

using icmpv6::LinkAddress;
using icmpv6::NeighbourMessage;

inline constexpr uint64_t kSecond = 1000 * kMs;
inline constexpr LinkAddress kOwnLink = {2, 0, 0, 0, 0, 1};
inline constexpr LinkAddress kPeerLink = {2, 0, 0, 0, 0, 9};
inline constexpr LinkAddress kOtherLink = {2, 0, 0, 0, 0, 0x66};

inline NicConfig EthernetConfig(uint8_t dad_transmits = 0) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.link.type = kLinkEthernet;
  config.link.dad_transmits = dad_transmits;
  std::memcpy(config.link.mac, kOwnLink.data(), 6);
  return config;
}

inline ipv6::Address Ip(uint8_t last) {
  ipv6::Address address;
  std::memcpy(address.bytes, Address(last).bytes, 16);
  return address;
}

/// A message as it lies on the wire.
inline Frame MessageFrame(const NeighbourMessage& message, const ipv6::Address& source,
                          const ipv6::Address& destination, uint8_t hop_limit = 255) {
  Frame frame(40 + icmpv6::kMaxNeighbourMessage);
  frame.resize(40 + icmpv6::EmitNeighbour(message, std::span<uint8_t, 32>(frame.data() + 40, 32)));
  ipv6::Header ip;
  ip.next_header = ipv6::kIcmpv6;
  ip.hop_limit = hop_limit;
  ip.payload_length = static_cast<uint16_t>(frame.size() - 40);
  ip.source = source;
  ip.destination = destination;
  ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
  return frame;
}

inline void Seal(Frame& frame) {
  ipv6::Header ip;
  ASSERT_EQ(ipv6::Parse(frame, static_cast<uint32_t>(frame.size()), &ip), ipv6::ParseError::kNone);
  frame[42] = frame[43] = 0;
  StoreBe16(&frame[42], static_cast<uint16_t>(~ChecksumAdd(
                            std::span<const uint8_t>(frame).subspan(40),
                            PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, 58))));
}

struct OnLink : ::testing::Test {
  explicit OnLink(uint8_t dad_transmits = 0) : OnLink(EthernetConfig(dad_transmits)) {}
  explicit OnLink(const NicConfig& config) : nic(1, config) {}

  FirmwareBench nic;
  struct Sent {
    Frame bytes;
    LinkAddress to;
  };
  std::vector<Sent> sent;

  /// Runs what is due now and takes the frames that leave.
  void Collect() {
    nic.Run();
    for (size_t i = 0; i < nic.hardware.outgoing.size(); ++i) {
      sent.push_back({nic.hardware.outgoing[i], nic.hardware.link_addresses[i]});
    }
    nic.hardware.outgoing.clear();
    nic.hardware.link_addresses.clear();
  }
  void Advance(uint64_t ns) {
    nic.Advance(ns);
    Collect();
  }
  /// Takes the frames sent so far.
  std::vector<Sent> Take() {
    Collect();
    return std::exchange(sent, {});
  }
  /// Those that are messages of `type`.
  std::vector<Sent> Take(uint8_t type) {
    std::vector<Sent> out;
    for (Sent& one : Take()) {
      if (one.bytes[6] == ipv6::kIcmpv6 && one.bytes[40] == type) out.push_back(one);
    }
    return out;
  }
  NeighbourMessage Read(const Sent& one) {
    NeighbourMessage message;
    ipv6::Header ip;
    EXPECT_EQ(ipv6::Parse(one.bytes, static_cast<uint32_t>(one.bytes.size()), &ip),
              ipv6::ParseError::kNone);
    EXPECT_EQ(icmpv6::ParseNeighbour(std::span(one.bytes).subspan(40),
                                     {ip.source, ip.destination, ip.hop_limit}, &message),
              icmpv6::NeighbourError::kNone);
    Frame copy = one.bytes;
    Seal(copy);
    EXPECT_EQ(copy, one.bytes) << "its checksum is right";
    return message;
  }
  void Arrive(const NeighbourMessage& message, const ipv6::Address& source,
              const ipv6::Address& destination, uint8_t hop_limit = 255) {
    Frame frame = MessageFrame(message, source, destination, hop_limit);
    Seal(frame);
    ArriveFrame(std::move(frame));
  }
  void ArriveFrame(Frame frame) {
    nic.hardware.incoming.push_back(std::move(frame));
    Collect();
    EXPECT_EQ(nic.hardware.frames_borrowed(), 0u);
  }
  void Advertise(uint8_t who, const LinkAddress& link, bool solicited = true,
                 bool override_entry = true) {
    NeighbourMessage message;
    message.type = icmpv6::kNeighbourAdvertisement;
    message.target = Ip(who);
    message.solicited = solicited;
    message.override_entry = override_entry;
    message.has_target_link = true;
    message.target_link = link;
    Arrive(message, Ip(who), Ip(1));
  }
  void Solicit(uint8_t who, const LinkAddress& link) {
    NeighbourMessage message;
    message.type = icmpv6::kNeighbourSolicitation;
    message.target = Ip(1);
    message.has_source_link = true;
    message.source_link = link;
    Arrive(message, Ip(who), icmpv6::SolicitedNode(Ip(1)));
  }
  /// A router's advertisement of itself, 2001:db8::/32 on the link, MTU 1400.
  void AdvertiseRouter(uint16_t lifetime, uint8_t last = 0xfe, uint32_t retransmit_ms = 0,
                       uint8_t hop_limit = 57) {
    Frame frame(40);
    const uint8_t body[] = {134,
                            0,
                            0,
                            0,
                            hop_limit,
                            0,
                            static_cast<uint8_t>(lifetime >> 8),
                            static_cast<uint8_t>(lifetime),
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            1,
                            1,
                            2,
                            0,
                            0,
                            0,
                            0,
                            last,
                            5,
                            1,
                            0,
                            0,
                            0,
                            0,
                            0x05,
                            0x78,
                            3,
                            4,
                            32,
                            0x80,
                            0,
                            0,
                            0,
                            100,
                            0,
                            0,
                            0,
                            100,
                            0,
                            0,
                            0,
                            0,
                            0x20,
                            0x01,
                            0x0d,
                            0xb8,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0};
    frame.insert(frame.end(), std::begin(body), std::end(body));
    StoreBe32(&frame[40 + 12], retransmit_ms);
    ipv6::Header ip;
    ip.next_header = ipv6::kIcmpv6;
    ip.hop_limit = 255;
    ip.payload_length = sizeof body;
    ip.source = ipv6::Address{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}};
    ip.destination = icmpv6::kAllNodes;
    ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
    Seal(frame);
    ArriveFrame(std::move(frame));
  }

  // A UDP queue pair that sends a datagram to an address.
  std::unique_ptr<TestCq> cq = nic.CreateCq();
  std::unique_ptr<TestQp> udp = nic.CreateQp(*cq, {.type = abi::QpType::kUdp});
  void SendTo(uint8_t who) {
    if (!bound_) nic.Bind(*udp, 1000);
    bound_ = true;
    nic.PostInline(*udp, "x", who, 2000);
    Collect();
  }
  std::vector<Sent> Datagrams() {
    std::vector<Sent> out;
    for (Sent& one : Take()) {
      if (one.bytes[6] == ipv6::kUdp) out.push_back(one);
    }
    return out;
  }
  Nic View() { return {nic.arena.data(), nic.hardware.platform(), nic.now}; }
  NeighbourState StateOf(uint8_t who) {
    const Nic view = View();
    for (uint32_t i = 0; i < nic.config.link.max_neighbours; ++i) {
      const Neighbour& n = NeighbourAt(view, i);
      if (n.state != NeighbourState::kFree && n.address == Ip(who)) return n.state;
    }
    return NeighbourState::kFree;
  }

 private:
  bool bound_ = false;
};

}  // namespace qpip::fw::test
