#include "protocols/common/checksum.h"

#include <bit>
#include <type_traits>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum_words.h"

namespace qpip {
namespace {

using CoreWord = std::conditional_t<sizeof(void*) == 8, uint64_t, uint32_t>;

}  // namespace

uint16_t ChecksumAdd(std::span<const uint8_t> bytes, uint32_t initial) {
  const uint16_t sum = checksum::Summer<CoreWord>::Sum(bytes.data(), bytes.size());
  const uint16_t network =
      std::endian::native == std::endian::little ? checksum::SwapBytes(sum) : sum;
  return checksum::Fold(uint64_t{network} + initial);
}

uint16_t PseudoHeaderSum(const ipv6::Address& source, const ipv6::Address& destination,
                         uint32_t upper_layer_length, uint8_t next_header) {
  uint32_t sum = (upper_layer_length >> 16) + (upper_layer_length & 0xffffu) + next_header;
  for (size_t i = 0; i < sizeof(source.bytes); i += 2) {
    sum += LoadBe16(source.bytes + i);
    sum += LoadBe16(destination.bytes + i);
  }
  return checksum::Fold(sum);
}

}  // namespace qpip
