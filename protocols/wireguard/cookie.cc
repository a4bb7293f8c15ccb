#include "protocols/wireguard/cookie.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "protocols/common/byte_order.h"

namespace qpip::wireguard {
namespace {

constexpr uint64_t kTokenNs = 1'000'000'000 / RateLimiter::kPerSecond;

Bytes Label(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

MacKeys MakeMacKeys(Primitives& primitives, const PublicKey& receiver) {
  MacKeys keys;
  keys.mac1 = primitives.Hash({Label("mac1----"), receiver});
  keys.cookie = Secret(primitives.Hash({Label("cookie--"), receiver}));
  return keys;
}

// --- CookieChecker

CookieChecker::CookieChecker(Primitives& primitives, const PublicKey& self)
    : primitives_(primitives), keys_(MakeMacKeys(primitives, self)) {}

void CookieChecker::Renew(const Secret& fresh, uint64_t now_ns) {
  secret_ = fresh;
  has_secret_ = true;
  secret_born_ns_ = now_ns;
}

MacValue CookieChecker::CookieFor(const Endpoint& from) {
  const size_t length = from.family == Endpoint::Family::kIpv4 ? 4 : from.address.size();
  uint8_t port[2];
  StoreBe16(port, from.port);
  return primitives_.Mac(secret_.bytes(), {Bytes(from.address).first(length), port});
}

MacVerdict CookieChecker::Check(Bytes message, const Endpoint& from) {
  const MacValue mac1 = primitives_.Mac(keys_.mac1, {CoveredByMac1(message)});
  if (!ConstantTimeEqual(mac1, Mac1Of(message))) return MacVerdict::kForged;
  if (!has_secret_) return MacVerdict::kNoCookie;
  const MacValue mac2 = primitives_.Mac(CookieFor(from), {CoveredByMac2(message)});
  return ConstantTimeEqual(mac2, Mac2Of(message)) ? MacVerdict::kCookie : MacVerdict::kNoCookie;
}

CookieReply CookieChecker::Reply(Bytes message, const Endpoint& from, const ExtendedNonce& nonce) {
  CookieReply reply;
  reply.receiver = FirstIndex(message);
  reply.nonce = nonce;
  primitives_.SealExtended(keys_.cookie, nonce, Mac1Of(message), CookieFor(from),
                           reply.sealed_cookie);
  return reply;
}

// --- CookieJar

CookieJar::CookieJar(Primitives& primitives, const PublicKey& peer)
    : primitives_(primitives), keys_(MakeMacKeys(primitives, peer)) {}

void CookieJar::AddMacs(std::span<uint8_t> message, uint64_t cookie_age_ns, uint64_t now_ns) {
  last_mac1_ = primitives_.Mac(keys_.mac1, {CoveredByMac1(message)});
  awaits_reply_ = true;
  std::memcpy(message.data() + message.size() - kMacsBytes, last_mac1_.data(), kMacBytes);
  MacValue mac2 = {};
  if (has_cookie_ && now_ns - cookie_born_ns_ < cookie_age_ns) {
    mac2 = primitives_.Mac(cookie_, {CoveredByMac2(message)});
  }
  std::memcpy(message.data() + message.size() - kMacBytes, mac2.data(), kMacBytes);
}

bool CookieJar::Take(const CookieReply& reply, uint64_t now_ns) {
  MacValue cookie;
  if (!awaits_reply_ || !primitives_.OpenExtended(keys_.cookie, reply.nonce, last_mac1_,
                                                  reply.sealed_cookie, cookie)) {
    return false;
  }
  cookie_ = cookie;
  has_cookie_ = true;
  cookie_born_ns_ = now_ns;
  awaits_reply_ = false;
  return true;
}

// --- RateLimiter

bool RateLimiter::Allow(const Endpoint& from, uint64_t now_ns) {
  std::array<uint8_t, 9> source = {};
  source[0] = static_cast<uint8_t>(from.family);
  const size_t prefix = from.family == Endpoint::Family::kIpv4 ? 4 : 8;
  std::memcpy(&source[1], from.address.data(), prefix);
  const uint64_t start = SipHash24(key_, source);
  Entry* place = nullptr;
  for (uint32_t i = 0; i < kWindow; ++i) {
    Entry& entry = entries_[(start + i) % kEntries];
    if (entry.source == source) {
      place = &entry;
      break;
    }
    if (place == nullptr || entry.heard_ns < place->heard_ns) place = &entry;
  }
  if (place->source != source) {
    *place = {.source = source, .tokens_ns = kBurst * kTokenNs, .heard_ns = now_ns};
  }
  place->tokens_ns =
      std::min<uint64_t>(kBurst * kTokenNs, place->tokens_ns + (now_ns - place->heard_ns));
  place->heard_ns = now_ns;
  if (place->tokens_ns < kTokenNs) return false;
  place->tokens_ns -= kTokenNs;
  return true;
}

}  // namespace qpip::wireguard
