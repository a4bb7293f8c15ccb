#include "protocols/wireguard/handshake.h"

#include <string_view>

namespace qpip::wireguard {
namespace {

// Section 5.4 of the paper.
constexpr std::string_view kConstruction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
constexpr std::string_view kIdentifier = "WireGuard v1 zx2c4 Jason@zx2c4.com";

Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// A transcript being continued. Changes a copy, which is kept when all has gone well.
class Mixer {
 public:
  Mixer(Primitives& primitives, Transcript* transcript) : p_(primitives), t_(*transcript) {}

  void Hash(Bytes bytes) { t_.hash = p_.Hash({t_.hash, bytes}); }
  void Ephemeral(const PublicKey& key) {
    Hash(key);
    Key(key);
  }
  void Key(Bytes input) { p_.Kdf(t_.chaining_key, input, {&t_.chaining_key}); }
  void KeyAndCipher(Bytes input) { p_.Kdf(t_.chaining_key, input, {&t_.chaining_key, &cipher_}); }
  bool SharedSecret(const Secret& private_key, const PublicKey& public_key) {
    Secret shared;
    if (!p_.SharedSecret(private_key, public_key, &shared)) return false;
    KeyAndCipher(shared.bytes());
    return true;
  }
  void PresharedKey(const Secret& key) {
    Secret hashed;
    p_.Kdf(t_.chaining_key, key.bytes(), {&t_.chaining_key, &hashed, &cipher_});
    Hash(hashed.bytes());
  }
  void Seal(Bytes plaintext, std::span<uint8_t> out) {
    p_.SealOnce(cipher_, t_.hash, plaintext, out);
    Hash(out);
  }
  bool Open(Bytes sealed, std::span<uint8_t> out) {
    if (!p_.OpenOnce(cipher_, t_.hash, sealed, out)) return false;
    Hash(sealed);
    return true;
  }

 private:
  Primitives& p_;
  Transcript& t_;
  Secret cipher_;
};

Transcript Begin(Primitives& primitives, const PublicKey& responder) {
  Transcript transcript;
  transcript.chaining_key = Secret(primitives.Hash({AsBytes(kConstruction)}));
  transcript.hash = primitives.Hash({transcript.chaining_key.bytes(), AsBytes(kIdentifier)});
  transcript.hash = primitives.Hash({transcript.hash, responder});
  return transcript;
}

}  // namespace

void Handshake::Clear() {
  state = HandshakeState::kNone;
  ephemeral_private.Clear();
  remote_ephemeral = {};
  transcript.chaining_key.Clear();
  transcript.hash = {};
  local_index = remote_index = 0;
}

// Section 5.4.2.
bool CreateInitiation(Primitives& primitives, const Identity& self, const Secret& ephemeral,
                      const Tai64n& timestamp, uint32_t local_index, Handshake* handshake,
                      Initiation* message) {
  if (handshake->static_static.IsZero()) return false;
  Transcript transcript = Begin(primitives, handshake->remote_static);
  Mixer mix(primitives, &transcript);
  message->sender = local_index;
  message->ephemeral = primitives.PublicKeyOf(ephemeral);
  mix.Ephemeral(message->ephemeral);
  if (!mix.SharedSecret(ephemeral, handshake->remote_static)) return false;
  mix.Seal(self.public_key, message->sealed_static);
  mix.KeyAndCipher(handshake->static_static.bytes());
  mix.Seal(timestamp, message->sealed_timestamp);

  handshake->ephemeral_private = ephemeral;
  handshake->transcript = transcript;
  handshake->local_index = local_index;
  handshake->state = HandshakeState::kCreatedInitiation;
  return true;
}

bool OpenInitiation(Primitives& primitives, const Identity& self, const Initiation& message,
                    OpenedInitiation* opened) {
  opened->transcript = Begin(primitives, self.public_key);
  Mixer mix(primitives, &opened->transcript);
  mix.Ephemeral(message.ephemeral);
  return mix.SharedSecret(self.private_key, message.ephemeral) &&
         mix.Open(message.sealed_static, opened->remote_static);
}

bool ReadTimestamp(Primitives& primitives, const Secret& static_static, const Initiation& message,
                   OpenedInitiation* opened, Tai64n* timestamp) {
  if (static_static.IsZero()) return false;
  Mixer mix(primitives, &opened->transcript);
  mix.KeyAndCipher(static_static.bytes());
  return mix.Open(message.sealed_timestamp, *timestamp);
}

void AcceptInitiation(const Initiation& message, const OpenedInitiation& opened,
                      Handshake* handshake) {
  handshake->remote_ephemeral = message.ephemeral;
  handshake->transcript = opened.transcript;
  handshake->remote_index = message.sender;
  handshake->state = HandshakeState::kConsumedInitiation;
}

// Section 5.4.3.
bool CreateResponse(Primitives& primitives, const Secret& ephemeral, uint32_t local_index,
                    Handshake* handshake, Response* message) {
  if (handshake->state != HandshakeState::kConsumedInitiation) return false;
  Transcript transcript = handshake->transcript;
  Mixer mix(primitives, &transcript);
  message->sender = local_index;
  message->receiver = handshake->remote_index;
  message->ephemeral = primitives.PublicKeyOf(ephemeral);
  mix.Ephemeral(message->ephemeral);
  if (!mix.SharedSecret(ephemeral, handshake->remote_ephemeral) ||
      !mix.SharedSecret(ephemeral, handshake->remote_static)) {
    return false;
  }
  mix.PresharedKey(handshake->preshared_key);
  mix.Seal({}, message->sealed_nothing);

  handshake->transcript = transcript;
  handshake->local_index = local_index;
  handshake->state = HandshakeState::kCreatedResponse;
  return true;
}

bool ConsumeResponse(Primitives& primitives, const Identity& self, const Response& message,
                     Handshake* handshake) {
  if (handshake->state != HandshakeState::kCreatedInitiation) return false;
  Transcript transcript = handshake->transcript;
  Mixer mix(primitives, &transcript);
  mix.Ephemeral(message.ephemeral);
  if (!mix.SharedSecret(handshake->ephemeral_private, message.ephemeral) ||
      !mix.SharedSecret(self.private_key, message.ephemeral)) {
    return false;
  }
  mix.PresharedKey(handshake->preshared_key);
  if (!mix.Open(message.sealed_nothing, {})) return false;

  handshake->transcript = transcript;
  handshake->remote_ephemeral = message.ephemeral;
  handshake->remote_index = message.sender;
  handshake->state = HandshakeState::kConsumedResponse;
  return true;
}

// Section 5.4.5: both derive the same two keys, and each sends with the one the other receives
// with.
SessionKeys DeriveSessionKeys(Primitives& primitives, Handshake* handshake) {
  SessionKeys keys;
  const bool initiator = handshake->state == HandshakeState::kConsumedResponse;
  primitives.Kdf(
      handshake->transcript.chaining_key, {},
      {initiator ? &keys.sending : &keys.receiving, initiator ? &keys.receiving : &keys.sending});
  handshake->Clear();
  return keys;
}

}  // namespace qpip::wireguard
