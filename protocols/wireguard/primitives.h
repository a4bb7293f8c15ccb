// The primitives that WireGuard is made of (its paper, section 5.4), from OpenSSL's libcrypto. The
// one file of protocols/wireguard/ that knows the library is primitives.cc.
//
//     DH      X25519 (RFC 7748)                    Hash    BLAKE2s-256 (RFC 7693)
//     Aead    ChaCha20-Poly1305 (RFC 8439)         Mac     BLAKE2s-128, keyed
//     Xaead   XChaCha20-Poly1305 (draft-irtf-      Hmac    HMAC over Hash (RFC 2104)
//             cfrg-xchacha)                        Kdf     HKDF over Hmac (RFC 5869)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>

#include "protocols/wireguard/secret.h"

// OpenSSL's, so that no header here includes one of its.
struct evp_cipher_ctx_st;

namespace qpip::wireguard {

inline constexpr size_t kHashBytes = 32;
inline constexpr size_t kMacBytes = 16;
inline constexpr size_t kTagBytes = 16;            ///< behind every ciphertext
inline constexpr size_t kExtendedNonceBytes = 24;  ///< of XChaCha20

using PublicKey = std::array<uint8_t, kKeyBytes>;
using HashValue = std::array<uint8_t, kHashBytes>;
using MacValue = std::array<uint8_t, kMacBytes>;
using ExtendedNonce = std::array<uint8_t, kExtendedNonceBytes>;
using Bytes = std::span<const uint8_t>;

/// Equal? In a time that depends on the lengths alone.
bool ConstantTimeEqual(Bytes a, Bytes b);

/// ChaCha20-Poly1305 for many packets under few keys. The nonce is four zero bytes and a
/// little-endian counter. The library's memory holds the key used last in either direction, so that
/// it need not be set for every packet; keys themselves stay with their owner.
class Aead {
 public:
  /// Throws std::runtime_error when the library has no such cipher.
  Aead();
  ~Aead();
  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;

  /// `key_id` is another number for every key, and not 0. Writes plaintext.size() + kTagBytes
  /// bytes. `out` may begin where `plaintext` does; otherwise the two must not overlap. False: the
  /// library failed, and nothing may be sent.
  bool Seal(const Secret& key, uint64_t key_id, uint64_t counter, Bytes associated, Bytes plaintext,
            std::span<uint8_t> out);
  /// Writes sealed.size() - kTagBytes bytes; `out` as for Seal. False: forged or damaged, and
  /// `out` holds nothing that may be used.
  bool Open(const Secret& key, uint64_t key_id, uint64_t counter, Bytes associated, Bytes sealed,
            std::span<uint8_t> out);
  /// Erases the library's copies.
  void ForgetKeys();

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  std::unique_ptr<evp_cipher_ctx_st, Free> seal_, open_;
  uint64_t sealing_ = 0, opening_ = 0;  ///< ids of the keys in them; 0: none
};

/// Everything else. Fetched from the library once; not to be used by two threads at a time.
/// Functions throw std::runtime_error when the library fails, as without memory.
class Primitives {
 public:
  /// Throws std::runtime_error that says which one the library lacks.
  Primitives();
  ~Primitives();
  Primitives(const Primitives&) = delete;
  Primitives& operator=(const Primitives&) = delete;

  /// Of all parts, one behind the other.
  HashValue Hash(std::initializer_list<Bytes> parts);
  /// `key`: at most 32 bytes.
  MacValue Mac(Bytes key, std::initializer_list<Bytes> parts);
  /// `key`: at most 64 bytes.
  HashValue Hmac(Bytes key, std::initializer_list<Bytes> parts);
  /// HKDF of `input` under `key`: as many outputs as there are pointers, at most three.
  void Kdf(const Secret& key, Bytes input, std::initializer_list<Secret*> outputs);

  /// False for a point of small order, whose result is zero: nothing secret.
  bool SharedSecret(const Secret& private_key, const PublicKey& public_key, Secret* out);
  PublicKey PublicKeyOf(const Secret& private_key);

  /// With the nonce 0, for keys that are used once. As Aead's.
  void SealOnce(const Secret& key, Bytes associated, Bytes plaintext, std::span<uint8_t> out);
  bool OpenOnce(const Secret& key, Bytes associated, Bytes sealed, std::span<uint8_t> out);

  void SealExtended(const Secret& key, const ExtendedNonce& nonce, Bytes associated,
                    Bytes plaintext, std::span<uint8_t> out);
  bool OpenExtended(const Secret& key, const ExtendedNonce& nonce, Bytes associated, Bytes sealed,
                    std::span<uint8_t> out);
  /// draft-irtf-cfrg-xchacha section 2.2.
  Secret HChaCha20(const Secret& key, std::span<const uint8_t, 16> nonce);

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace qpip::wireguard
