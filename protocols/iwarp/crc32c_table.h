// CRC32C by table, in plain C++: what crc32c.h does where there is no library for it.
//
// With one table of 256 words (1 KiB) a byte at a time; with more, a byte of each of several places
// at once: table k holds what a byte does to the sum k bytes later ("slicing", Kounavis and Berry
// 2005). The number is a template parameter, so that a host's tests reach the bare core's path.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::iwarp {

inline constexpr uint32_t kCrcPolynomial = 0x82f63b78;  ///< 0x1edc6f41, lowest bit first

template <size_t kSlices>
using CrcTables = std::array<std::array<uint32_t, 256>, kSlices>;

template <size_t kSlices>
constexpr CrcTables<kSlices> MakeCrcTables() {
  CrcTables<kSlices> tables = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t sum = byte;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? kCrcPolynomial : 0);
    tables[0][byte] = sum;
  }
  for (size_t slice = 1; slice < kSlices; ++slice) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[slice - 1][byte];
      tables[slice][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

template <size_t kSlices>
inline constexpr CrcTables<kSlices> kCrcTables = MakeCrcTables<kSlices>();

/// As Crc32c, by `kSlices` tables: 1 or 8.
template <size_t kSlices>
constexpr uint32_t Crc32cByTable(std::span<const uint8_t> bytes, uint32_t crc) {
  static_assert(kSlices == 1 || kSlices == 8);
  const auto& tables = kCrcTables<kSlices>;
  uint32_t sum = ~crc;
  const uint8_t* p = bytes.data();
  size_t left = bytes.size();
  if constexpr (kSlices == 8) {
    for (; left >= 8; left -= 8, p += 8) {
      const uint32_t low =
          sum ^ (static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 |
                 static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24);
      sum = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
            tables[4][low >> 24] ^ tables[3][p[4]] ^ tables[2][p[5]] ^ tables[1][p[6]] ^
            tables[0][p[7]];
    }
  }
  for (; left != 0; --left, ++p) sum = (sum >> 8) ^ tables[0][(sum ^ *p) & 0xff];
  return ~sum;
}

}  // namespace qpip::iwarp
