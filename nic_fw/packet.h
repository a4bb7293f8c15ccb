// Building and sending packets: the lower half of the transmit FSM.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Header room of one outgoing frame: IPv6, TCP with options, and inline payload behind them.
inline constexpr uint32_t kFrameBufferBytes = 40 + 60 + 512;

/// Where text comes from: bytes in SRAM, a fetched payload behind them, either or both.
struct PayloadSource {
  const uint8_t* inline_bytes = nullptr;
  uint32_t inline_length = 0;
  uint32_t handle = 0;
  uint32_t length = 0;        ///< of the fetched payload
  uint32_t sum = 0;           ///< of a fetched payload, when checksums are computed
  uint32_t segment_size = 0;  ///< TCP: as FrameOut's
  uint32_t owner = 0;         ///< whose fetched payload it is, as FrameOut's
  uint8_t traffic_class = 0;  ///< of the IPv6 header: DiffServ and ECN
  uint32_t total() const { return inline_length + length; }
};

/// Sends one TCP segment of `tuple`; ports of `header` are filled in. Answers SendStatus; `*lease`
/// is 0 or the frame's lease. Charges header building and sending as `variant`.
uint32_t SendTcp(const Nic& nic, const tcp::FourTuple& tuple, tcp::Header header,
                 const PayloadSource& payload, Variant variant, uint64_t* lease);

/// Sends one UDP datagram.
uint32_t SendUdp(const Nic& nic, uint16_t local_port, const ipv6::Address& peer, uint16_t peer_port,
                 const PayloadSource& payload, uint64_t* lease);

/// Sends the part of a datagram that `context` stands for.
uint32_t SendUdpFragment(const Nic& nic, uint16_t local_port, const TransmitContext& context,
                         const PayloadSource& payload, uint64_t* lease);

/// Sends an RST of `tuple` (RFC 9293 3.10.7.1).
void SendReset(const Nic& nic, const tcp::FourTuple& tuple, const tcp::Header& reset);

/// Bytes that a fragment carries on a path of `mtu` bytes: a multiple of 8 (RFC 8200 4.5).
constexpr uint32_t FragmentBytes(uint32_t mtu) { return (mtu - 48) & ~uint32_t{7}; }

}  // namespace qpip::fw
