#include "apps/ttcp/pattern.h"

#include <algorithm>
#include <cstring>

namespace qpip::apps {

namespace {

/// Eight bytes of the pattern, from position 8 * index (the mixer of SplitMix64, whose output
/// differs in every bit between neighbours, so that shifted or repeated data is found).
uint64_t Word(uint64_t index) {
  uint64_t z = (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// Calls fn(word, offset in the word, offset in the range, length) for the words of a range.
template <typename Function>
void ForEachWord(uint64_t position, size_t bytes, Function fn) {
  for (size_t done = 0; done < bytes;) {
    const uint64_t word = Word((position + done) / sizeof(uint64_t));
    const size_t skip = (position + done) % sizeof(uint64_t);
    const size_t length = std::min(sizeof(uint64_t) - skip, bytes - done);
    if (!fn(word, skip, done, length)) return;
    done += length;
  }
}

}  // namespace

void FillPattern(uint64_t position, std::span<uint8_t> out) {
  ForEachWord(position, out.size(), [&](uint64_t word, size_t skip, size_t at, size_t length) {
    std::memcpy(out.data() + at, reinterpret_cast<const uint8_t*>(&word) + skip, length);
    return true;
  });
}

std::optional<uint64_t> FindPatternError(uint64_t position, std::span<const uint8_t> bytes) {
  std::optional<uint64_t> error;
  ForEachWord(position, bytes.size(), [&](uint64_t word, size_t skip, size_t at, size_t length) {
    const uint8_t* const expected = reinterpret_cast<const uint8_t*>(&word) + skip;
    if (std::memcmp(bytes.data() + at, expected, length) == 0) return true;
    size_t same = 0;
    while (bytes[at + same] == expected[same]) ++same;
    error = position + at + same;
    return false;
  });
  return error;
}

}  // namespace qpip::apps
