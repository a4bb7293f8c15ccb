#include "protocols/wireguard/primitives.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "protocols/common/byte_order.h"

namespace qpip::wireguard {
namespace {

constexpr size_t kBlockBytes = 64;  ///< of BLAKE2s, and of ChaCha20
constexpr size_t kNonceBytes = 12;
constexpr size_t kCounterOffset = 4;  ///< in a nonce, behind four zero bytes

// Fails without memory, and where a policy forbids a primitive after it was fetched.
void Must(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("libcrypto: ") + what + " failed");
}

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Cipher = std::unique_ptr<EVP_CIPHER, Freer<EVP_CIPHER_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Freer<EVP_CIPHER_CTX_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;

template <typename T>
T* Found(T* fetched, const char* name) {
  if (fetched == nullptr) {
    throw std::runtime_error(std::string("libcrypto has no ") + name +
                             ": WireGuard needs OpenSSL 3 with its default provider");
  }
  return fetched;
}

EVP_CIPHER* FetchAead() {
  return Found(EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr), "ChaCha20-Poly1305");
}

int Int(size_t count) { return static_cast<int>(count); }

// Of a context that has its key and nonce.
bool SealWith(EVP_CIPHER_CTX* context, Bytes associated, Bytes plaintext, std::span<uint8_t> out) {
  int written = 0;
  if (!associated.empty() && EVP_EncryptUpdate(context, nullptr, &written, associated.data(),
                                               Int(associated.size())) != 1) {
    return false;
  }
  if (!plaintext.empty() && EVP_EncryptUpdate(context, out.data(), &written, plaintext.data(),
                                              Int(plaintext.size())) != 1) {
    return false;
  }
  uint8_t* tag = out.data() + plaintext.size();
  return EVP_EncryptFinal_ex(context, tag, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag) == 1;
}

bool OpenWith(EVP_CIPHER_CTX* context, Bytes associated, Bytes sealed, std::span<uint8_t> out) {
  if (sealed.size() < kTagBytes) return false;
  int written = 0;
  const Bytes ciphertext = sealed.first(sealed.size() - kTagBytes);
  auto* tag = const_cast<uint8_t*>(sealed.data() + ciphertext.size());  // only read
  if (EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag) != 1) return false;
  if (!associated.empty() && EVP_DecryptUpdate(context, nullptr, &written, associated.data(),
                                               Int(associated.size())) != 1) {
    return false;
  }
  if (!ciphertext.empty() && EVP_DecryptUpdate(context, out.data(), &written, ciphertext.data(),
                                               Int(ciphertext.size())) != 1) {
    return false;
  }
  uint8_t none[kTagBytes];
  return EVP_DecryptFinal_ex(context, none, &written) == 1;
}

void StoreNonce(uint64_t counter, uint8_t (&nonce)[kNonceBytes]) {
  std::memset(nonce, 0, kCounterOffset);
  StoreLe64(nonce + kCounterOffset, counter);
}

}  // namespace

void Erase(void* bytes, size_t count) { OPENSSL_cleanse(bytes, count); }

bool ConstantTimeEqual(Bytes a, Bytes b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

// --- Aead

void Aead::Free::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }

Aead::Aead() : seal_(EVP_CIPHER_CTX_new()), open_(EVP_CIPHER_CTX_new()) {
  const Cipher cipher(FetchAead());
  Must(seal_ && open_ &&
           EVP_EncryptInit_ex2(seal_.get(), cipher.get(), nullptr, nullptr, nullptr) == 1 &&
           EVP_DecryptInit_ex2(open_.get(), cipher.get(), nullptr, nullptr, nullptr) == 1,
       "ChaCha20-Poly1305");
}

Aead::~Aead() = default;  // the library erases what it frees

bool Aead::Seal(const Secret& key, uint64_t key_id, uint64_t counter, Bytes associated,
                Bytes plaintext, std::span<uint8_t> out) {
  uint8_t nonce[kNonceBytes];
  StoreNonce(counter, nonce);
  const uint8_t* load = key_id == sealing_ ? nullptr : key.bytes().data();
  sealing_ = 0;
  if (EVP_EncryptInit_ex(seal_.get(), nullptr, nullptr, load, nonce) != 1) return false;
  sealing_ = key_id;
  return SealWith(seal_.get(), associated, plaintext, out);
}

bool Aead::Open(const Secret& key, uint64_t key_id, uint64_t counter, Bytes associated,
                Bytes sealed, std::span<uint8_t> out) {
  uint8_t nonce[kNonceBytes];
  StoreNonce(counter, nonce);
  const uint8_t* load = key_id == opening_ ? nullptr : key.bytes().data();
  opening_ = 0;
  if (EVP_DecryptInit_ex(open_.get(), nullptr, nullptr, load, nonce) != 1) return false;
  opening_ = key_id;
  return OpenWith(open_.get(), associated, sealed, out);
}

