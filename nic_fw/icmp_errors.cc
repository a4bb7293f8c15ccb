#include "nic_fw/icmp_errors.h"

#include <span>

#include "nic_fw/demux.h"
#include "nic_fw/ending.h"
#include "nic_fw/events.h"
#include "nic_fw/invariants.h"
#include "nic_fw/packet.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/schedule.h"
#include "nic_fw/timers.h"
#include "nic_fw/waiting_packets.h"
#include "protocols/common/byte_order.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

constexpr size_t kQuotedTransportBytes = 8;  // both ports, and TCP's sequence number

/// What an error says about the packet it is about.
struct Quotation {
  ipv6::Address destination;
  uint32_t packet_bytes = 0;  ///< length of the whole packet
  uint8_t protocol = 0;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
  tcp::SequenceNumber sequence;  ///< TCP
};

/// Reads the packet quoted in `bytes`, of which the end may be missing. Returns false when it is
/// none of ours, or its transport header is not there.
bool ReadQuotation(const Nic& nic, std::span<const uint8_t> bytes, Quotation* quoted) {
  ipv6::Header ip;
  ipv6::UpperLayer upper;
  const uint32_t any_length = static_cast<uint32_t>(ipv6::kHeaderBytes) + ipv6::kMaxPayload;
  if (ipv6::Parse(bytes, any_length, &ip) != ipv6::ParseError::kNone) return false;
  if (!(ip.source == OwnAddress(nic))) return false;
  const ipv6::ParseError error = ipv6::FindUpperLayer(bytes, ip, &upper);
  if (error == ipv6::ParseError::kFragmented) {
    if (upper.fragment.offset != 0) return false;  // the ports are in the first
    upper.protocol = upper.fragment.next_header;
  } else if (error != ipv6::ParseError::kNone) {
    return false;
  }
  if (upper.offset + kQuotedTransportBytes > bytes.size()) return false;
  const uint8_t* transport = &bytes[upper.offset];
  quoted->destination = ip.destination;
  quoted->packet_bytes = static_cast<uint32_t>(ipv6::kHeaderBytes) + ip.payload_length;
  quoted->protocol = upper.protocol;
  quoted->local_port = LoadBe16(transport);
  quoted->remote_port = LoadBe16(transport + 2);
  quoted->sequence = tcp::SequenceNumber(LoadBe32(transport + 4));
  return true;
}

/// The queue pair that has sent the packet; kNone: nobody has, as far as can be told.
uint32_t FindSender(const Nic& nic, const Quotation& quoted) {
  if (quoted.protocol == ipv6::kUdp) {
    const uint32_t handle = FindUdp(nic, quoted.local_port);
    return handle != kNone && nic.qp(handle).state == QpState::kConnected ? handle : kNone;
  }
  if (quoted.protocol != ipv6::kTcp) return kNone;
  tcp::FourTuple tuple;
  tuple.local_address = OwnAddress(nic);
  tuple.remote_address = quoted.destination;
  tuple.local_port = quoted.local_port;
  tuple.remote_port = quoted.remote_port;
  const uint32_t handle = FindTcp(nic, tuple);
  // RFC 5927 section 4.1: who does not see our segments does not know what is outstanding.
  return handle != kNone && tcp::IsOutstanding(nic.qp(handle).tcb, quoted.sequence) ? handle
                                                                                    : kNone;
}

/// RFC 8201 section 4. Returns false when it is not to be believed.
bool OnPacketTooBig(const Nic& nic, QueuePair& q, const Quotation& quoted, uint32_t mtu) {
  if (mtu < ipv6::kMinMtu || quoted.packet_bytes <= mtu) return false;
  if (q.type == abi::QpType::kUdp) {
    return LearnDatagramMtu(nic, {quoted.destination, quoted.local_port, quoted.remote_port}, mtu);
  }
  if (q.state == QpState::kConnected) {
    // Before all others hear of it, this one as well: its size tells what has been refused.
    const uint32_t known = PathMtuLimit(nic, quoted.destination);
    if (tcp::OnPacketTooBig(q.tcb, quoted.sequence, mtu < known ? mtu : known, nic.now)) {
      UpdateTimer(nic, q);
      Activate(nic, q.handle);
    }
  }
  LearnPathMtu(nic, quoted.destination, mtu);
  return true;
}

