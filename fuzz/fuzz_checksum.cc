// Checksums against the word-at-a-time sum, in one piece and in two, on both word sizes.
#include <bit>

#include "property.h"
#include "protocols/common/checksum.h"
#include "protocols/common/checksum_words.h"

namespace {

using qpip::ChecksumAdd;

uint16_t NaiveSum(std::span<const uint8_t> bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += (i & 1) == 0 ? static_cast<uint32_t>(bytes[i]) << 8 : bytes[i];
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(sum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) {
    return 0;
  }
  // The first byte chooses the alignment, the second where the input is cut.
  const size_t skip = data[0] % 16;
  std::vector<uint8_t> storage(skip);
  storage.insert(storage.end(), data + 2, data + size);
  const std::span<const uint8_t> bytes = std::span(storage).subspan(skip);
  const uint16_t sum = ChecksumAdd(bytes);
  QPIP_FUZZ_CHECK(sum == NaiveSum(bytes));

  const uint16_t narrow = qpip::checksum::Summer<uint32_t>::Sum(bytes.data(), bytes.size());
  QPIP_FUZZ_CHECK((std::endian::native == std::endian::little ? qpip::checksum::SwapBytes(narrow)
                                                              : narrow) == sum);

  const size_t cut = bytes.empty() ? 0 : data[1] % bytes.size();
  const uint16_t first = ChecksumAdd(bytes.first(cut));
  const uint16_t rest = qpip::ChecksumAtOffset(ChecksumAdd(bytes.subspan(cut)), cut);
  QPIP_FUZZ_CHECK(qpip::ChecksumCombine(first, rest) == sum);

  // Subtraction undoes addition; 0 and 0xffff are both zero in one's complement.
  const uint16_t without = qpip::ChecksumSubtract(sum, first);
  QPIP_FUZZ_CHECK(without % 0xffff == rest % 0xffff);
  return 0;
}
