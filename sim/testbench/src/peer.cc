#include "qpip/testbench/peer.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "addresses.h"

namespace qpip::testbench {
namespace {

constexpr uint16_t kUsualPort = 80;

/// A SYN that opens, whether or not it asks for ECN.
bool Opens(const TcpSegment& segment) { return (segment.flags & (kSyn | kAck)) == kSyn; }

}  // namespace

TcpPeer::TcpPeer(TestBench& bench, const TcpPeerOptions& options)
    : window(options.window),
      bench_(bench),
      options_(options),
      nic_port_(options.nic_port != 0 ? options.nic_port : kUsualPort),
      learns_port_(options.nic_port == 0) {}

Endpoint TcpPeer::endpoint() const { return {options_.address, options_.port}; }

TcpSegment TcpPeer::Segment(uint8_t flags, std::span<const uint8_t> payload) const {
  TcpSegment segment;
  segment.flags = flags;
  segment.sequence = next_sequence;
  segment.acknowledgement = (flags & kAck) != 0 ? next_ack : 0;
  segment.window = window;
  segment.payload.assign(payload.begin(), payload.end());
  if (timestamps_on_) segment.timestamps = {ts_value, ts_recent_};
  return segment;
}

Bytes TcpPeer::Build(TcpSegment segment) const {
  segment.source_port = options_.port;
  segment.destination_port = nic_port_;
  segment.sequence += options_.isn;
  if (segment.Has(kAck)) segment.acknowledgement += nic_isn_;
  for (SackRange& range : segment.sack) {
    range.start += nic_isn_;
    range.end += nic_isn_;
  }
  return BuildPacket(
      {.source = options_.address, .destination = bench_.address(), .traffic_class = traffic_class},
      segment);
}

Bytes TcpPeer::Raw(TcpSegment segment) const { return Build(std::move(segment)); }

void TcpPeer::Inject(TcpSegment segment) { bench_.InjectPacket(Build(std::move(segment))); }

const TcpSegment* TcpPeer::ToThis(const Packet& packet) const {
  if (!packet.tcp.has_value()) return nullptr;
  const TcpSegment& segment = *packet.tcp;
  const bool ours = segment.destination_port == options_.port &&
                    ToAddress(packet.ip.destination) == ToAddress(options_.address);
  return ours ? &segment : nullptr;
}

void TcpPeer::OnTaken(const Packet& packet, const TcpSegment& segment) {
  nic_port_ = segment.source_port;
  learns_port_ = false;
  taken_at_ = packet.time;
  taken_ip_ = packet.ip;
}

std::optional<TcpSegment> TcpPeer::Take() {
  std::optional<Packet> packet = bench_.TakePacketIf([this](const Packet& candidate) {
    const TcpSegment* segment = ToThis(candidate);
    if (segment == nullptr) return false;
    return segment->source_port == nic_port_ || (learns_port_ && Opens(*segment));
  });
  if (!packet || !packet->tcp) return std::nullopt;
  OnTaken(*packet, *packet->tcp);
  TcpSegment segment = std::move(*packet->tcp);
  if (segment.Has(kSyn) && !nic_isn_known_) {
    nic_isn_ = segment.sequence;
    nic_isn_known_ = true;
  }
  segment.sequence -= nic_isn_;
  if (segment.Has(kAck)) segment.acknowledgement -= options_.isn;
  for (SackRange& range : segment.sack) {
    range.start -= options_.isn;
    range.end -= options_.isn;
  }
  if (segment.timestamps) ts_recent_ = segment.timestamps->value;
  if (segment.Has(kSyn)) timestamps_on_ = options_.timestamps && segment.timestamps.has_value();
  // In order, or overlapping what is expected next.
  const uint32_t end = segment.sequence + segment.SequenceLength();
  if (segment.sequence - next_ack > UINT32_MAX / 2 || segment.sequence == next_ack) {
    if (end - next_ack < UINT32_MAX / 2) next_ack = end;
  }
  return segment;
}

std::optional<TcpSegment> TcpPeer::Wait(Time limit) {
  const Time end = bench_.Now() + limit;
  for (;;) {
    if (std::optional<TcpSegment> segment = Take()) return segment;
    const std::optional<Time> due = bench_.NextDeadline();
    if (!due || *due > end) {
      bench_.StepUntil(end);
      return Take();
    }
    bench_.StepUntil(std::max(*due, bench_.Now()));
  }
}

void TcpPeer::AddOffers(TcpSegment* segment) const {
  segment->mss = options_.mss;
  segment->window_scale = options_.window_scale;
  segment->sack_permitted = options_.sack_permitted;
  segment->window = window;
}

void TcpPeer::Syn() {
  next_sequence = 0;
  learns_port_ = false;
  TcpSegment syn = Segment(kSyn);
  AddOffers(&syn);
  if (options_.timestamps) syn.timestamps = {ts_value, 0};
  Inject(std::move(syn));
  next_sequence = 1;
}

void TcpPeer::SynAck() {
  next_sequence = 0;
  TcpSegment syn_ack = Segment(kSyn | kAck);
  AddOffers(&syn_ack);
  Inject(std::move(syn_ack));
  next_sequence = 1;
}

void TcpPeer::Ack() { Inject(Segment(kAck)); }

void TcpPeer::Data(std::span<const uint8_t> text, uint8_t flags) {
  TcpSegment segment = Segment(flags, text);
  next_sequence += segment.SequenceLength();
  Inject(std::move(segment));
}

void TcpPeer::Fin() { Data({}, kFin | kAck); }

void TcpPeer::Reset() { Inject(Segment(kRst)); }

TcpSegment TcpPeer::Expect(uint8_t flags, const char* what) {
  std::optional<TcpSegment> segment = Take();
  if (!segment) throw std::runtime_error(std::string("the NIC sent nothing instead of ") + what);
  if (segment->flags != flags) {
    throw std::runtime_error("the NIC sent " + ToString(*segment) + " instead of " + what);
  }
  return *std::move(segment);
}

TcpSegment TcpPeer::HandshakeAsClient() {
  Syn();
  TcpSegment answer = Expect(kSyn | kAck, "a SYN-ACK");
  Ack();
  return answer;
}

TcpSegment TcpPeer::HandshakeAsServer() {
  const std::optional<Packet> packet = bench_.TakePacketIf([this](const Packet& candidate) {
    const TcpSegment* segment = ToThis(candidate);
    return segment != nullptr && Opens(*segment);
  });
  if (!packet || !packet->tcp) throw std::runtime_error("the NIC sent no SYN to this peer");
  OnTaken(*packet, *packet->tcp);
  nic_isn_ = packet->tcp->sequence;
  nic_isn_known_ = true;
  TcpSegment syn = *packet->tcp;
  syn.sequence = 0;
  if (syn.timestamps) ts_recent_ = syn.timestamps->value;
  timestamps_on_ = options_.timestamps && syn.timestamps.has_value();
  next_ack = 1;
  SynAck();
  Expect(kAck, "an ACK of the SYN-ACK");
  return syn;
}

}  // namespace qpip::testbench
