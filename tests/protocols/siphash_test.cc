#include "protocols/common/siphash.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>

namespace qpip {
namespace {

/// Key 00 01 .. 0f, as in the reference implementation's vectors.h.
constexpr SipHashKey kReferenceKey = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

// The reference vectors hash 00 01 02 .. of each length; listed as 64-bit values (vectors.h lists
// their bytes, lowest first).
TEST(SipHashTest, GivenTheReferenceKeyAndInputWhenHashedThenTheReferenceVectorsResult) {
  constexpr uint64_t kVectors[16] = {
      0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
      0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
      0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
      0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
  };
  std::array<uint8_t, 16> input;
  std::iota(input.begin(), input.end(), uint8_t{0});
  for (size_t length = 0; length < 16; ++length) {
    EXPECT_EQ(SipHash24(kReferenceKey, std::span(input).first(length)), kVectors[length])
        << "length " << length;
  }
}

TEST(SipHashTest, GivenTheReferenceKeyWhen63BytesAreHashedThenTheLastReferenceVectorResults) {
  std::array<uint8_t, 63> input;
  std::iota(input.begin(), input.end(), uint8_t{0});
  EXPECT_EQ(SipHash24(kReferenceKey, input), 0x958a324ceb064572u);
}

TEST(SipHashTest, GivenAnotherKeyWhenHashedThenTheHashDiffers) {
  const std::array<uint8_t, 4> input = {1, 2, 3, 4};
  EXPECT_NE(SipHash24({1, 0}, input), SipHash24({0, 0}, input));
  EXPECT_NE(SipHash24({0, 1}, input), SipHash24({0, 0}, input));
}

}  // namespace
}  // namespace qpip
