// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash that needs no multiplier.
#pragma once

#include <cstdint>
#include <span>

namespace qpip {

struct SipHashKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

/// 64-bit SipHash-2-4 of `bytes` under `key`.
uint64_t SipHash24(const SipHashKey& key, std::span<const uint8_t> bytes);

}  // namespace qpip
