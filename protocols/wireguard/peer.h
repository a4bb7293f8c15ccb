// What a machine knows of a peer: its handshake, its sessions, its timers, what waits for it.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "protocols/wireguard/cookie.h"
#include "protocols/wireguard/endpoint.h"
#include "protocols/wireguard/handshake.h"
#include "protocols/wireguard/replay_window.h"
#include "protocols/wireguard/timing.h"

namespace qpip::wireguard {

/// A key pair: what one handshake ends in.
struct Session {
  bool used = false;
  bool initiator = false;  ///< ours was the initiation; the one who asks for a new session in time
  uint64_t id = 0;         ///< another for each session of a machine; not 0
  uint32_t local_index = 0;
  uint32_t remote_index = 0;
  uint64_t born_ns = 0;
  SessionKeys keys;
  uint64_t next_counter = 0;
  ReplayWindow window;
};

/// Up to three sessions: packets are sealed under `current`; those on their way under the one
/// before it still open. The responder's new one is `next` until a packet of the initiator's proves
/// that the response has arrived (the paper, section 6.3).
///
///     as initiator:  new -> current -> previous        as responder:  new -> next
///     first packet under next:  next -> current -> previous
class Sessions {
 public:
  Session& current() { return all_[current_]; }
  Session& previous() { return all_[previous_]; }
  Session& next() { return all_[next_]; }
  const Session& current() const { return all_[current_]; }
  std::array<Session, 3>& all() { return all_; }

  /// The one that `index` names here, or nullptr.
  Session* Find(uint32_t index) {
    for (const uint8_t place : {current_, next_, previous_}) {
      if (all_[place].used && all_[place].local_index == index) return &all_[place];
    }
    return nullptr;
  }
  // Each wants the place that it fills to be free, and leaves the one that it empties free.
  void CurrentToPrevious() { std::swap(current_, previous_); }
  void NextToPrevious() { std::swap(next_, previous_); }
  void NextToCurrent() { std::swap(next_, current_); }

 private:
  std::array<Session, 3> all_;
  uint8_t current_ = 0, previous_ = 1, next_ = 2;
};

/// Times at which something is due; kNever: nothing.
struct PeerTimers {
  uint64_t retransmit_ns = kNever;     ///< an initiation has no answer
  uint64_t keepalive_ns = kNever;      ///< data has been received and nothing sent
  uint64_t new_handshake_ns = kNever;  ///< data has been sent and nothing received
  uint64_t erase_ns = kNever;          ///< no new session for so long that all keys go
  uint64_t persistent_ns = kNever;     ///< a persistent keepalive
};

struct Peer {
  Peer(Primitives& primitives, const PublicKey& key) : cookies(primitives, key) {}

  Handshake handshake;
  bool handshake_has_index = false;
  CookieJar cookies;
  Sessions sessions;
  Endpoint endpoint;
  uint64_t persistent_keepalive_ns = 0;  ///< 0: none

  Tai64n greatest_timestamp = {};  ///< of its initiations
  uint64_t told_unix_ns = 0;       ///< greatest time told it in one
  uint64_t initiation_taken_ns = kNever;
  uint64_t handshake_sent_ns = kNever;  ///< last initiation or response
  uint32_t attempts = 0;                ///< initiations again, since somebody wanted one
  bool told_no_answer = false;
  bool asked_at_last_minute = false;  ///< for a successor of the session that is being received on
  bool another_keepalive = false;
  PeerTimers timers;
  std::deque<std::vector<uint8_t>> staged;

  uint64_t session_begun_ns = kNever;
  uint64_t bytes_sent = 0, bytes_received = 0;  ///< of data messages
};

}  // namespace qpip::wireguard
