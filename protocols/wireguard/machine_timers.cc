// A machine's timers (WireGuard's paper, sections 6.1 to 6.5).
#include <algorithm>

#include "protocols/common/byte_order.h"
#include "protocols/wireguard/machine.h"

namespace qpip::wireguard {

void Machine::Arm(uint64_t* timer, uint64_t deadline_ns) {
  *timer = deadline_ns;
  next_deadline_ns_ = std::min(next_deadline_ns_, deadline_ns);
}

// So that two ends that have lost each other do not begin at the same moment time and again.
uint64_t Machine::Jitter() {
  if (timing_.rekey_jitter_ns == 0) return 0;
  if (jitter_used_ == jitter_.size()) {
    ports_.random(jitter_);
    jitter_used_ = 0;
  }
  const uint32_t word = LoadLe32(&jitter_[jitter_used_]);
  jitter_used_ += sizeof word;
  return word % timing_.rekey_jitter_ns;
}

void Machine::OnAuthenticatedTraffic(Peer& peer, Time now) {
  if (peer.persistent_keepalive_ns != 0) {
    Arm(&peer.timers.persistent_ns, now.monotonic_ns + peer.persistent_keepalive_ns);
  }
}

void Machine::OnAuthenticatedSent(Peer& peer, Time) { peer.timers.keepalive_ns = kNever; }

void Machine::OnAuthenticatedReceived(Peer& peer, Time) {
  peer.timers.new_handshake_ns = kNever;
  peer.told_no_answer = false;
}

void Machine::OnDataSent(Peer& peer, Time now) {
  if (peer.timers.new_handshake_ns != kNever) return;
  Arm(&peer.timers.new_handshake_ns,
      now.monotonic_ns + timing_.keepalive_timeout_ns + timing_.rekey_timeout_ns + Jitter());
}

void Machine::OnDataReceived(Peer& peer, Time now) {
  if (peer.timers.keepalive_ns != kNever) {
    peer.another_keepalive = true;
    return;
  }
  Arm(&peer.timers.keepalive_ns, now.monotonic_ns + timing_.keepalive_timeout_ns);
}

void Machine::OnInitiationSent(Peer& peer, Time now) {
  Arm(&peer.timers.retransmit_ns, now.monotonic_ns + timing_.rekey_timeout_ns + Jitter());
}

void Machine::OnHandshakeComplete(Peer& peer) {
  peer.timers.retransmit_ns = kNever;
  peer.attempts = 0;
  peer.asked_at_last_minute = false;
}

// An initiation's time is over (section 6.4).
void Machine::OnNoAnswer(PeerId id, Time now) {
  Peer& peer = peers_[id];
  if (peer.attempts * timing_.rekey_timeout_ns >= timing_.rekey_attempt_ns) {
    peer.timers.keepalive_ns = kNever;
    counters_.dropped.staged_given_up += peer.staged.size();
    peer.staged.clear();
    if (peer.timers.erase_ns == kNever) {
      Arm(&peer.timers.erase_ns, now.monotonic_ns + 3 * timing_.reject_after_ns);
    }
    ++counters_.handshakes_given_up;
    Tell(Event::Kind::kGivenUp, id, peer.endpoint);
    return;
  }
  ++peer.attempts;
  if (!peer.told_no_answer) {
    peer.told_no_answer = true;
    Tell(Event::Kind::kNoAnswer, id, peer.endpoint);
  }
  SendInitiation(id, /*again=*/true, now);
}

void Machine::OnPeerTimers(PeerId id, Time now) {
  Peer& peer = peers_[id];
  const auto due = [&](uint64_t* timer) {
    if (*timer > now.monotonic_ns) return false;
    *timer = kNever;
    return true;
  };
  if (due(&peer.timers.retransmit_ns)) OnNoAnswer(id, now);
  if (due(&peer.timers.keepalive_ns)) {
    SendKeepalive(id, now);
    if (peer.another_keepalive) {
      peer.another_keepalive = false;
      Arm(&peer.timers.keepalive_ns, now.monotonic_ns + timing_.keepalive_timeout_ns);
    }
  }
  if (due(&peer.timers.new_handshake_ns)) SendInitiation(id, /*again=*/false, now);
  if (due(&peer.timers.persistent_ns)) {
    SendKeepalive(id, now);
    // Where a handshake is too recent for another, nothing has gone: soon, then.
    if (peer.timers.persistent_ns == kNever) {
      Arm(&peer.timers.persistent_ns, now.monotonic_ns + timing_.rekey_timeout_ns);
    }
  }
  if (due(&peer.timers.erase_ns)) {
    for (Session& session : peer.sessions.all()) Drop(session);
    ForgetHandshake(peer);
    ++counters_.keys_erased;
  }
}

uint64_t Machine::OnTimers(Time now) {
  if (now.monotonic_ns < next_deadline_ns_) return next_deadline_ns_;
  for (PeerId id = 0; id < peers_.size(); ++id) OnPeerTimers(id, now);
  next_deadline_ns_ = kNever;
  for (const Peer& peer : peers_) {
    const PeerTimers& timers = peer.timers;
    next_deadline_ns_ = std::min({next_deadline_ns_, timers.retransmit_ns, timers.keepalive_ns,
                                  timers.new_handshake_ns, timers.erase_ns, timers.persistent_ns});
  }
  return next_deadline_ns_;
}

}  // namespace qpip::wireguard