/// RFC 9293 3.9.2.2, hard errors: the peer, or somebody on the way, does not want this connection.
bool IsHard(const icmpv6::Header& header) {
  if (header.type == icmpv6::kDestinationUnreachable) {
    return header.code == icmpv6::kAdminProhibited || header.code == icmpv6::kPort ||
           header.code == icmpv6::kPolicy || header.code == icmpv6::kRejectRoute;
  }
  // A next header that the peer does not know: it has no TCP.
  return header.type == icmpv6::kParameterProblem && header.code == icmpv6::kUnknownNextHeader;
}

void OnTcpError(const Nic& nic, QueuePair& q, const icmpv6::Header& header) {
  // RFC 5927 section 5.2: once a connection stands, no error ends it; a time-out then has a reason.
  q.notices.path_failed = true;
  if (q.state != QpState::kConnecting || q.tcb.state != tcp::State::kSynSent || !IsHard(header)) {
    return;
  }
  const bool refused =
      header.type == icmpv6::kDestinationUnreachable && header.code == icmpv6::kPort;
  EndConnection(
      nic, q, refused ? abi::DisconnectReason::kRefused : abi::DisconnectReason::kUnreachable,
      refused ? abi::CompletionStatus::kRemoteAborted : abi::CompletionStatus::kRetryExceeded);
}

/// The host is to know of an error that a packet of `q` has met.
void TakeNote(QueuePair& q, uint8_t type, uint8_t code) {
  ++q.notices.icmp_errors;
  q.notices.last_icmp_error = static_cast<uint32_t>(type) << 8 | code;
}

/// A packet could not be delivered on this link: its queue pair is told as by an ICMPv6 error.
void OnUndeliverable(const Nic& nic, std::span<const uint8_t> packet, uint8_t code) {
  Quotation quoted;
  if (!ReadQuotation(nic, packet, &quoted)) return;
  const uint32_t handle = FindSender(nic, quoted);
  if (handle == kNone) return;
  QueuePair& q = nic.qp(handle);
  const Handler handler(nic, q);
  q.notices.path_failed = true;
  if (q.state == QpState::kConnecting) {
    // This NIC's own finding, not somebody's word: RFC 5927 has nothing against it.
    EndConnection(nic, q, abi::DisconnectReason::kUnreachable,
                  abi::CompletionStatus::kRetryExceeded);
    return;
  }
  TakeNote(q, icmpv6::kDestinationUnreachable, code);
  if (q.state == QpState::kConnected) Notify(nic, q, abi::kNoticeIcmpError);
}

}  // namespace

void ReportUndeliverable(const Nic& nic) {
  for (;;) {
    const uint32_t index = NextUndeliverable(nic);
    if (index == kNone) return;
    const WaitingPacket& packet = WaitingAt(nic, index);
    OnUndeliverable(nic, HeaderOf(packet), packet.unreachable_code);
    DropWaiting(nic, index);
  }
}

bool OnIcmpError(const Nic& nic, const ReceivedPacket& packet, const icmpv6::Header& header) {
  Quotation quoted;
  const std::span<const uint8_t> body = packet.UpperReadable().subspan(icmpv6::kHeaderBytes);
  if (!ReadQuotation(nic, body, &quoted)) return false;
  const uint32_t handle = FindSender(nic, quoted);
  if (handle == kNone) return false;
  QueuePair& q = nic.qp(handle);
  if (header.type == icmpv6::kPacketTooBig) {
    if (!OnPacketTooBig(nic, q, quoted, header.body)) return false;
  } else {
    TakeNote(q, header.type, header.code);
    if (q.type == abi::QpType::kTcp) OnTcpError(nic, q, header);
    // RFC 9293 3.9.1.8 (MUST-47): soft errors are for the application to know.
    if (q.state == QpState::kConnected ||
        (q.state == QpState::kConnecting && q.listener == kNone)) {
      Notify(nic, q, abi::kNoticeIcmpError);
    }
  }
  nic.Count(abi::NicCounter::kIcmpErrorsReceived);
  return true;
}

}  // namespace qpip::fw
