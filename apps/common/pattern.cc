#include "apps/common/pattern.h"

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

constexpr size_t kWordBytes = sizeof(uint64_t);

/// A range as the part before the first whole word, whole words, and the rest.
struct Split {
  size_t head;
  size_t words;
  size_t tail;
};

Split SplitAt(uint64_t position, size_t bytes) {
  const size_t head = std::min<size_t>(bytes, (kWordBytes - position % kWordBytes) % kWordBytes);
  return {head, (bytes - head) / kWordBytes, (bytes - head) % kWordBytes};
}

/// Copies a part of the word that holds `position`.
void FillPart(uint64_t position, std::span<uint8_t> out) {
  if (out.empty()) return;
  const uint64_t word = Word(position / kWordBytes);
  std::memcpy(out.data(), reinterpret_cast<const uint8_t*>(&word) + position % kWordBytes,
              out.size());
}

/// The slow way to the first wrong byte, once it is known that there is one.
std::optional<uint64_t> Locate(uint64_t position, std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) {
    uint8_t expected = 0;
    FillPart(position, {&expected, 1});
    if (byte != expected) return position;
    ++position;
  }
  return std::nullopt;
}

}  // namespace

void FillPattern(uint64_t position, std::span<uint8_t> out) {
  const Split split = SplitAt(position, out.size());
  FillPart(position, out.first(split.head));
  const uint64_t first_word = (position + split.head) / kWordBytes;
  uint8_t* const body = out.data() + split.head;
  for (size_t i = 0; i < split.words; ++i) {
    const uint64_t word = Word(first_word + i);
    std::memcpy(body + i * kWordBytes, &word, kWordBytes);
  }
  FillPart((first_word + split.words) * kWordBytes, out.last(split.tail));
}

std::optional<uint64_t> FindPatternError(uint64_t position, std::span<const uint8_t> bytes) {
  const Split split = SplitAt(position, bytes.size());
  const uint64_t first_word = (position + split.head) / kWordBytes;
  const uint8_t* const body = bytes.data() + split.head;
  uint64_t differences = 0;
  for (size_t i = 0; i < split.words; ++i) {
    uint64_t word = 0;
    std::memcpy(&word, body + i * kWordBytes, kWordBytes);
    differences |= word ^ Word(first_word + i);
  }
  if (differences != 0) return Locate(position, bytes);
  if (const auto error = Locate(position, bytes.first(split.head))) return error;
  return Locate(position + bytes.size() - split.tail, bytes.last(split.tail));
}

}  // namespace qpip::apps
