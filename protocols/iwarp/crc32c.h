// CRC32C (Castagnoli), as MPA and iSCSI compute it (RFC 5044 section 4.4, RFC 3720 section 12.1 and
// appendix B.4).
//
// On hosts ISA-L does the work where it was there at build time; everywhere else, the bare core
// included, it is done by table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::iwarp {

inline constexpr size_t kCrcBytes = 4;

/// The CRC of `bytes` behind those that `crc` is of; 0: behind none. So sums of parts are chained:
/// Crc32c(b, Crc32c(a)) is that of a and b.
uint32_t Crc32c(std::span<const uint8_t> bytes, uint32_t crc = 0);

/// As it travels: its first byte on the wire is the lowest of the number.
constexpr void StoreCrc(uint8_t* p, uint32_t crc) {
  p[0] = static_cast<uint8_t>(crc);
  p[1] = static_cast<uint8_t>(crc >> 8);
  p[2] = static_cast<uint8_t>(crc >> 16);
  p[3] = static_cast<uint8_t>(crc >> 24);
}
constexpr uint32_t LoadCrc(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 |
         static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24;
}

}  // namespace qpip::iwarp
