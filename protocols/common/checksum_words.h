// The Internet checksum at memory speed, in plain C++: the loops behind checksum.h.
//
// A one's complement sum of 16-bit words is the integer sum of the same bytes taken as longer
// words, reduced modulo 2^16 - 1 (RFC 1071 section 2): add whole machine words and fold at the end.
// What costs is the carry. Instead of catching it, each lane keeps two sums that wrap: `all` of the
// words, and `high` of their upper halves. `high` cannot overflow within kChunkBytes, and the sum
// of the lower halves is then exactly all - (high << half), whatever was lost from `all`. That is
// one load, one shift and two additions a word, with no compare and no shuffle: on a 64-bit host
// the words are GNU vectors of two, which every compiler turns into the baseline vector unit's
// code.
//
// It also does not matter in which byte order words are added (RFC 1071 section 2 (B)): words are
// added as loaded ("memory order"), and the folded sum is swapped once.
//
// The word is a template parameter so that the tests on a 64-bit host reach the 32-bit core's path.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace qpip::checksum {

/// A sum of this many bytes' half words fits a word, on a 32-bit core too.
inline constexpr size_t kChunkBytes = size_t{1} << 16;

/// Reduces modulo 2^16 - 1, zero only for zero.
constexpr uint16_t Fold(uint64_t sum) {
  sum = (sum >> 32) + (sum & 0xffffffffu);
  sum = (sum >> 32) + (sum & 0xffffffffu);
  uint32_t folded = static_cast<uint32_t>(sum);
  folded = (folded >> 16) + (folded & 0xffffu);
  folded = (folded >> 16) + (folded & 0xffffu);
  return static_cast<uint16_t>(folded);
}

constexpr uint16_t SwapBytes(uint16_t sum) { return static_cast<uint16_t>(sum << 8 | sum >> 8); }

/// Two bytes as they lie in memory, on any alignment.
constexpr uint32_t LoadPair(uint8_t first, uint8_t second) {
  return std::endian::native == std::endian::little ? static_cast<uint32_t>(second) << 8 | first
                                                    : static_cast<uint32_t>(first) << 8 | second;
}

typedef uint64_t WordPair __attribute__((vector_size(16)));

struct Lane {
  WordPair all = {};
  WordPair high = {};

  void Add(const uint8_t* p) {
    WordPair words;
    __builtin_memcpy(&words, p, sizeof(words));
    all += words;
    high += words >> 32;
  }
};

inline constexpr size_t kBlockBytes = 4 * sizeof(WordPair);

/// The sum over one type of machine word.
template <typename Word>
struct Summer {
  static constexpr unsigned kHalfBits = sizeof(Word) * 4;
  /// 32-bit cores of the kind QPIP targets fault on, or take many loads for, an unaligned word.
  static constexpr bool kAlignFirst = sizeof(Word) == 4;

  /// A word as it lies in memory. The builtin, since a freestanding memcpy would be a call.
  static Word LoadWord(const uint8_t* p) {
    Word word;
    if constexpr (kAlignFirst) {
      __builtin_memcpy(&word, __builtin_assume_aligned(p, sizeof(Word)), sizeof(word));
    } else {
      __builtin_memcpy(&word, p, sizeof(word));
    }
    return word;
  }

  /// Sum of the halves of words whose wrapped sum is `all` and whose upper halves sum to `high`.
  static constexpr uint64_t SumOfHalves(Word all, Word high) {
    return uint64_t{high} + static_cast<Word>(all - (high << kHalfBits));
  }

  /// At most kChunkBytes of whole words.
  static uint64_t SumWords(const uint8_t* p, size_t words) {
    Word all = 0;
    Word high = 0;
    for (; words > 0; --words, p += sizeof(Word)) {
      const Word word = LoadWord(p);
      all += word;
      high += word >> kHalfBits;
    }
    return SumOfHalves(all, high);
  }

  /// At most kChunkBytes of whole blocks. Four lanes hide the additions' latency; they have names
  /// because a loop over an array of lanes would keep them in memory at -O2.
  static uint64_t SumBlocks(const uint8_t* p, size_t blocks) {
    Lane lane0, lane1, lane2, lane3;
    for (; blocks > 0; --blocks, p += kBlockBytes) {
      lane0.Add(p);
      lane1.Add(p + sizeof(WordPair));
      lane2.Add(p + 2 * sizeof(WordPair));
      lane3.Add(p + 3 * sizeof(WordPair));
    }
    const WordPair all = lane0.all + lane1.all + lane2.all + lane3.all;
    const WordPair high = lane0.high + lane1.high + lane2.high + lane3.high;
    return SumOfHalves(all[0], high[0]) + SumOfHalves(all[1], high[1]);
  }

  /// At most kChunkBytes, a whole number of words.
  static uint64_t SumChunk(const uint8_t* p, size_t size) {
    uint64_t sum = 0;
    if constexpr (sizeof(Word) == 8) {
      const size_t blocks = size / kBlockBytes;
      if (blocks > 0) {
        sum = Fold(SumBlocks(p, blocks));
        p += blocks * kBlockBytes;
        size %= kBlockBytes;
      }
    }
    return sum + SumWords(p, size / sizeof(Word));
  }

  /// Folded sum in memory order of bytes that start on a word where kAlignFirst.
  static uint16_t SumAligned(const uint8_t* p, size_t size) {
    uint64_t sum = 0;
    while (size >= sizeof(Word)) {
      const size_t chunk = (size < kChunkBytes ? size : kChunkBytes) & ~(sizeof(Word) - 1);
      sum += Fold(SumChunk(p, chunk));
      p += chunk;
      size -= chunk;
    }
    for (; size >= 2; p += 2, size -= 2) {
      sum += LoadPair(p[0], p[1]);
    }
    if (size != 0) {
      sum += LoadPair(p[0], 0);
    }
    return Fold(sum);
  }

  /// Folded sum in memory order, any alignment.
  static uint16_t Sum(const uint8_t* p, size_t size) {
    const size_t misaligned = kAlignFirst ? reinterpret_cast<uintptr_t>(p) % sizeof(Word) : 0;
    if (misaligned == 0) {
      return SumAligned(p, size);
    }
    size_t head = sizeof(Word) - misaligned;
    if (head > size) {
      head = size;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < head; ++i) {
      sum += (i & 1) == 0 ? LoadPair(p[i], 0) : LoadPair(0, p[i]);
    }
    // Behind an odd head, words are out of step by one byte: their sum is swapped (RFC 1071 (B)).
    const uint16_t rest = SumAligned(p + head, size - head);
    return Fold(sum + ((head & 1) != 0 ? SwapBytes(rest) : rest));
  }
};

}  // namespace qpip::checksum