void Aead::ForgetKeys() {
  constexpr uint8_t kNothing[kKeyBytes] = {};
  if (sealing_ != 0) EVP_EncryptInit_ex(seal_.get(), nullptr, nullptr, kNothing, kNothing);
  if (opening_ != 0) EVP_DecryptInit_ex(open_.get(), nullptr, nullptr, kNothing, kNothing);
  sealing_ = opening_ = 0;
}

// --- Primitives

struct Primitives::Library {
  std::unique_ptr<EVP_MD, Freer<EVP_MD_free>> blake2s{
      Found(EVP_MD_fetch(nullptr, "BLAKE2s-256", nullptr), "BLAKE2s-256")};
  std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> digest{EVP_MD_CTX_new()};
  std::unique_ptr<EVP_MAC, Freer<EVP_MAC_free>> blake2s_mac{
      Found(EVP_MAC_fetch(nullptr, "BLAKE2SMAC", nullptr), "BLAKE2SMAC")};
  std::unique_ptr<EVP_MAC_CTX, Freer<EVP_MAC_CTX_free>> mac{EVP_MAC_CTX_new(blake2s_mac.get())};
  Cipher aead{FetchAead()};
  Aead extended;  ///< XChaCha20-Poly1305's inner cipher
  Cipher chacha20{Found(EVP_CIPHER_fetch(nullptr, "ChaCha20", nullptr), "ChaCha20")};
  CipherContext cipher{EVP_CIPHER_CTX_new()};

  // A cipher's context has been given a key; it is made ready for another, and that one erased.
  void ForgetKey() { EVP_CIPHER_CTX_reset(cipher.get()); }
};

Primitives::Primitives() : library_(std::make_unique<Library>()) {
  Must(library_->digest && library_->mac && library_->cipher, "making a context");
  size_t size = kMacBytes;
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                   OSSL_PARAM_construct_end()};
  Must(EVP_MAC_CTX_set_params(library_->mac.get(), parameters) == 1, "BLAKE2SMAC of 16 bytes");
}

Primitives::~Primitives() = default;

HashValue Primitives::Hash(std::initializer_list<Bytes> parts) {
  HashValue out;
  EVP_MD_CTX* context = library_->digest.get();
  bool done = EVP_DigestInit_ex2(context, library_->blake2s.get(), nullptr) == 1;
  for (const Bytes part : parts) {
    done = done && EVP_DigestUpdate(context, part.data(), part.size()) == 1;
  }
  Must(done && EVP_DigestFinal_ex(context, out.data(), nullptr) == 1, "BLAKE2s");
  return out;
}

MacValue Primitives::Mac(Bytes key, std::initializer_list<Bytes> parts) {
  MacValue out;
  EVP_MAC_CTX* context = library_->mac.get();
  bool done = EVP_MAC_init(context, key.data(), key.size(), nullptr) == 1;
  for (const Bytes part : parts) {
    done = done && EVP_MAC_update(context, part.data(), part.size()) == 1;
  }
  size_t size = 0;
  Must(done && EVP_MAC_final(context, out.data(), &size, out.size()) == 1 && size == out.size(),
       "keyed BLAKE2s");
  return out;
}

// RFC 2104 section 2.
HashValue Primitives::Hmac(Bytes key, std::initializer_list<Bytes> parts) {
  std::array<uint8_t, kBlockBytes> inner = {}, outer = {};
  Must(key.size() <= kBlockBytes, "HMAC's key");
  std::memcpy(inner.data(), key.data(), key.size());
  for (size_t i = 0; i < kBlockBytes; ++i) {
    outer[i] = inner[i] ^ 0x5c;
    inner[i] ^= 0x36;
  }
  HashValue hash;
  EVP_MD_CTX* context = library_->digest.get();
  bool done = EVP_DigestInit_ex2(context, library_->blake2s.get(), nullptr) == 1 &&
              EVP_DigestUpdate(context, inner.data(), inner.size()) == 1;
  for (const Bytes part : parts) {
    done = done && EVP_DigestUpdate(context, part.data(), part.size()) == 1;
  }
  Must(done && EVP_DigestFinal_ex(context, hash.data(), nullptr) == 1, "BLAKE2s");
  hash = Hash({outer, hash});
  Erase(inner.data(), inner.size());
  Erase(outer.data(), outer.size());
  return hash;
}

// RFC 5869 sections 2.2 and 2.3, without `info`.
void Primitives::Kdf(const Secret& key, Bytes input, std::initializer_list<Secret*> outputs) {
  HashValue pseudorandom = Hmac(key.bytes(), {input});
  HashValue block = {};
  uint8_t number = 0;
  for (Secret* output : outputs) {
    ++number;
    const Bytes previous = number == 1 ? Bytes() : Bytes(block);
    block = Hmac(pseudorandom, {previous, Bytes(&number, 1)});
    output->Assign(block);
  }
  Erase(pseudorandom.data(), pseudorandom.size());
  Erase(block.data(), block.size());
}

