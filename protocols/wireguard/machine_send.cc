// What a machine sends: packets under a session, handshakes, keepalives.
#include <algorithm>
#include <array>
#include <cstring>

#include "protocols/wireguard/machine.h"

namespace qpip::wireguard {
namespace {

size_t Padded(size_t length) {
  return (length + kPaddingBytes - 1) / kPaddingBytes * kPaddingBytes;
}

}  // namespace

// Section 5.4.6, but never beyond the MTU, so that a packet of full size is no datagram too many.
size_t Machine::SealedBytes(size_t length) const {
  const size_t padded = std::max(length, std::min<size_t>(Padded(length), mtu_));
  return kDataOverheadBytes + padded;
}

size_t Machine::Seal(PeerId id, std::span<uint8_t> buffer, size_t length, Time now) {
  Peer& peer = peers_[id];
  Session& session = peer.sessions.current();
  if (!session.used || now.monotonic_ns - session.born_ns >= timing_.reject_after_ns ||
      session.next_counter >= timing_.reject_after_messages || !peer.endpoint.known()) {
    return 0;
  }
  const size_t total = SealedBytes(length);
  const size_t padded = total - kDataOverheadBytes;
  uint8_t* text = buffer.data() + kDataHeaderBytes;
  std::memset(text + length, 0, padded - length);
  const uint64_t counter = session.next_counter++;
  EmitDataHeader({.receiver = session.remote_index, .counter = counter},
                 buffer.first<kDataHeaderBytes>());
  if (!aead_.Seal(session.keys.sending, session.id, counter, {}, {text, padded},
                  {text, padded + kTagBytes})) {
    return 0;
  }
  ++counters_.packets_sealed;
  peer.bytes_sent += total;
  OnAuthenticatedTraffic(peer, now);
  OnAuthenticatedSent(peer, now);
  if (length != 0) OnDataSent(peer, now);
  // A successor in time (section 6.2). Only the initiator's clock counts, or both would begin.
  if (session.next_counter > timing_.rekey_after_messages ||
      (session.initiator && now.monotonic_ns - session.born_ns >= timing_.rekey_after_ns)) {
    SendInitiation(id, /*again=*/false, now);
  }
  return total;
}

bool Machine::Stage(PeerId id, Bytes packet, Time now) {
  Peer& peer = peers_[id];
  if (!peer.endpoint.known()) {
    ++counters_.dropped.no_endpoint;
    return false;
  }
  if (peer.staged.size() == kMostStaged) {
    peer.staged.pop_front();  // what has waited longest is worth least
    ++counters_.dropped.staged_overflow;
  }
  peer.staged.emplace_back(packet.begin(), packet.end());
  ++counters_.packets_staged;
  SendInitiation(id, /*again=*/false, now);
  return true;
}

// Under the current session. What that does not take goes on waiting, for the next one.
void Machine::SendStaged(PeerId id, Time now) {
  Peer& peer = peers_[id];
  std::vector<uint8_t> datagram;
  while (!peer.staged.empty()) {
    const std::vector<uint8_t>& packet = peer.staged.front();
    datagram.resize(SealedBytes(packet.size()));
    std::memcpy(datagram.data() + kDataHeaderBytes, packet.data(), packet.size());
    const size_t bytes = Seal(id, datagram, packet.size(), now);
    if (bytes == 0) {
      SendInitiation(id, /*again=*/false, now);
      return;
    }
    Transmit(peer, Bytes(datagram).first(bytes));
    peer.staged.pop_front();
  }
}

void Machine::SendKeepalive(PeerId id, Time now) {
  Peer& peer = peers_[id];
  if (!peer.staged.empty()) {
    SendStaged(id, now);
    return;
  }
  std::array<uint8_t, kDataOverheadBytes> datagram;
  const size_t bytes = Seal(id, datagram, 0, now);
  if (bytes == 0) {
    SendInitiation(id, /*again=*/false, now);
    return;
  }
  ++counters_.keepalives_sent;
  Transmit(peer, datagram);
}

void Machine::Transmit(Peer& peer, Bytes datagram) {
  if (peer.endpoint.known()) ports_.transmit(peer.endpoint, datagram);
}

// Grows with every initiation, or the peer takes it for a replay (section 5.1). A clock that has
// been set back while the machine lives does no harm so.
Tai64n Machine::NextTimestamp(PeerId id, uint64_t unix_ns) {
  uint64_t& told = peers_[id].told_unix_ns;
  if (unix_ns < told) {
    ++counters_.own_clock_went_back;
    Tell(Event::Kind::kOwnClockWentBack, id, {});
  }
  const Tai64n last = ToTai64n(told);
  told = std::max(unix_ns, told);
  while (ToTai64n(told) <= last) told += kTimestampStepNs;
  return ToTai64n(told);
}

// `again`: the one before has had no answer. False: not now.
bool Machine::SendInitiation(PeerId id, bool again, Time now) {
  Peer& peer = peers_[id];
  if (!again) peer.attempts = 0;
  const bool recently = peer.handshake_sent_ns != kNever &&
                        now.monotonic_ns - peer.handshake_sent_ns < timing_.rekey_timeout_ns;
  if (recently || !peer.endpoint.known()) return false;
  Initiation message;
  const uint32_t index = ClaimHandshakeIndex(id);
  if (!CreateInitiation(primitives_, *self_, RandomSecret(), NextTimestamp(id, now.unix_ns), index,
                        &peer.handshake, &message)) {
    indices_.Release(index);
    peer.handshake_has_index = false;
    return false;
  }
  LogKeys(peer);
  peer.handshake_sent_ns = now.monotonic_ns;
  std::array<uint8_t, kInitiationBytes> datagram;
  EmitInitiation(message, datagram);
  peer.cookies.AddMacs(datagram, timing_.cookie_secret_ns - timing_.cookie_latency_ns,
                       now.monotonic_ns);
  ++counters_.initiations_sent;
  OnAuthenticatedTraffic(peer, now);
  OnAuthenticatedSent(peer, now);
  OnInitiationSent(peer, now);
  Transmit(peer, datagram);
  return true;
}

void Machine::SendResponse(PeerId id, Time now) {
  Peer& peer = peers_[id];
  Response message;
  const Secret ephemeral = RandomSecret();
  const uint32_t index = ClaimHandshakeIndex(id);
  if (!CreateResponse(primitives_, ephemeral, index, &peer.handshake, &message)) {
    indices_.Release(index);
    peer.handshake_has_index = false;
    return;
  }
  peer.handshake.ephemeral_private = ephemeral;
  LogKeys(peer);
  peer.handshake_sent_ns = now.monotonic_ns;
  std::array<uint8_t, kResponseBytes> datagram;
  EmitResponse(message, datagram);
  peer.cookies.AddMacs(datagram, timing_.cookie_secret_ns - timing_.cookie_latency_ns,
                       now.monotonic_ns);
  BeginSession(id, now);
  ++counters_.responses_sent;
  OnAuthenticatedTraffic(peer, now);
  OnAuthenticatedSent(peer, now);
  Transmit(peer, datagram);
}

}  // namespace qpip::wireguard
