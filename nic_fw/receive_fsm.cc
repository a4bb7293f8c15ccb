#include "nic_fw/receive_fsm.h"

#include <cstring>
#include <span>

#include "nic_fw/connection.h"
#include "nic_fw/demux.h"
#include "nic_fw/ending.h"
#include "nic_fw/events.h"
#include "nic_fw/icmp.h"
#include "nic_fw/invariants.h"
#include "nic_fw/listener.h"
#include "nic_fw/neighbour_cache.h"
#include "nic_fw/opening.h"
#include "nic_fw/own_address.h"
#include "nic_fw/packet.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/placement.h"
#include "nic_fw/proof.h"
#include "nic_fw/rdma_state.h"
#include "nic_fw/reassembly.h"
#include "nic_fw/received_packet.h"
#include "nic_fw/schedule.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_context.h"
#include "nic_fw/transmit_tcp.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/neighbour.h"
#include "protocols/tcp/listen.h"
#include "protocols/tcp/machine.h"
#include "protocols/udp/header.h"

namespace qpip::fw {
namespace {

void Release(const Nic& nic, const FrameIn& frame) { ReleaseFrame(nic, frame.frame); }

/// Counts and releases a frame that will not be processed.
void DropFrame(const Nic& nic, const FrameIn& frame, abi::DropReason reason) {
  nic.Drop(reason);
  Release(nic, frame);
}

/// The column of Table 3 a frame belongs to, from a look at its headers. Whether data acknowledges
/// something new is known later.
Variant PeekVariant(const FrameIn& frame) {
  if (frame.header_length < ipv6::kHeaderBytes) return Variant::kControl;
  const uint8_t protocol = frame.header[ipv6::offset::kNextHeader];
  if (protocol == ipv6::kUdp) return Variant::kDatagram;
  if (protocol != ipv6::kTcp || frame.header_length < 60) return Variant::kControl;
  const uint8_t* tcp_header = frame.header + ipv6::kHeaderBytes;
  const uint32_t header_bytes = (tcp_header[tcp::offset::kDataOffset] >> 4) * 4u;
  if (frame.length > ipv6::kHeaderBytes + header_bytes) return Variant::kData;
  const uint8_t flags = tcp_header[tcp::offset::kFlags];
  return (flags & (tcp::kSyn | tcp::kFin | tcp::kRst)) != 0 ? Variant::kControl : Variant::kAck;
}

bool IsAccepted(const Nic& nic, const ipv6::Address& destination) {
  return OnEthernet(nic) ? IsForUs(nic, destination) : destination == OwnAddress(nic);
}

abi::DropReason IpDropReason(ipv6::ParseError error) {
  switch (error) {
    case ipv6::ParseError::kTooShort:
      return abi::DropReason::kFrameTooShort;
    case ipv6::ParseError::kBadVersion:
      return abi::DropReason::kNotIpv6;
    case ipv6::ParseError::kBadPayloadLength:
      return abi::DropReason::kBadIpv6Length;
    case ipv6::ParseError::kBadSource:
      return abi::DropReason::kBadSourceAddress;
    case ipv6::ParseError::kUnknownOption:
      return abi::DropReason::kUnknownOption;
    case ipv6::ParseError::kRoutingHeader:
      return abi::DropReason::kRoutingHeader;
    case ipv6::ParseError::kChainTooLong:
      return abi::DropReason::kHeaderChainTooLong;
    default:
      return abi::DropReason::kBadExtensionHeader;
  }
}

/// Whether anybody may send from this source. Nothing is answered, or filed, that comes from an
/// address that is nobody's: the answer would go nowhere, or to ourselves, who would answer again.
/// (Multicast sources have been refused by ipv6::Parse.)
bool SourceAllowed(const Nic& nic, const ReceivedPacket& packet, bool whole) {
  const ipv6::Address& source = packet.ip.source;
  const bool readable = whole && packet.upper.protocol == ipv6::kIcmpv6 && OnEthernet(nic) &&
                        !packet.UpperReadable().empty();
  const uint8_t type = readable ? packet.UpperReadable()[0] : 0;  // 0 is none
  const bool discovery = icmpv6::IsNeighbourDiscovery(type);
  // RFC 4291 2.5.2, RFC 9293 3.9.2.3 (MUST-63): only who has no address yet speaks from none.
  if (source.IsUnspecified()) return discovery;
  // RFC 4291 2.5.3: never outside of a node.
  if (source.IsLoopback()) return false;
  // RFC 4862 5.4.4: who has our address already says so from that address.
  const bool defends = type == icmpv6::kNeighbourAdvertisement;
  return !(source == OwnAddress(nic)) || nic.state.config.link.loops_back != 0 || defends;
}

// ---------------------------------------------------------------- TCP

abi::DropReason RefusalReason(tcp::Refusal refusal) {
  switch (refusal) {
    case tcp::Refusal::kOutOfOrder:
      return abi::DropReason::kTcpOutOfOrder;
    case tcp::Refusal::kPaws:
      return abi::DropReason::kTcpPaws;
    case tcp::Refusal::kBadAck:
      return abi::DropReason::kTcpBadAck;
    default:
      return abi::DropReason::kTcpUnacceptable;
  }
}

/// Acts on what the TCP machine says became of the connection.
void ApplyOutcome(const Nic& nic, QueuePair& q, tcp::Outcome outcome) {
  switch (outcome) {
    case tcp::Outcome::kNone:
      return;
    case tcp::Outcome::kEstablished:
      OnEstablished(nic, q);
      return;
    case tcp::Outcome::kReset:
      nic.Count(abi::NicCounter::kConnectionsReset);
      LosePeer(nic, q, abi::DisconnectReason::kReset, abi::CompletionStatus::kRemoteAborted);
      return;
    case tcp::Outcome::kRefused:
      EndConnection(nic, q, abi::DisconnectReason::kRefused, abi::CompletionStatus::kRemoteAborted);
      return;
    case tcp::Outcome::kTimedOut:
      LosePeer(nic, q, abi::DisconnectReason::kTimedOut, abi::CompletionStatus::kRetryExceeded);
      return;
    case tcp::Outcome::kTimeWait:
    case tcp::Outcome::kClosed:
      return;  // after the text has been queued
  }
}

/// Carries out the machine's plan. Takes over the frame.
void ApplyArrival(const Nic& nic, QueuePair& q, const ReceivedPacket& packet,
                  const tcp::Arrival& arrival, uint32_t text_start) {
  if (arrival.refusal != tcp::Refusal::kNone) nic.Drop(RefusalReason(arrival.refusal));
  if (arrival.send_reset) SendReset(nic, packet.tuple, arrival.reset);
  ApplyOutcome(nic, q, arrival.outcome);
  if (arrival.acked_bytes != 0) {
    ConfirmNeighbour(nic, packet.ip.source);
    q.notices.path_failed = false;
    CompleteSends(nic, q);
  }
  const bool alive = q.state == QpState::kConnected || q.state == QpState::kOrphan;
  if (alive && arrival.text_length != 0 && q.state == QpState::kOrphan) {
    // RFC 9293 3.6.1 (RFC 1122 4.2.2.13): nobody will read this data; say so.
    Release(nic, packet.frame);
    AbortConnection(nic, q);
    return;
  }
  if (alive && arrival.urgent) {
    q.notices.urgent_end = (q.tcb.rcv.irs + 1).DistanceTo(q.tcb.rcv.up);
    Notify(nic, q, abi::kNoticeUrgent);
  }
  if (arrival.peer_closed) q.placement.end_of_stream = kEosPending;
  if (alive && arrival.text_length != 0 && !RefusesText(nic, q)) {
    QueueText(nic, q, packet.frame.frame, text_start, arrival);
  } else {
    Release(nic, packet.frame);
  }
  if (q.placement.end_of_stream == kEosPending) DeliverEndOfStream(nic, q);
  if (arrival.outcome == tcp::Outcome::kTimeWait || arrival.outcome == tcp::Outcome::kClosed) {
    OnTransportDone(nic, q);
  }
  const bool scheduled = q.state == QpState::kConnected || q.state == QpState::kConnecting ||
                         q.state == QpState::kOrphan ||
                         (q.state == QpState::kClosed && q.tcb.state != tcp::State::kClosed);
  if (!scheduled) return;
  if (MayHaveToSend(nic, q)) Activate(nic, q.handle);
  UpdateTimer(nic, q);
}

bool IsPassiveHandshake(const QueuePair& q) {
  return q.state == QpState::kConnecting && q.listener != kNone;
}

/// The queue pair that a segment is for. kNone: it has been dealt with.
uint32_t FindConnection(const Nic& nic, const ReceivedPacket& packet, const tcp::Segment& segment) {
  const uint32_t handle = FindTcp(nic, packet.tuple);
  const bool yields = handle != kNone && tcp::TimeWaitYields(nic.qp(handle).tcb, segment);
  if (handle != kNone && !yields) {
    const bool goes_on = !IsPassiveHandshake(nic.qp(handle)) ||
                         ReconcileHandshake(nic, nic.qp(handle), segment.header);
    return goes_on ? handle : kNone;
  }
  const uint32_t listener = FindListener(nic, packet.tuple.local_port);
  if (yields) {
    if (listener == kNone) return handle;
    OnReopeningSyn(nic, listener, packet.tuple, segment.header);
    return kNone;
  }
  if (listener == kNone) {
    nic.Drop(abi::DropReason::kNoTcpConnection);
    tcp::Header reset;
    if (tcp::ResetFor(segment, &reset)) SendReset(nic, packet.tuple, reset);
    return kNone;
  }
  OnListenSegment(nic, listener, packet.tuple, segment);
  // The ACK by which a peer has proven itself goes to the connection that it has made.
  return segment.header.Has(tcp::kSyn) ? kNone : FindTcp(nic, packet.tuple);
}

void OnTcp(const Nic& nic, ReceivedPacket& packet) {
  nic.Count(abi::NicCounter::kTcpSegmentsReceived);
  const std::span<const uint8_t> bytes = packet.UpperReadable();
  tcp::Segment segment;
  size_t header_bytes = 0;
  if (tcp::Parse(bytes, &segment.header, &header_bytes) != tcp::ParseError::kNone ||
      header_bytes > packet.upper.length) {
    DropFrame(nic, packet.frame, abi::DropReason::kBadTcpHeader);
    return;
  }
  if (!ChecksumOk(nic, packet, ipv6::kTcp)) {
    DropFrame(nic, packet.frame, abi::DropReason::kBadTcpChecksum);
    return;
  }
  segment.text_length = packet.upper.length - static_cast<uint32_t>(header_bytes);
  segment.ecn = static_cast<tcp::EcnCodepoint>(packet.ip.traffic_class & 3);
  packet.tuple.local_address = packet.ip.destination;
  packet.tuple.remote_address = packet.ip.source;
  packet.tuple.local_port = segment.header.destination_port;
  packet.tuple.remote_port = segment.header.source_port;
  if (segment.header.Has(tcp::kRst)) nic.Count(abi::NicCounter::kTcpResetsReceived);

  const uint32_t handle = FindConnection(nic, packet, segment);
  if (handle == kNone) {
    Release(nic, packet.frame);
    nic.Charge(Stage::kRxTransportParse, packet.variant);
    return;
  }
  if (segment.text_length != 0 && !HasReceiveContext(nic)) {
    // Nothing was acknowledged: the peer sends it again.
    DropFrame(nic, packet.frame, abi::DropReason::kNoReceiveContext);
    return;
  }
  QueuePair& q = nic.qp(handle);
  const Handler handler(nic, q);
  const tcp::State before = q.tcb.state;
  const tcp::Arrival arrival = tcp::OnSegment(q.tcb, segment, nic.now);
  NoteMtuSearch(nic, q);
  TraceTcpState(nic, q, before);
  TraceCongestion(nic, q);
  if (packet.variant == Variant::kData && arrival.acked_bytes != 0) {
    packet.variant = Variant::kDataAck;
  }
  nic.Charge(Stage::kRxTransportParse, packet.variant,
             arrival.rtt_sampled ? tcp::kRttMultiplies : 0);
  const uint32_t completed_before = q.send.completed;
  ApplyArrival(nic, q, packet, arrival, packet.upper.offset + static_cast<uint32_t>(header_bytes));
  // A segment that only carries data is updated when its data is in place.
  if (packet.variant != Variant::kData) {
    nic.Charge(Stage::kRxUpdate, packet.variant, q.send.completed - completed_before);
  }
}

// ---------------------------------------------------------------- UDP

void OnUdp(const Nic& nic, const ReceivedPacket& packet) {
  const bool checked = (packet.frame.flags & kFrameTrusted) == 0;
  udp::Header header;
  const udp::ParseError error =
      udp::Parse(packet.UpperReadable(), packet.upper.length, checked, &header);
  if (error != udp::ParseError::kNone) {
    DropFrame(nic, packet.frame, abi::DropReason::kBadUdpHeader);
    return;
  }
  if (!ChecksumOk(nic, packet, ipv6::kUdp)) {
    DropFrame(nic, packet.frame, abi::DropReason::kBadUdpChecksum);
    return;
  }
  const uint32_t handle = FindUdp(nic, header.destination_port);
  nic.Charge(Stage::kRxTransportParse, Variant::kDatagram);
  if (handle == kNone || nic.qp(handle).state != QpState::kConnected) {
    nic.Drop(abi::DropReason::kNoUdpQueuePair);
    SendPortUnreachable(nic, packet);
    Release(nic, packet.frame);
    return;
  }
  QueuePair& q = nic.qp(handle);
  const Handler handler(nic, q);
  if (!CanQueueDatagram(nic, q)) {
    DropFrame(nic, packet.frame, abi::DropReason::kNoReceivePosted);
    return;
  }
  if (!HasReceiveContext(nic)) {
    DropFrame(nic, packet.frame, abi::DropReason::kNoReceiveContext);
    return;
  }
  nic.Count(abi::NicCounter::kUdpDatagramsReceived);
  QueueDatagram(nic, q, packet.frame.frame,
                packet.upper.offset + static_cast<uint32_t>(udp::kHeaderBytes),
                header.length - static_cast<uint32_t>(udp::kHeaderBytes), packet.ip.source,
                header.source_port);
}

void Demultiplex(const Nic& nic, ReceivedPacket& packet) {
  switch (packet.upper.protocol) {
    case ipv6::kTcp:
      OnTcp(nic, packet);
      break;
    case ipv6::kUdp:
      OnUdp(nic, packet);
      break;
    case ipv6::kIcmpv6:
      OnIcmp(nic, packet);
      break;
    case ipv6::kNoNextHeader:  // RFC 8200 4.7: to be ignored
      Release(nic, packet.frame);
      break;
    default:
      SendUnknownNextHeader(nic, packet);
      DropFrame(nic, packet.frame, abi::DropReason::kUnknownNextHeader);
  }
}

/// Processes a packet of which the frame and the variant are known. Takes over the frame.
void ProcessPacket(const Nic& nic, ReceivedPacket& packet) {
  const FrameIn& frame = packet.frame;
  const std::span<const uint8_t> readable(frame.header, frame.header_length);
  ipv6::ParseError error = ipv6::Parse(readable, frame.length, &packet.ip);
  if (error == ipv6::ParseError::kNone && !IsAccepted(nic, packet.ip.destination)) {
    DropFrame(nic, frame, abi::DropReason::kNotOurAddress);
    return;
  }
  if (error == ipv6::ParseError::kNone) {
    error = ipv6::FindUpperLayer(readable, packet.ip, &packet.upper);
  }
  const bool addressed = error != ipv6::ParseError::kTooShort &&
                         error != ipv6::ParseError::kBadVersion &&
                         error != ipv6::ParseError::kBadPayloadLength;
  if (addressed && !SourceAllowed(nic, packet, error == ipv6::ParseError::kNone)) {
    DropFrame(nic, frame, abi::DropReason::kBadSourceAddress);
    return;
  }
  const bool fragment = error == ipv6::ParseError::kFragmented;
  if (error != ipv6::ParseError::kNone && !fragment) {
    if (packet.upper.send_parameter_problem) SendParameterProblem(nic, packet);
    DropFrame(nic, frame, IpDropReason(error));
    return;
  }
  if (OnEthernet(nic) && packet.upper.protocol != ipv6::kIcmpv6 &&
      (packet.ip.destination.IsMulticast() || !AddressUsable(nic))) {
    DropFrame(nic, frame, abi::DropReason::kNotOurAddress);
    return;
  }
  nic.Charge(Stage::kRxIpParse, packet.variant);
  if (fragment) {
    OnFragment(nic, packet);
  } else {
    Demultiplex(nic, packet);
  }
}

}  // namespace

void OnFragmentDma(const Nic& nic, uint32_t context, uint32_t status) {
  ReceivedPacket whole;
  if (OnFragmentPlaced(nic, context, status, &whole)) ProcessPacket(nic, whole);
}

bool TakeFrame(const Nic& nic) {
  ReceivedPacket packet;
  if (nic.hardware.FramePoll(&packet.frame) == 0) return false;
  const FrameIn& frame = packet.frame;
  if ((frame.flags & kFramePeerDown) != 0) {
    ipv6::Address peer;
    std::memcpy(peer.bytes, frame.header, sizeof(peer.bytes));
    Release(nic, frame);
    OnPeerDown(nic, peer);
    return true;
  }
  packet.variant = PeekVariant(frame);
  nic.Charge(Stage::kRxDoorbellProcess, packet.variant);
  nic.Count(abi::NicCounter::kFramesReceived);
  nic.Count(abi::NicCounter::kBytesReceived, frame.length);
  nic.Charge(Stage::kRxMediaReceive, packet.variant, frame.length);
  ProcessPacket(nic, packet);
  return true;
}

}  // namespace qpip::fw
