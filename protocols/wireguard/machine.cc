#include "protocols/wireguard/machine.h"

#include <stdexcept>
#include <utility>

#include "protocols/common/byte_order.h"
#include "protocols/wireguard/key_text.h"

namespace qpip::wireguard {

Machine::Machine(MachineConfig config, MachinePorts ports, std::pmr::memory_resource* memory)
    : timing_(config.timing),
      mtu_(config.mtu),
      ports_(std::move(ports)),
      identity_(1, memory),
      self_(&identity_[0]),
      peers_(memory),
      indices_(static_cast<uint32_t>(config.peers.size())) {
  Identity& self = identity_[0];
  self.private_key = std::move(config.private_key);
  if (self.private_key.IsZero()) throw std::invalid_argument("WireGuard: the private key is zero");
  self.public_key = primitives_.PublicKeyOf(self.private_key);
  cookies_ = std::make_unique<CookieChecker>(primitives_, self.public_key);
  const uint64_t low = RandomWord(), high = RandomWord(), third = RandomWord();
  limiter_ = std::make_unique<RateLimiter>(
      SipHashKey{.k0 = low << 32 | high, .k1 = third << 32 | RandomWord()});
  peers_.reserve(config.peers.size());
  for (PeerConfig& peer : config.peers) AddPeer(peer);
}

void Machine::AddPeer(PeerConfig& config) {
  const auto id = static_cast<PeerId>(peers_.size());
  if (!peers_by_key_.emplace(config.public_key, id).second) {
    throw std::invalid_argument("WireGuard: two peers have the public key " +
                                FormatKey(config.public_key));
  }
  Peer& peer = peers_.emplace_back(primitives_, config.public_key);
  peer.handshake.remote_static = config.public_key;
  peer.handshake.preshared_key = std::move(config.preshared_key);
  // A key of small order gives none: zero then, and no handshake with it succeeds.
  if (!primitives_.SharedSecret(self_->private_key, config.public_key,
                                &peer.handshake.static_static)) {
    peer.handshake.static_static.Clear();
  }
  peer.endpoint = config.endpoint;
  peer.persistent_keepalive_ns = config.persistent_keepalive_s * kSecondNs;
  for (const Prefix& prefix : config.allowed) allowed_.Allow(prefix, id);
  // Whoever is to be kept in touch with is greeted at once.
  if (peer.persistent_keepalive_ns != 0) Arm(&peer.timers.persistent_ns, 0);
}

void Machine::Tell(Event::Kind kind, std::optional<PeerId> peer, const Endpoint& from,
                   const PublicKey& public_key) {
  if (!ports_.event) return;
  ports_.event({.kind = kind, .peer = peer, .public_key = public_key, .from = from});
}

// Erases it; its index names nothing from now on.
void Machine::Drop(Session& session) {
  if (!session.used) return;
  indices_.Release(session.local_index);
  session.keys.sending.Clear();
  session.keys.receiving.Clear();
  session.window = ReplayWindow();
  session.used = false;
  aead_.ForgetKeys();
}

void Machine::ForgetHandshake(Peer& peer) {
  if (peer.handshake_has_index) indices_.Release(peer.handshake.local_index);
  peer.handshake_has_index = false;
  peer.handshake.Clear();
}

uint32_t Machine::ClaimHandshakeIndex(PeerId id) {
  Peer& peer = peers_[id];
  if (peer.handshake_has_index) indices_.Release(peer.handshake.local_index);
  peer.handshake_has_index = true;
  return indices_.Claim(id, RandomWord());
}

// The handshake becomes a session (see Sessions).
Session& Machine::BeginSession(PeerId id, Time now) {
  Peer& peer = peers_[id];
  Sessions& sessions = peer.sessions;
  const bool initiator = peer.handshake.state == HandshakeState::kConsumedResponse;
  Drop(sessions.previous());
  if (initiator && sessions.next().used) {
    // It has never been used by the peer, but packets under it may be on their way.
    Drop(sessions.current());
    sessions.NextToPrevious();
  } else if (initiator) {
    sessions.CurrentToPrevious();
  } else {
    Drop(sessions.next());
  }
  Session& session = initiator ? sessions.current() : sessions.next();
  session.used = true;
  session.initiator = initiator;
  session.id = ++last_session_;
  session.local_index = peer.handshake.local_index;
  session.remote_index = peer.handshake.remote_index;
  session.born_ns = now.monotonic_ns;
  session.next_counter = 0;
  peer.handshake_has_index = false;  // it is the session's now
  session.keys = DeriveSessionKeys(primitives_, &peer.handshake);
  peer.session_begun_ns = now.monotonic_ns;
  Arm(&peer.timers.erase_ns, now.monotonic_ns + 3 * timing_.reject_after_ns);
  ++counters_.sessions_begun;
  Tell(Event::Kind::kSessionBegun, id, peer.endpoint);
  return session;
}

uint32_t Machine::RandomWord() {
  uint8_t bytes[4];
  ports_.random(bytes);
  return LoadLe32(bytes);
}

Secret Machine::RandomSecret() {
  Secret secret;
  ports_.random(secret.bytes());
  return secret;
}

void Machine::LogKeys(const Peer& peer) {
  if (!ports_.key_log) return;
  ports_.key_log({.local_static_private = self_->private_key,
                  .remote_static_public = peer.handshake.remote_static,
                  .local_ephemeral_private = peer.handshake.ephemeral_private,
                  .preshared = peer.handshake.preshared_key});
}

PeerStatus Machine::Status(PeerId id) const {
  const Peer& peer = peers_[id];
  return {.public_key = peer.handshake.remote_static,
          .endpoint = peer.endpoint,
          .session_begun_ns = peer.session_begun_ns,
          .bytes_sent = peer.bytes_sent,
          .bytes_received = peer.bytes_received};
}

}  // namespace qpip::wireguard