bool Primitives::SharedSecret(const Secret& private_key, const PublicKey& public_key, Secret* out) {
  const PrivateKey ours(EVP_PKEY_new_raw_private_key_ex(nullptr, "X25519", nullptr,
                                                        private_key.bytes().data(), kKeyBytes));
  const PrivateKey theirs(
      EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, public_key.data(), kKeyBytes));
  Must(ours && theirs, "X25519");
  const std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, ours.get(), nullptr));
  Must(context && EVP_PKEY_derive_init(context.get()) == 1, "X25519");
  size_t size = kKeyBytes;
  // OpenSSL refuses an all-zero result itself; said twice, as everything hangs on it.
  return EVP_PKEY_derive_set_peer(context.get(), theirs.get()) == 1 &&
         EVP_PKEY_derive(context.get(), out->bytes().data(), &size) == 1 && size == kKeyBytes &&
         !out->IsZero();
}

PublicKey Primitives::PublicKeyOf(const Secret& private_key) {
  const PrivateKey key(EVP_PKEY_new_raw_private_key_ex(nullptr, "X25519", nullptr,
                                                       private_key.bytes().data(), kKeyBytes));
  PublicKey out;
  size_t size = out.size();
  Must(key && EVP_PKEY_get_raw_public_key(key.get(), out.data(), &size) == 1, "X25519");
  return out;
}

void Primitives::SealOnce(const Secret& key, Bytes associated, Bytes plaintext,
                          std::span<uint8_t> out) {
  constexpr uint8_t kNonce[kNonceBytes] = {};
  EVP_CIPHER_CTX* context = library_->cipher.get();
  const bool done = EVP_EncryptInit_ex2(context, library_->aead.get(), key.bytes().data(), kNonce,
                                        nullptr) == 1 &&
                    SealWith(context, associated, plaintext, out);
  library_->ForgetKey();
  Must(done, "ChaCha20-Poly1305");
}

bool Primitives::OpenOnce(const Secret& key, Bytes associated, Bytes sealed,
                          std::span<uint8_t> out) {
  constexpr uint8_t kNonce[kNonceBytes] = {};
  EVP_CIPHER_CTX* context = library_->cipher.get();
  Must(EVP_DecryptInit_ex2(context, library_->aead.get(), key.bytes().data(), kNonce, nullptr) == 1,
       "ChaCha20-Poly1305");
  const bool genuine = OpenWith(context, associated, sealed, out);
  library_->ForgetKey();
  return genuine;
}

// ChaCha20's block function is HChaCha20's rounds plus the state they began with (RFC 8439 section
// 2.3), and of that the words that are the output's are known: constants and nonce.
Secret Primitives::HChaCha20(const Secret& key, std::span<const uint8_t, 16> nonce) {
  constexpr uint8_t kConstants[] = {'e', 'x', 'p', 'a', 'n', 'd', ' ', '3',
                                    '2', '-', 'b', 'y', 't', 'e', ' ', 'k'};
  std::array<uint8_t, kBlockBytes> block = {};
  int written = 0;
  EVP_CIPHER_CTX* context = library_->cipher.get();
  // The library's "IV" is the block counter and the nonce: the state's last row, as it is here.
  const bool done =
      EVP_EncryptInit_ex2(context, library_->chacha20.get(), key.bytes().data(), nonce.data(),
                          nullptr) == 1 &&
      EVP_EncryptUpdate(context, block.data(), &written, block.data(), Int(block.size())) == 1;
  library_->ForgetKey();
  Must(done, "ChaCha20");
  Secret out;
  for (size_t at = 0; at < 16; at += 4) {
    StoreLe32(&out.bytes()[at], LoadLe32(&block[at]) - LoadLe32(&kConstants[at]));
    StoreLe32(&out.bytes()[16 + at], LoadLe32(&block[48 + at]) - LoadLe32(&nonce[at]));
  }
  Erase(block.data(), block.size());
  return out;
}

namespace {

constexpr uint64_t kOnce = 1;  ///< the id of a key that is forgotten after its use

uint64_t RestOfNonce(const ExtendedNonce& nonce) { return LoadLe64(&nonce[16]); }

}  // namespace

void Primitives::SealExtended(const Secret& key, const ExtendedNonce& nonce, Bytes associated,
                              Bytes plaintext, std::span<uint8_t> out) {
  const Secret inner = HChaCha20(key, std::span(nonce).first<16>());
  const bool done =
      library_->extended.Seal(inner, kOnce, RestOfNonce(nonce), associated, plaintext, out);
  library_->extended.ForgetKeys();
  Must(done, "ChaCha20-Poly1305");
}

bool Primitives::OpenExtended(const Secret& key, const ExtendedNonce& nonce, Bytes associated,
                              Bytes sealed, std::span<uint8_t> out) {
  const Secret inner = HChaCha20(key, std::span(nonce).first<16>());
  const bool genuine =
      library_->extended.Open(inner, kOnce, RestOfNonce(nonce), associated, sealed, out);
  library_->extended.ForgetKeys();
  return genuine;
}

}  // namespace qpip::wireguard
