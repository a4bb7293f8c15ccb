// What a machine receives. Anything that is not authentic is counted and changes nothing.
#include <algorithm>
#include <array>

#include "protocols/common/byte_order.h"
#include "protocols/wireguard/machine.h"

namespace qpip::wireguard {
namespace {

constexpr size_t kIpv4HeaderBytes = 20;
constexpr size_t kIpv6HeaderBytes = 40;

}  // namespace

Received Machine::Receive(Bytes datagram, const Endpoint& from, std::span<uint8_t> out, Time now) {
  MessageType type;
  switch (ParseType(datagram, &type)) {
    case ParseError::kNone:
      break;
    case ParseError::kTooShort:
      ++counters_.dropped.too_short;
      return {};
    case ParseError::kUnknownType:
      ++counters_.dropped.unknown_type;
      return {};
    case ParseError::kBadLength:
      ++counters_.dropped.bad_length;
      return {};
  }
  switch (type) {
    case MessageType::kData:
      return OnData(datagram, from, out, now);
    case MessageType::kInitiation:
      if (TakeMacs(datagram, from, now)) OnInitiation(datagram, from, now);
      return {};
    case MessageType::kResponse:
      if (TakeMacs(datagram, from, now)) OnResponse(datagram, from, now);
      return {};
    case MessageType::kCookieReply:
      OnCookieReply(datagram, now);
      return {};
  }
  return {};
}

// --- Handshakes

bool Machine::Bucket::Take(uint32_t per_second, uint32_t burst, uint64_t now_ns) {
  const uint64_t token = kSecondNs / per_second;
  const uint64_t most = token * burst;
  const uint64_t gained = at_ns == 0 ? most : now_ns - at_ns;
  tokens_ns = std::min(most, tokens_ns + std::min(most, gained));
  at_ns = std::max<uint64_t>(now_ns, 1);
  if (tokens_ns < token) return false;
  tokens_ns -= token;
  return true;
}

// More handshakes than a bucket of tokens has: the X25519s of all of them would be too many.
bool Machine::UnderLoad(uint64_t now_ns) {
  if (!handshakes_.Take(timing_.handshakes_per_second, timing_.handshake_burst, now_ns)) {
    loaded_until_ns_ = now_ns + timing_.load_lasts_ns;
  }
  return now_ns < loaded_until_ns_;
}

// Whether a handshake message is worth looking at: its mac1 at any time, its mac2 under load
// (section 5.3).
bool Machine::TakeMacs(Bytes message, const Endpoint& from, Time now) {
  if (cookies_->IsStale(timing_.cookie_secret_ns, now.monotonic_ns)) {
    cookies_->Renew(RandomSecret(), now.monotonic_ns);
  }
  const MacVerdict verdict = cookies_->Check(message, from);
  if (verdict == MacVerdict::kForged) {
    ++counters_.dropped.forged_mac1;
    if (message.size() == kInitiationBytes) Tell(Event::Kind::kForeignHandshake, {}, from);
    return false;
  }
  if (!UnderLoad(now.monotonic_ns)) return true;
  if (verdict == MacVerdict::kCookie) {
    // Who has many addresses has as many cookies: all together have a limit, too.
    const bool taken =
        limiter_->Allow(from, now.monotonic_ns) &&
        proven_handshakes_.Take(timing_.proven_per_second, timing_.proven_burst, now.monotonic_ns);
    if (!taken) ++counters_.dropped.rate_limited;
    return taken;
  }
  ++counters_.dropped.no_cookie;
  ExtendedNonce nonce;
  ports_.random(nonce);
  std::array<uint8_t, kCookieReplyBytes> datagram;
  EmitCookieReply(cookies_->Reply(message, from, nonce), datagram);
  ++counters_.cookie_replies_sent;
  ports_.transmit(from, datagram);
  return false;
}

void Machine::OnInitiation(Bytes datagram, const Endpoint& from, Time now) {
  const Initiation message = ParseInitiation(datagram);
  OpenedInitiation opened;
  if (!OpenInitiation(primitives_, *self_, message, &opened)) {
    ++counters_.dropped.forged_initiation;
    return;
  }
  const auto known = peers_by_key_.find(opened.remote_static);
  if (known == peers_by_key_.end()) {
    ++counters_.dropped.unknown_peer;
    Tell(Event::Kind::kUnknownPeer, {}, from, opened.remote_static);
    return;
  }
  const PeerId id = known->second;
  Peer& peer = peers_[id];
  Tai64n timestamp;
  if (!ReadTimestamp(primitives_, peer.handshake.static_static, message, &opened, &timestamp)) {
    ++counters_.dropped.forged_initiation;
    return;
  }
  if (timestamp <= peer.greatest_timestamp) {
    ++counters_.dropped.replayed_initiation;
    Tell(Event::Kind::kOldTimestamp, id, from);
    return;
  }
  if (peer.initiation_taken_ns != kNever &&
      now.monotonic_ns - peer.initiation_taken_ns < timing_.initiation_gap_ns) {
    ++counters_.dropped.flooding_initiation;
    return;
  }
  ForgetHandshake(peer);  // one of ours that is under way: the peer's takes its place
  AcceptInitiation(message, opened, &peer.handshake);
  peer.greatest_timestamp = timestamp;
  peer.initiation_taken_ns = now.monotonic_ns;
  ++counters_.initiations_taken;
  Heard(id, from, now);
  SendResponse(id, now);
}

namespace {

bool AwaitsResponse(const Peer& peer, uint32_t receiver) {
  return peer.handshake_has_index && peer.handshake.local_index == receiver &&
         peer.handshake.state == HandshakeState::kCreatedInitiation;
}

}  // namespace

void Machine::OnResponse(Bytes datagram, const Endpoint& from, Time now) {
  const Response message = ParseResponse(datagram);
  const std::optional<PeerId> id = indices_.Find(message.receiver);
  if (!id.has_value() || !AwaitsResponse(peers_[*id], message.receiver)) {
    ++counters_.dropped.unexpected_response;
    return;
  }
  Peer& peer = peers_[*id];
  if (!ConsumeResponse(primitives_, *self_, message, &peer.handshake)) {
    ++counters_.dropped.forged_response;
    Tell(Event::Kind::kForgedResponse, id, from);
    return;
  }
  ++counters_.responses_taken;
  Heard(*id, from, now);
  BeginSession(*id, now);
  OnHandshakeComplete(peer);
  // The responder may send when it has had a packet under the new session (section 5.4.6).
  SendKeepalive(*id, now);
}

void Machine::OnCookieReply(Bytes datagram, Time now) {
  const CookieReply message = ParseCookieReply(datagram);
  const std::optional<PeerId> id = indices_.Find(message.receiver);
  if (!id.has_value()) {
    ++counters_.dropped.unexpected_cookie;
  } else if (!peers_[*id].cookies.Take(message, now.monotonic_ns)) {
    ++counters_.dropped.forged_cookie;
  } else {
    // For the next initiation, which goes when this one's time is over.
    ++counters_.cookie_replies_taken;
  }
}

// --- Data

Received Machine::OnData(Bytes datagram, const Endpoint& from, std::span<uint8_t> out, Time now) {
  const DataHeader header = ParseDataHeader(datagram);
  const std::optional<PeerId> found = indices_.Find(header.receiver);
  if (!found.has_value()) {
    ++counters_.dropped.unknown_session;
    return {};
  }
  const PeerId id = *found;
  Peer& peer = peers_[id];
  Session* session = peer.sessions.Find(header.receiver);
  if (session == nullptr) {
    ++counters_.dropped.unknown_session;
    return {};
  }
  if (now.monotonic_ns - session->born_ns >= timing_.reject_after_ns ||
      header.counter >= timing_.reject_after_messages) {
    ++counters_.dropped.expired_session;
    return {};
  }
  const std::span<uint8_t> text = out.first(datagram.size() - kDataOverheadBytes);
  if (!aead_.Open(session->keys.receiving, session->id, header.counter, {}, SealedPacket(datagram),
                  text)) {
    ++counters_.dropped.forged_packet;
    return {};
  }
  switch (session->window.Take(header.counter)) {
    case ReplayWindow::Verdict::kNew:
      break;
    case ReplayWindow::Verdict::kDuplicate:
      ++counters_.dropped.replayed_packet;
      return {};
    case ReplayWindow::Verdict::kTooOld:
      ++counters_.dropped.late_packet;
      return {};
  }
  ++counters_.packets_opened;
  peer.bytes_received += datagram.size();
  const bool confirmed = session == &peer.sessions.next();
  const uint64_t age_ns = now.monotonic_ns - session->born_ns;
  const bool initiator = session->initiator;
  Heard(id, from, now);
  if (confirmed) {
    Drop(peer.sessions.previous());
    peer.sessions.CurrentToPrevious();
    peer.sessions.NextToCurrent();
    OnHandshakeComplete(peer);
    SendStaged(id, now);
  }
  // The last moment at which a successor comes in time (section 6.2).
  if (initiator && !peer.asked_at_last_minute &&
      age_ns + timing_.keepalive_timeout_ns + timing_.rekey_timeout_ns >= timing_.reject_after_ns) {
    peer.asked_at_last_minute = true;
    SendInitiation(id, /*again=*/false, now);
  }
  if (text.empty()) {
    ++counters_.keepalives_received;
    return {};
  }
  OnDataReceived(peer, now);
  return Inner(id, text);
}

// The IP packet without its padding, if it is one and its source is the peer's.
Received Machine::Inner(PeerId id, Bytes text) {
  size_t length = 0;
  Bytes source;
  const uint8_t version = text[0] >> 4;
  if (version == 6 && text.size() >= kIpv6HeaderBytes) {
    length = kIpv6HeaderBytes + LoadBe16(&text[4]);
    source = text.subspan(8, 16);
  } else if (version == 4 && text.size() >= kIpv4HeaderBytes) {
    length = LoadBe16(&text[2]);
    source = text.subspan(12, 4);
    if (length < kIpv4HeaderBytes) length = SIZE_MAX;
  }
  if (source.empty() || length > text.size()) {
    ++counters_.dropped.malformed_packet;
    return {};
  }
  if (allowed_.Find(source) != id) {
    ++counters_.dropped.refused_source;
    return {};
  }
  return {.packet = text.first(length), .peer = id};
}

// An authentic message: it says where the peer is now (section 2.1).
void Machine::Heard(PeerId id, const Endpoint& from, Time now) {
  Peer& peer = peers_[id];
  if (!(peer.endpoint == from)) {
    const bool moved = peer.endpoint.known();
    peer.endpoint = from;
    if (moved) {
      ++counters_.endpoints_moved;
      Tell(Event::Kind::kMoved, id, from);
    }
  }
  OnAuthenticatedReceived(peer, now);
  OnAuthenticatedTraffic(peer, now);
}

}  // namespace qpip::wireguard
