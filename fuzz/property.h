// What fuzz targets share.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

namespace qpip::fuzz {

/// Stops the fuzzer, which keeps the input, when a property does not hold.
#define QPIP_FUZZ_CHECK(condition)                                                          \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      std::fprintf(stderr, "%s:%d: property failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                         \
    }                                                                                       \
  } while (false)

/// A copy in memory of exactly its size, so that AddressSanitizer sees a read behind the end.
inline std::vector<uint8_t> Exact(std::span<const uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

inline bool SameBytes(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace qpip::fuzz
