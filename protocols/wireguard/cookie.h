// mac1, mac2 and cookies: how a host under load makes those who want a handshake prove that they
// own their address before it spends an X25519 on them (WireGuard's paper, sections 5.3, 5.4.4 and
// 5.4.7).
//
//     initiator ── initiation, mac2 = 0 ──────────> responder under load
//               <──── cookie reply: cookie, sealed ──   cookie = Mac(secret, source address and
//               port) ── initiation, mac2 = Mac(cookie, ..) ─>  takes it
//
// Every handshake message has mac1: nobody who does not know the receiver's public key gets an
// answer of any kind.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "protocols/common/siphash.h"
#include "protocols/wireguard/endpoint.h"
#include "protocols/wireguard/message.h"
#include "protocols/wireguard/primitives.h"

namespace qpip::wireguard {

/// For messages to the owner of `receiver`: keys that both can compute.
struct MacKeys {
  HashValue mac1 = {};
  Secret cookie;  ///< seals cookie replies from it; no secret to who knows its public key
};
MacKeys MakeMacKeys(Primitives& primitives, const PublicKey& receiver);

/// A message's macs as its receiver sees them.
enum class MacVerdict : uint8_t {
  kForged,    ///< mac1 is wrong
  kNoCookie,  ///< mac1 is right
  kCookie,    ///< mac2 is, too
};

/// The receiver's side: gives cookies out and checks them.
class CookieChecker {
 public:
  CookieChecker(Primitives& primitives, const PublicKey& self);

  /// Whether the secret that cookies are made of is missing or so old.
  bool IsStale(uint64_t max_age_ns, uint64_t now_ns) const {
    return !has_secret_ || now_ns - secret_born_ns_ >= max_age_ns;
  }
  /// `fresh` is random. All cookies given out so far are worth nothing then.
  void Renew(const Secret& fresh, uint64_t now_ns);
  MacVerdict Check(Bytes message, const Endpoint& from);
  CookieReply Reply(Bytes message, const Endpoint& from, const ExtendedNonce& nonce);

 private:
  MacValue CookieFor(const Endpoint& from);

  Primitives& primitives_;
  const MacKeys keys_;
  Secret secret_;
  bool has_secret_ = false;
  uint64_t secret_born_ns_ = 0;
};

/// The sender's side, one a peer: puts macs on messages and keeps the peer's cookie.
class CookieJar {
 public:
  CookieJar(Primitives& primitives, const PublicKey& peer);

  /// Writes both macs of a handshake message; mac2 is zero without a cookie younger than
  /// `cookie_age_ns`.
  void AddMacs(std::span<uint8_t> message, uint64_t cookie_age_ns, uint64_t now_ns);
  /// False: no message waits for one, or it is not the peer's answer to the last message.
  bool Take(const CookieReply& reply, uint64_t now_ns);

 private:
  Primitives& primitives_;
  MacKeys keys_;
  MacValue last_mac1_ = {};
  bool awaits_reply_ = false;
  MacValue cookie_ = {};
  bool has_cookie_ = false;
  uint64_t cookie_born_ns_ = 0;
};

/// How many handshakes a source address gets under load: a bucket of tokens for each IPv4 address
/// or IPv6 /64. A fixed table: sources that come and go take the places of those unheard of for
/// longest.
class RateLimiter {
 public:
  static constexpr uint32_t kPerSecond = 20;
  static constexpr uint32_t kBurst = 5;

  explicit RateLimiter(const SipHashKey& key) : key_(key), entries_(kEntries) {}
  bool Allow(const Endpoint& from, uint64_t now_ns);

 private:
  static constexpr uint32_t kEntries = 4096;
  static constexpr uint32_t kWindow = 8;  ///< places that a source may take
  struct Entry {
    std::array<uint8_t, 9> source = {};  ///< family and prefix; family 0: free
    uint64_t tokens_ns = 0;              ///< a token is kTokenNs
    uint64_t heard_ns = 0;
  };
  SipHashKey key_;
  std::vector<Entry> entries_;
};

}  // namespace qpip::wireguard
