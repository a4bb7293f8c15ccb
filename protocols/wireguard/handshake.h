// The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (WireGuard's paper, section 5.4; The Noise
// Protocol Framework). Both know the responder's static key beforehand.
//
//     initiator                                              responder
//        | e, es, s, ss, {timestamp} ─── initiation ──────────> |   CreateInitiation,
//        OpenInitiation, |                                                      |   ReadTimestamp
//        | <────────── response ──── e, ee, se, psk, {nothing}  |   CreateResponse, ConsumeResponse
//
// Functions over a Handshake: no time, no randomness but what is passed in, and nothing is changed
// unless they return true.
#pragma once

#include <cstdint>

#include "protocols/wireguard/message.h"
#include "protocols/wireguard/primitives.h"
#include "protocols/wireguard/tai64n.h"

namespace qpip::wireguard {

/// This end's static keys.
struct Identity {
  Secret private_key;
  PublicKey public_key = {};
};

/// What both ends have mixed so far: chaining key and transcript.
struct Transcript {
  Secret chaining_key;
  HashValue hash = {};
};

enum class HandshakeState : uint8_t {
  kNone = 0,            ///< nothing under way
  kCreatedInitiation,   ///< a response may come
  kConsumedInitiation,  ///< a response is to be sent
  kCreatedResponse,     ///< session keys may be derived, as responder
  kConsumedResponse,    ///< session keys may be derived, as initiator
};

/// One with a peer.
struct Handshake {
  // Of the peer, for good:
  PublicKey remote_static = {};
  Secret static_static;  ///< shared secret of the two static keys; zero: the key is no good
  Secret preshared_key;  ///< zero: none
  // Of the handshake under way:
  HandshakeState state = HandshakeState::kNone;
  Secret ephemeral_private;
  PublicKey remote_ephemeral = {};
  Transcript transcript;
  uint32_t local_index = 0;  ///< meaningful unless kNone
  uint32_t remote_index = 0;

  /// Forgets what is under way, and erases its secrets.
  void Clear();
};

/// As initiator. `ephemeral` is fresh and random.
bool CreateInitiation(Primitives& primitives, const Identity& self, const Secret& ephemeral,
                      const Tai64n& timestamp, uint32_t local_index, Handshake* handshake,
                      Initiation* message);

/// As responder, what an initiation says before it is known whom it is from.
struct OpenedInitiation {
  PublicKey remote_static = {};
  Transcript transcript;
};
bool OpenInitiation(Primitives& primitives, const Identity& self, const Initiation& message,
                    OpenedInitiation* opened);
/// With the static-static secret of the peer that `opened` names: authentic, and its time.
bool ReadTimestamp(Primitives& primitives, const Secret& static_static, const Initiation& message,
                   OpenedInitiation* opened, Tai64n* timestamp);
/// Takes the initiation over into the peer's handshake: kConsumedInitiation.
void AcceptInitiation(const Initiation& message, const OpenedInitiation& opened,
                      Handshake* handshake);
/// In kConsumedInitiation.
bool CreateResponse(Primitives& primitives, const Secret& ephemeral, uint32_t local_index,
                    Handshake* handshake, Response* message);

/// As initiator, in kCreatedInitiation. False: not from the peer, or under another preshared key.
bool ConsumeResponse(Primitives& primitives, const Identity& self, const Response& message,
                     Handshake* handshake);

struct SessionKeys {
  Secret sending, receiving;
};
/// In kCreatedResponse or kConsumedResponse, which it ends; the handshake's secrets are erased.
SessionKeys DeriveSessionKeys(Primitives& primitives, Handshake* handshake);

}  // namespace qpip::wireguard
