// Fragments: the header's codec, and which parts of a fragmented packet have arrived (RFC 8200
// section 4.5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::ipv6 {

inline constexpr size_t kFragmentHeaderBytes = 8;
inline constexpr uint32_t kFragmentUnit = 8;  ///< offsets, and lengths of all but the last

/// A Fragment header to send.
struct FragmentHeader {
  uint8_t next_header = 0;      ///< of the fragmentable part
  uint32_t offset = 0;          ///< bytes, a multiple of 8, at most 65528
  bool more = false;            ///< further fragments follow
  uint32_t identification = 0;  ///< not predictable (RFC 7739)
};
void Emit(const FragmentHeader& header, std::span<uint8_t, kFragmentHeaderBytes> out);

/// Which units of 8 bytes of the fragmentable part are here, and where fragments begin: enough to
/// tell an exact duplicate from an overlap, however many fragments there are.
struct FragmentMap {
  static constexpr uint32_t kMaxBytes = 65536;
  static constexpr uint32_t kWords = kMaxBytes / kFragmentUnit / 32;
  static constexpr uint32_t kUnknown = 0xffffffffu;

  uint32_t length = kUnknown;  ///< of the fragmentable part: known with the last fragment
  uint32_t received = 0;       ///< bytes here
  uint32_t present[kWords] = {};
  uint32_t starts[kWords] = {};

  constexpr bool Complete() const { return received == length; }
};

enum class FragmentVerdict : uint8_t {
  kTaken = 0,      ///< new
  kDuplicate = 1,  ///< has arrived before, exactly so: may be ignored
  kOverlap = 2,    ///< overlaps others, or contradicts them on the length: the packet is given up
};

/// Notes a fragment of `length` bytes, not 0, at `offset`, a multiple of 8; `length` is one as well
/// if `more` are said to follow, and the end is at most kMaxBytes.
FragmentVerdict AddFragment(FragmentMap& map, uint32_t offset, uint32_t length, bool more);

}  // namespace qpip::ipv6
