// DDP header codec (RFC 5041 section 4): what stands at the beginning of every ULPDU.
//
//     tagged    | T L 0000 DV | ULP | STag 32 | TO 64 |
//     untagged  | T L 0000 DV | ULP | ULP 32  | QN 32 | MSN 32 | MO 32 |
//
// The octet and the word for the upper layer are RDMAP's control field and Invalidate STag
// (rdmap.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::iwarp {

namespace offset {  // bytes from the start of the header
inline constexpr size_t kDdpControl = 0;
inline constexpr size_t kUlpControl = 1;
inline constexpr size_t kStag = 2;
inline constexpr size_t kTaggedOffset = 6;
inline constexpr size_t kUlpWord = 2;
inline constexpr size_t kQueue = 6;
inline constexpr size_t kMessageSequence = 10;
inline constexpr size_t kMessageOffset = 14;
}  // namespace offset

inline constexpr size_t kTaggedBytes = 14;
inline constexpr size_t kUntaggedBytes = 18;
inline constexpr uint8_t kDdpVersion = 1;

/// Bits of the control octet.
inline constexpr uint8_t kDdpTagged = 0x80;
inline constexpr uint8_t kDdpLast = 0x40;
inline constexpr uint8_t kDdpVersionMask = 0x03;

/// Why a header was refused.
enum class DdpError : uint8_t {
  kNone = 0,
  kTooShort,    ///< fewer bytes than the header has
  kBadVersion,  ///< not kDdpVersion; the fields are filled in all the same
};
const char* DdpErrorName(DdpError error);

/// A header as plain values, host byte order.
struct DdpHeader {
  bool tagged = false;
  bool last = false;              ///< of its message's segments
  uint8_t version = kDdpVersion;  ///< 0 to 3
  uint8_t ulp_control = 0;        ///< RDMAP's control field
  // Tagged.
  uint32_t stag = 0;
  uint64_t tagged_offset = 0;
  // Untagged.
  uint32_t ulp_word = 0;          ///< RDMAP's Invalidate STag
  uint32_t queue = 0;             ///< QN
  uint32_t message_sequence = 0;  ///< MSN, modulo 2^32; a queue's first is 1
  uint32_t message_offset = 0;    ///< MO, bytes

  bool operator==(const DdpHeader&) const = default;
};

/// Bytes of a header whose first octet is `control`.
constexpr size_t DdpHeaderBytes(uint8_t control) {
  return (control & kDdpTagged) != 0 ? kTaggedBytes : kUntaggedBytes;
}
constexpr size_t DdpHeaderBytes(const DdpHeader& header) {
  return header.tagged ? kTaggedBytes : kUntaggedBytes;
}

/// Parses the header at the start of `bytes`. Reserved bits are not looked at (4.1).
DdpError ParseDdp(std::span<const uint8_t> bytes, DdpHeader* header);
/// Writes DdpHeaderBytes(header) bytes and returns that number; `out` must hold them.
size_t EmitDdp(const DdpHeader& header, std::span<uint8_t> out);

}  // namespace qpip::iwarp
