// The WireGuard protocol (Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", NDSS
// 2017), one interface of it: peers, handshakes, sessions, timers. No I/O, clock, thread or
// randomness of its own: time is an argument, datagrams come and go as bytes.
//
//        packets                                                          datagrams
//     Route, Seal  ──> [ session of the peer that has the address ] ──> from Seal, or `transmit`
//     Receive      <── [ session that the index names ]             <── Receive
//                      [ handshakes, cookies, keepalives ]          <─> `transmit`, Receive
//                                 ^ OnTimers
//
// Where the paper is silent this does what Linux's module does. All memory is taken when a machine
// is made and does not grow by what is received; packets that wait for a handshake are bounded.
// Secrets are erased when their time is over and when the machine goes. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocols/wireguard/allowed_addresses.h"
#include "protocols/wireguard/cookie.h"
#include "protocols/wireguard/counters.h"
#include "protocols/wireguard/endpoint.h"
#include "protocols/wireguard/index_table.h"
#include "protocols/wireguard/peer.h"
#include "protocols/wireguard/primitives.h"
#include "protocols/wireguard/timing.h"

namespace qpip::wireguard {

/// Now, by two clocks.
struct Time {
  uint64_t monotonic_ns = 0;  ///< never goes back; since whenever
  uint64_t unix_ns = 0;       ///< since 1970 UTC, for initiations' timestamps
};

struct PeerConfig {
  PublicKey public_key = {};
  Secret preshared_key;  ///< zero: none
  std::vector<Prefix> allowed;
  Endpoint endpoint;                    ///< where it is at first; may be unknown
  uint16_t persistent_keepalive_s = 0;  ///< seconds; 0: none
};

struct MachineConfig {
  Secret private_key;
  std::vector<PeerConfig> peers;
  uint32_t mtu = 1420;  ///< bytes of a packet; padding does not go beyond it
  Timing timing;
};

/// What somebody who watches a machine may want to say.
struct Event {
  enum class Kind : uint8_t {
    kNoAnswer,          ///< an initiation has not been answered; once, until one is
    kGivenUp,           ///< nor any of those after it; packets that waited are dropped
    kSessionBegun,      ///< keys agreed
    kMoved,             ///< an authenticated message of the peer has come from another endpoint
    kUnknownPeer,       ///< an initiation of a public key that is not configured
    kOldTimestamp,      ///< an authentic initiation whose time is not after the last one's
    kOwnClockWentBack,  ///< this end's time has gone back behind what it has told a peer
    kForeignHandshake,  ///< an initiation that is not for this end's public key
    kForgedResponse,    ///< a peer's response does not open: other keys than ours
  };
  Kind kind = Kind::kNoAnswer;
  std::optional<PeerId> peer = {};
  PublicKey public_key = {};  ///< kUnknownPeer
  Endpoint from = {};         ///< where it came from; kNoAnswer, kGivenUp: where it was sent to
};

/// What a recording's reader needs to decrypt it; in the order in which it needs it.
struct KeyLogEntry {
  const Secret& local_static_private;
  const PublicKey& remote_static_public;
  const Secret& local_ephemeral_private;
  const Secret& preshared;
};

/// A machine's way out. Called within its methods; must not call it.
struct MachinePorts {
  /// A message to be sent as a datagram, best effort.
  std::function<void(const Endpoint& to, Bytes datagram)> transmit;
  /// Fills with random bytes, fit for keys.
  std::function<void(std::span<uint8_t>)> random;
  std::function<void(const Event&)> event;          ///< may be null
  std::function<void(const KeyLogEntry&)> key_log;  ///< may be null, and should be
};

/// What a datagram was.
struct Received {
  Bytes packet;     ///< an inner IP packet, in the buffer given; empty: nothing to deliver
  PeerId peer = 0;  ///< whose it is; meaningful with a packet
};

/// Of a peer, for statistics. Nothing secret.
struct PeerStatus {
  PublicKey public_key = {};
  Endpoint endpoint;
  uint64_t session_begun_ns = kNever;  ///< kNever: no session so far
  uint64_t bytes_sent = 0, bytes_received = 0;
};

class Machine {
 public:
  /// Packets that may wait for a handshake, of each peer.
  static constexpr size_t kMostStaged = 128;

  /// `memory` is where everything secret is kept, for as long as the machine lives. The config's
  /// secrets are taken out of it. Throws std::runtime_error when libcrypto lacks a primitive, and
  /// std::invalid_argument for a private key of zero and two peers of one key.
  Machine(MachineConfig config, MachinePorts ports,
          std::pmr::memory_resource* memory = std::pmr::get_default_resource());
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  const PublicKey& public_key() const { return self_->public_key; }

  /// The peer that an inner address (4 or 16 bytes) belongs to.
  std::optional<PeerId> Route(std::span<const uint8_t> address) const {
    return allowed_.Find(address);
  }
  /// Where datagrams to the peer go now; unknown until it has been heard of, unless configured.
  const Endpoint& EndpointOf(PeerId peer) const { return peers_[peer].endpoint; }
  /// Whether an initiation has gone to the peer that has no answer so far.
  bool Awaits(PeerId peer) const { return peers_[peer].timers.retransmit_ns != kNever; }
  /// Resolved anew by whoever drives the machine. What an authenticated message says counts more.
  void SetEndpoint(PeerId peer, const Endpoint& endpoint) { peers_[peer].endpoint = endpoint; }

