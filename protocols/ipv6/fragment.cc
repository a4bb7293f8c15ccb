#include "protocols/ipv6/fragment.h"

#include "protocols/common/byte_order.h"

namespace qpip::ipv6 {
namespace {

constexpr uint32_t kWordBits = 32;

/// Bits [from, to) of one word, 0 <= from < to <= 32.
constexpr uint32_t Mask(uint32_t from, uint32_t to) {
  const uint32_t below = to == kWordBits ? ~uint32_t{0} : (uint32_t{1} << to) - 1;
  return below & ~((uint32_t{1} << from) - 1);
}

/// Calls visit(word index, mask) for the words that units [first, end) lie in.
template <typename Visit>
void ForWords(uint32_t first, uint32_t end, Visit visit) {
  for (uint32_t at = first; at < end;) {
    const uint32_t word = at / kWordBits;
    const uint32_t word_end = (word + 1) * kWordBits < end ? (word + 1) * kWordBits : end;
    visit(word, Mask(at % kWordBits, word_end - word * kWordBits));
    at = word_end;
  }
}

bool Test(const uint32_t* words, uint32_t unit) {
  return (words[unit / kWordBits] >> (unit % kWordBits) & 1) != 0;
}
void Set(uint32_t* words, uint32_t unit) {
  words[unit / kWordBits] |= uint32_t{1} << (unit % kWordBits);
}

/// Whether units [first, end), which hold something, are those of one earlier fragment.
bool IsOneFragment(const FragmentMap& map, uint32_t first, uint32_t end) {
  bool whole = Test(map.starts, first);
  ForWords(first, end, [&](uint32_t word, uint32_t mask) {
    whole = whole && (map.present[word] & mask) == mask;
  });
  if (first + 1 < end) {
    ForWords(first + 1, end, [&](uint32_t word, uint32_t mask) {
      whole = whole && (map.starts[word] & mask) == 0;
    });
  }
  const bool goes_on =
      end < FragmentMap::kWords * kWordBits && Test(map.present, end) && !Test(map.starts, end);
  return whole && !goes_on;
}

/// Whether a fragment that ends at `end` fits what the others say of the packet's length.
bool FitsLength(const FragmentMap& map, uint32_t end, bool more) {
  if (map.length != FragmentMap::kUnknown) return more ? end < map.length : end == map.length;
  if (more) return true;
  bool beyond = false;
  const uint32_t units = (end + kFragmentUnit - 1) / kFragmentUnit;
  ForWords(units, FragmentMap::kWords * kWordBits, [&](uint32_t word, uint32_t mask) {
    beyond = beyond || (map.present[word] & mask) != 0;
  });
  return !beyond;
}

}  // namespace

void Emit(const FragmentHeader& header, std::span<uint8_t, kFragmentHeaderBytes> out) {
  uint8_t* p = out.data();
  p[0] = header.next_header;
  p[1] = 0;
  StoreBe16(p + 2, static_cast<uint16_t>(header.offset | (header.more ? 1u : 0u)));
  StoreBe32(p + 4, header.identification);
}

FragmentVerdict AddFragment(FragmentMap& map, uint32_t offset, uint32_t length, bool more) {
  const uint32_t end = offset + length;
  if (!FitsLength(map, end, more)) return FragmentVerdict::kOverlap;
  const uint32_t first = offset / kFragmentUnit;
  const uint32_t last = (end + kFragmentUnit - 1) / kFragmentUnit;
  bool any = false;
  ForWords(first, last,
           [&](uint32_t word, uint32_t mask) { any = any || (map.present[word] & mask) != 0; });
  if (any) {
    // A last fragment that was here before had told the length.
    const bool same = (more || map.length == end) && IsOneFragment(map, first, last);
    return same ? FragmentVerdict::kDuplicate : FragmentVerdict::kOverlap;
  }
  ForWords(first, last, [&](uint32_t word, uint32_t mask) { map.present[word] |= mask; });
  Set(map.starts, first);
  map.received += length;
  if (!more) map.length = end;
  return FragmentVerdict::kTaken;
}

}  // namespace qpip::ipv6
