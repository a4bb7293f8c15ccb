// WireGuard's constants of time and number (its paper, section 6.1). Tests shorten them.
#pragma once

#include <cstdint>

namespace qpip::wireguard {

inline constexpr uint64_t kSecondNs = 1'000'000'000;
/// "Not at any time".
inline constexpr uint64_t kNever = UINT64_MAX;

struct Timing {
  uint64_t rekey_after_messages = uint64_t{1} << 60;
  uint64_t reject_after_messages = UINT64_MAX - (uint64_t{1} << 13);  ///< 2^64 - 2^13 - 1
  uint64_t rekey_after_ns = 120 * kSecondNs;
  uint64_t reject_after_ns = 180 * kSecondNs;
  uint64_t rekey_attempt_ns = 90 * kSecondNs;
  uint64_t rekey_timeout_ns = 5 * kSecondNs;
  uint64_t rekey_jitter_ns = kSecondNs / 3;  ///< up to so much is added to rekey_timeout_ns
  uint64_t keepalive_timeout_ns = 10 * kSecondNs;
  uint64_t cookie_secret_ns = 120 * kSecondNs;
  /// A peer's cookie is not used any more so long before its secret's time is over.
  uint64_t cookie_latency_ns = 5 * kSecondNs;
  /// Handshakes are taken at most so often from one peer.
  uint64_t initiation_gap_ns = kSecondNs / 50;
  /// Handshakes with a right mac1 that are taken without a cookie: in one go, and a second.
  uint32_t handshake_burst = 64;
  uint32_t handshakes_per_second = 128;
  /// The same of those that bring a cookie under load, from all sources: two X25519 each, some
  /// tenth of a core.
  uint32_t proven_burst = 128;
  uint32_t proven_per_second = 1024;
  /// How long more than that counts as load.
  uint64_t load_lasts_ns = kSecondNs;
};

}  // namespace qpip::wireguard