  /// Bytes of the data message that carries a packet of `length` bytes.
  size_t SealedBytes(size_t length) const;
  /// Seals the packet of `length` bytes that lies in `buffer` from kDataHeaderBytes on; `buffer`
  /// holds SealedBytes(length). Returns the datagram's bytes, to be sent to EndpointOf(peer), or 0:
  /// there is no session to send under now. See Stage.
  size_t Seal(PeerId peer, std::span<uint8_t> buffer, size_t length, Time now);
  /// Keeps a packet (copied) until there is a session, and begins a handshake. False: it is not
  /// known where the peer is; nothing is kept.
  bool Stage(PeerId peer, Bytes packet, Time now);

  /// A datagram that has come from `from`. A packet in it is written to `out`, which holds
  /// datagram.size() - kDataOverheadBytes bytes and may be in the datagram, from kDataHeaderBytes
  /// on.
  Received Receive(Bytes datagram, const Endpoint& from, std::span<uint8_t> out, Time now);

  /// Does what is due. Returns next_deadline_ns().
  uint64_t OnTimers(Time now);
  /// When OnTimers wants to be called, by the monotonic clock. May lie before the time at which
  /// anything is to be done, never behind it.
  uint64_t next_deadline_ns() const { return next_deadline_ns_; }
  /// Erases copies of keys outside of `memory`, which the next packet makes anew.
  void Rest() { aead_.ForgetKeys(); }

  const Counters& counters() const { return counters_; }
  size_t peer_count() const { return peers_.size(); }
  PeerStatus Status(PeerId peer) const;

 private:
  // machine.cc
  void AddPeer(PeerConfig& config);
  void Tell(Event::Kind kind, std::optional<PeerId> peer, const Endpoint& from,
            const PublicKey& public_key = {});
  void Drop(Session& session);
  void ForgetHandshake(Peer& peer);
  uint32_t ClaimHandshakeIndex(PeerId id);
  Session& BeginSession(PeerId id, Time now);
  uint32_t RandomWord();
  Secret RandomSecret();
  void LogKeys(const Peer& peer);

  // machine_receive.cc
  bool TakeMacs(Bytes message, const Endpoint& from, Time now);
  bool UnderLoad(uint64_t now_ns);
  void OnInitiation(Bytes datagram, const Endpoint& from, Time now);
  void OnResponse(Bytes datagram, const Endpoint& from, Time now);
  void OnCookieReply(Bytes datagram, Time now);
  Received OnData(Bytes datagram, const Endpoint& from, std::span<uint8_t> out, Time now);
  Received Inner(PeerId id, Bytes plaintext);
  void Heard(PeerId id, const Endpoint& from, Time now);

  // machine_send.cc
  bool SendInitiation(PeerId id, bool again, Time now);
  void SendResponse(PeerId id, Time now);
  void SendKeepalive(PeerId id, Time now);
  void SendStaged(PeerId id, Time now);
  void Transmit(Peer& peer, Bytes datagram);
  Tai64n NextTimestamp(PeerId id, uint64_t unix_ns);

  // machine_timers.cc: what an event means for the timers
  void Arm(uint64_t* timer, uint64_t deadline_ns);
  uint64_t Jitter();
  void OnAuthenticatedTraffic(Peer& peer, Time now);
  void OnAuthenticatedSent(Peer& peer, Time now);
  void OnAuthenticatedReceived(Peer& peer, Time now);
  void OnDataSent(Peer& peer, Time now);
  void OnDataReceived(Peer& peer, Time now);
  void OnInitiationSent(Peer& peer, Time now);
  void OnHandshakeComplete(Peer& peer);
  void OnNoAnswer(PeerId id, Time now);
  void OnPeerTimers(PeerId id, Time now);

  const Timing timing_;
  const uint32_t mtu_;
  MachinePorts ports_;
  Primitives primitives_;
  Aead aead_;
  std::pmr::vector<Identity> identity_;  ///< one, in the memory for secrets
  const Identity* self_;
  std::pmr::vector<Peer> peers_;
  std::map<PublicKey, PeerId> peers_by_key_;
  AllowedAddresses allowed_;
  IndexTable indices_;
  std::unique_ptr<CookieChecker> cookies_;
  std::unique_ptr<RateLimiter> limiter_;
  uint64_t last_session_ = 0;
  // Of timers, random bytes fetched many at a time: one is wanted for nearly every packet.
  std::array<uint8_t, 256> jitter_;
  size_t jitter_used_ = 256;
  struct Bucket {
    uint64_t tokens_ns = 0, at_ns = 0;
    bool Take(uint32_t per_second, uint32_t burst, uint64_t now_ns);
  };
  Bucket handshakes_, proven_handshakes_;
  uint64_t loaded_until_ns_ = 0;
  uint64_t next_deadline_ns_ = kNever;
  Counters counters_;
};

}  // namespace qpip::wireguard
