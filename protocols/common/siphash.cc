#include "protocols/common/siphash.h"

#include <bit>
#include <cstddef>

namespace qpip {
namespace {

struct State {
  uint64_t v0, v1, v2, v3;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }

  void Compress(uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
};

/// Up to eight bytes, first byte lowest.
uint64_t LoadLittleEndian(const uint8_t* bytes, size_t count) {
  uint64_t word = 0;
  for (size_t i = 0; i < count; ++i) {
    word |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  }
  return word;
}

}  // namespace

uint64_t SipHash24(const SipHashKey& key, std::span<const uint8_t> bytes) {
  State state = {
      .v0 = key.k0 ^ 0x736f6d6570736575,
      .v1 = key.k1 ^ 0x646f72616e646f6d,
      .v2 = key.k0 ^ 0x6c7967656e657261,
      .v3 = key.k1 ^ 0x7465646279746573,
  };
  const uint8_t* p = bytes.data();
  size_t rest = bytes.size();
  for (; rest >= 8; p += 8, rest -= 8) {
    state.Compress(LoadLittleEndian(p, 8));
  }
  state.Compress(LoadLittleEndian(p, rest) | static_cast<uint64_t>(bytes.size()) << 56);
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) {
    state.Round();
  }
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace qpip
