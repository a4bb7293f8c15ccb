#include "protocols/iwarp/crc32c.h"

#if QPIP_ISAL
// ISA-L, whose header is C's of before `const`: this function alone is wanted.
extern "C" unsigned int crc32_iscsi(unsigned char* buffer, int length, unsigned int sum);
#else
#include "protocols/iwarp/crc32c_table.h"
#endif

namespace qpip::iwarp {

uint32_t Crc32c(std::span<const uint8_t> bytes, uint32_t crc) {
#if QPIP_ISAL
  constexpr size_t kMost = size_t{1} << 30;
  uint32_t sum = ~crc;
  while (!bytes.empty()) {
    const std::span<const uint8_t> part = bytes.first(bytes.size() < kMost ? bytes.size() : kMost);
    sum = crc32_iscsi(const_cast<uint8_t*>(part.data()), static_cast<int>(part.size()), sum);
    bytes = bytes.subspan(part.size());
  }
  return ~sum;
#elif __STDC_HOSTED__
  return Crc32cByTable<8>(bytes, crc);
#else
  return Crc32cByTable<1>(bytes, crc);
#endif
}

}  // namespace qpip::iwarp
