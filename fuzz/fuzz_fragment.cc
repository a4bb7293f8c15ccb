// Reassembly's bookkeeping against a plain model: a list of the fragments taken. Any sequence of
// fragments gets the model's verdict, and the packet is complete when the model says so.
#include <memory>

#include "property.h"
#include "protocols/ipv6/fragment.h"

namespace {

using namespace qpip::ipv6;

struct Piece {
  uint32_t offset, end;
  bool more;
};

FragmentVerdict Expected(const std::vector<Piece>& taken, const Piece& piece) {
  const auto units = [](uint32_t bytes) { return (bytes + 7) / 8; };
  bool duplicate = false;
  for (const Piece& other : taken) {
    if (!other.more && (piece.more ? piece.end >= other.end : piece.end != other.end)) {
      return FragmentVerdict::kOverlap;
    }
    if (!piece.more && other.end > units(piece.end) * 8) return FragmentVerdict::kOverlap;
    const bool apart = units(piece.end) <= other.offset / 8 || units(other.end) <= piece.offset / 8;
    if (apart) continue;
    if (piece.offset != other.offset || piece.end != other.end || piece.more != other.more) {
      return FragmentVerdict::kOverlap;
    }
    duplicate = true;
  }
  return duplicate ? FragmentVerdict::kDuplicate : FragmentVerdict::kTaken;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto map = std::make_unique<FragmentMap>();
  std::vector<Piece> taken;
  uint32_t bytes = 0;
  for (; size >= 5 && taken.size() < 64; data += 5, size -= 5) {
    Piece piece;
    piece.offset = (data[0] | uint32_t{data[1]} << 8) & 0xfff8u;
    piece.more = (data[4] & 1) != 0;
    uint32_t length = 1 + (data[2] | uint32_t{data[3]} << 8);
    if (piece.more) length = (length + 7) & ~7u;
    if (piece.offset + length > FragmentMap::kMaxBytes) continue;
    piece.end = piece.offset + length;
    const FragmentVerdict expected = Expected(taken, piece);
    QPIP_FUZZ_CHECK(AddFragment(*map, piece.offset, length, piece.more) == expected);
    if (expected == FragmentVerdict::kTaken) {
      taken.push_back(piece);
      bytes += length;
    }
    QPIP_FUZZ_CHECK(map->received == bytes);
    uint32_t end = FragmentMap::kUnknown;
    for (const Piece& other : taken) end = other.more ? end : other.end;
    QPIP_FUZZ_CHECK(map->length == end && map->Complete() == (bytes == end));
  }
  return 0;
}
