#include "nic_fw/packet.h"

#include <cstring>
#include <span>

#include "nic_fw/packet_output.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/fragment.h"
#include "protocols/ipv6/header.h"
#include "protocols/udp/header.h"

namespace qpip::fw {
namespace {

/// Writes the IPv6 header in front of an upper-layer packet of `length` bytes.
void BuildIp(const Nic& nic, uint8_t* frame, const ipv6::Address& destination, uint8_t protocol,
             uint32_t length, uint8_t traffic_class, Variant variant) {
  ipv6::Header header;
  header.traffic_class = traffic_class;
  header.next_header = protocol;
  header.hop_limit = nic.state.config.hop_limit;
  header.payload_length = static_cast<uint16_t>(length);
  header.source = OwnAddress(nic);
  header.destination = destination;
  ipv6::Emit(header, std::span<uint8_t, ipv6::kHeaderBytes>(frame, ipv6::kHeaderBytes));
  nic.Charge(Stage::kTxBuildIpHeader, variant);
}

/// The one's complement sum that goes, inverted, into the transport header's checksum field.
uint16_t TransportSum(const Nic& nic, const ipv6::Address& destination, uint8_t protocol,
                      std::span<const uint8_t> header_and_inline, const PayloadSource& payload) {
  uint32_t upper = static_cast<uint32_t>(header_and_inline.size());
  if (payload.handle != 0) upper += payload.length;
  uint16_t sum = PseudoHeaderSum(OwnAddress(nic), destination, upper, protocol);
  sum = ChecksumAdd(header_and_inline, sum);
  if (payload.handle != 0) {
    // Transport headers have an even length; inline bytes need not.
    sum = ChecksumCombine(
        sum, ChecksumAtOffset(static_cast<uint16_t>(payload.sum), payload.inline_length));
  }
  return sum;
}

/// RFC 4291 2.5.2 and 2.5.3: no node but this one may be meant. Connections to them are refused
/// when they open.
bool LeadsNowhere(const ipv6::Address& destination) {
  return destination.IsUnspecified() || destination.IsLoopback();
}

uint32_t Transmit(const Nic& nic, const uint8_t* frame, uint32_t header_length,
                  const PayloadSource& payload, Variant variant, uint64_t* lease) {
  FrameOut out;
  out.header = frame;
  out.header_length = header_length;
  out.payload = payload.handle;
  out.segment_size = payload.segment_size;
  out.owner = payload.owner;
  const uint32_t status = SendPacket(nic, out, payload.inline_length, lease);
  nic.Charge(Stage::kTxSend, variant, payload.total());
  return status;
}

}  // namespace

uint32_t SendTcp(const Nic& nic, const tcp::FourTuple& tuple, tcp::Header header,
                 const PayloadSource& payload, Variant variant, uint64_t* lease) {
  uint8_t frame[kFrameBufferBytes];
  uint8_t* transport = frame + ipv6::kHeaderBytes;
  header.source_port = tuple.local_port;
  header.destination_port = tuple.remote_port;
  uint32_t length =
      static_cast<uint32_t>(tcp::Emit(header, std::span<uint8_t>(transport, tcp::kMaxHeaderBytes)));
  if (payload.inline_bytes != nullptr) {
    std::memcpy(transport + length, payload.inline_bytes, payload.inline_length);
    length += payload.inline_length;
  }
  if (nic.state.config.wire_trusted == 0 && payload.segment_size == 0) {
    const uint16_t sum = TransportSum(nic, tuple.remote_address, ipv6::kTcp,
                                      std::span<const uint8_t>(transport, length), payload);
    StoreBe16(transport + tcp::offset::kChecksum, static_cast<uint16_t>(~sum));
  }
  nic.Charge(Stage::kTxBuildTransportHeader, variant);
  const uint32_t ip_payload = length + (payload.handle != 0 ? payload.length : 0);
  BuildIp(nic, frame, tuple.remote_address, ipv6::kTcp, ip_payload, payload.traffic_class, variant);
  const uint32_t status = Transmit(nic, frame, static_cast<uint32_t>(ipv6::kHeaderBytes) + length,
                                   payload, variant, lease);
  if (status == kSendOk) nic.Count(abi::NicCounter::kTcpSegmentsSent);
  return status;
}

uint32_t SendUdp(const Nic& nic, uint16_t local_port, const ipv6::Address& peer, uint16_t peer_port,
                 const PayloadSource& payload, uint64_t* lease) {
  if (LeadsNowhere(peer)) return NoWay(nic, payload.handle, abi::DropReason::kNoRoute);
  uint8_t frame[kFrameBufferBytes];
  uint8_t* transport = frame + ipv6::kHeaderBytes;
  udp::Header header;
  header.source_port = local_port;
  header.destination_port = peer_port;
  header.length = static_cast<uint16_t>(udp::kHeaderBytes + payload.total());
  udp::Emit(header, std::span<uint8_t, udp::kHeaderBytes>(transport, udp::kHeaderBytes));
  uint32_t length = udp::kHeaderBytes;
  if (payload.inline_bytes != nullptr) {
    std::memcpy(transport + length, payload.inline_bytes, payload.inline_length);
    length += payload.inline_length;
  }
  if (nic.state.config.wire_trusted == 0) {
    const uint16_t sum =
        TransportSum(nic, peer, ipv6::kUdp, std::span<const uint8_t>(transport, length), payload);
    StoreBe16(transport + udp::offset::kChecksum, udp::FinishChecksum(sum));
  }
  nic.Charge(Stage::kTxBuildTransportHeader, Variant::kDatagram);
  BuildIp(nic, frame, peer, ipv6::kUdp, header.length, payload.traffic_class, Variant::kDatagram);
  const uint32_t status = Transmit(nic, frame, static_cast<uint32_t>(ipv6::kHeaderBytes) + length,
                                   payload, Variant::kDatagram, lease);
  if (status == kSendOk) nic.Count(abi::NicCounter::kUdpDatagramsSent);
  return status;
}

uint32_t SendUdpFragment(const Nic& nic, uint16_t local_port, const TransmitContext& context,
                         const PayloadSource& payload, uint64_t* lease) {
  if (LeadsNowhere(context.peer_address)) {
    return NoWay(nic, payload.handle, abi::DropReason::kNoRoute);
  }
  constexpr auto kFragmentHeader = static_cast<uint32_t>(ipv6::kFragmentHeaderBytes);
  uint8_t frame[ipv6::kHeaderBytes + kFragmentHeader + udp::kHeaderBytes];
  uint8_t* at = frame + ipv6::kHeaderBytes;
  const DatagramFragment& part = context.fragment;
  ipv6::Emit(
      ipv6::FragmentHeader{ipv6::kUdp, part.offset, !context.last_of_message, part.identification},
      std::span<uint8_t, kFragmentHeader>(at, kFragmentHeader));
  uint32_t front = kFragmentHeader;
  if (part.offset == 0) {
    const std::span<uint8_t, udp::kHeaderBytes> bytes(at + front, udp::kHeaderBytes);
    udp::Header header;
    header.source_port = local_port;
    header.destination_port = context.peer_port;
    header.length = static_cast<uint16_t>(udp::kHeaderBytes + part.datagram_length);
    udp::Emit(header, bytes);
    // On a wire that fills in checksums as well: it sees packets, not what they are parts of.
    const uint16_t pseudo =
        PseudoHeaderSum(OwnAddress(nic), context.peer_address, header.length, ipv6::kUdp);
    const uint16_t sum = ChecksumCombine(ChecksumAdd(bytes, pseudo), part.sum);
    StoreBe16(bytes.data() + udp::offset::kChecksum, udp::FinishChecksum(sum));
    front += static_cast<uint32_t>(udp::kHeaderBytes);
    nic.Charge(Stage::kTxBuildTransportHeader, Variant::kDatagram);
  }
  BuildIp(nic, frame, context.peer_address, ipv6::kFragment, front + payload.length,
          payload.traffic_class, Variant::kDatagram);
  const uint32_t status = Transmit(nic, frame, static_cast<uint32_t>(ipv6::kHeaderBytes) + front,
                                   payload, Variant::kDatagram, lease);
  if (status != kSendOk) return status;
  nic.Count(abi::NicCounter::kFragmentsSent);
  if (context.last_of_message) {
    nic.Count(abi::NicCounter::kPacketsFragmented);
    nic.Count(abi::NicCounter::kUdpDatagramsSent);
  }
  return status;
}

void SendReset(const Nic& nic, const tcp::FourTuple& tuple, const tcp::Header& reset) {
  uint64_t lease = 0;
  // A reset that the wire has no room for is lost, as any frame may be: the peer's next segment
  // draws another one.
  SendTcp(nic, tuple, reset, PayloadSource{}, Variant::kControl, &lease);
  nic.Count(abi::NicCounter::kTcpResetsSent);
}

}  // namespace qpip::fw
