#include "hostile_host.h"

#include <algorithm>
#include <iterator>

#include "protocols/common/byte_order.h"

namespace qpip::attack {
namespace {

constexpr uint8_t kScale = 7;
constexpr uint16_t kFirstPort = 2000;
constexpr std::chrono::milliseconds kPatience(100);

}  // namespace

HostileHost::HostileHost(Scene& scene)
    : scene_(scene),
      address_(scene.target.address),
      ear_(scene.lan, Ear::Hears::kMine, scene.lan.source()),
      next_port_(static_cast<uint16_t>(kFirstPort + scene.random() % 20000)) {
  StoreBe32(address_.bytes + 12, 0xbad);
}

tcp::Header HostileHost::Ack(Peer& peer) const {
  tcp::Header header;
  header.source_port = peer.port;
  header.destination_port = peer.their_port;
  header.sequence = peer.next;
  header.acknowledgement = peer.expected;
  header.flags = tcp::kAck;
  header.window = 65535;
  header.has_timestamps = true;
  header.ts_value = ++peer.ts_value;
  header.ts_echo = peer.ts_echo;
  return header;
}

void HostileHost::Send(const tcp::Header& header, Bytes text) {
  scene_.lan.SendTcp(address_, header, text);
}

void HostileHost::SendText(Peer& peer, Bytes text) {
  tcp::Header header = Ack(peer);
  header.flags |= tcp::kPsh;
  Send(header, text);
  peer.next += static_cast<uint32_t>(text.size());
}

void HostileHost::Run(const Manners& manners) {
  uint16_t turn = 0;  // by port: connections come and go in between
  while (!scene_.pace.Over()) {
    Listen(manners);
    if (!scene_.pace.Next()) return;
    if (peers_.size() < manners.connections) {
      Connect(manners.their_port);
      continue;
    }
    auto found = peers_.upper_bound(turn);
    if (found == peers_.end()) found = peers_.begin();
    turn = found->first;
    Peer& peer = found->second;
    if (peer.established) {
      if (manners.act) manners.act(*this, peer);
    } else if (std::chrono::steady_clock::now() - peer.begin > kPatience) {
      peers_.erase(found);  // refused, or not answered
    }
  }
}

void HostileHost::Connect(uint16_t their_port) {
  Peer peer;
  peer.port = next_port_++;
  if (next_port_ < kFirstPort) next_port_ = kFirstPort;
  peer.their_port = their_port;
  peer.begin = std::chrono::steady_clock::now();
  tcp::Header syn = RandomSyn(scene_.random, their_port);
  syn.source_port = peer.port;
  syn.ts_value = peer.ts_value;
  syn.window_scale = kScale;
  peer.next = syn.sequence + 1;
  Send(syn);
  peers_[peer.port] = peer;
}

void HostileHost::Listen(const Manners& manners) {
  for (Bytes frame = ear_.Next(0); !frame.empty(); frame = ear_.Next(0)) {
    if (frame.size() < Lan::kEthernetBytes + ipv6::kHeaderBytes ||
        LoadBe16(frame.data() + 12) != 0x86dd) {
      continue;
    }
    const Bytes packet = frame.subspan(Lan::kEthernetBytes);
    ipv6::Header ip;
    if (ipv6::Parse(packet, static_cast<uint32_t>(packet.size()), &ip) != ipv6::ParseError::kNone) {
      continue;
    }
    const Bytes behind = packet.subspan(ipv6::kHeaderBytes, ip.payload_length);
    if (ip.next_header == ipv6::kIcmpv6) {
      AnswerSolicitation(behind);
    } else if (ip.next_header == ipv6::kTcp && ip.destination == address_) {
      Segment segment;
      size_t header_bytes = 0;
      if (tcp::Parse(behind, &segment.header, &header_bytes) != tcp::ParseError::kNone) continue;
      segment.text.assign(behind.begin() + static_cast<std::ptrdiff_t>(header_bytes), behind.end());
      OnSegment(manners, segment);
    }
  }
}

void HostileHost::AnswerSolicitation(Bytes message) {
  constexpr size_t kTargetAt = 8;
  if (message.size() < kTargetAt + sizeof(address_.bytes) ||
      message[0] != icmpv6::kNeighbourSolicitation ||
      !std::equal(std::begin(address_.bytes), std::end(address_.bytes),
                  message.begin() + kTargetAt)) {
    return;
  }
  std::vector<uint8_t> answer(icmpv6::kMaxNeighbourMessage);
  answer.resize(icmpv6::EmitNeighbour(
      {.type = icmpv6::kNeighbourAdvertisement,
       .target = address_,
       .solicited = true,
       .override_entry = true,
       .has_target_link = true,
       .target_link = scene_.lan.source()},
      std::span<uint8_t, icmpv6::kMaxNeighbourMessage>(answer.data(), answer.size())));
  scene_.lan.SendIcmp(address_, answer, icmpv6::kNeighbourHopLimit);
}

void HostileHost::OnSegment(const Manners& manners, const Segment& segment) {
  const auto found = peers_.find(segment.header.destination_port);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  const tcp::Header& header = segment.header;
  if (header.Has(tcp::kRst)) {
    peers_.erase(found);
    return;
  }
  if (header.has_timestamps) peer.ts_echo = header.ts_value;
  if (header.Has(tcp::kSyn)) {
    if (peer.established) return;
    peer.established = true;
    peer.expected = header.sequence + 1;
    Send(Ack(peer));
    if (manners.begin) manners.begin(*this, peer);
    return;
  }
  if (!peer.established) return;
  if (header.sequence == peer.expected) {
    peer.expected += static_cast<uint32_t>(segment.text.size()) + header.ControlLength();
  }
  if (manners.heard) manners.heard(*this, peer, segment);
}

}  // namespace qpip::attack
