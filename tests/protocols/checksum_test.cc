#include "protocols/common/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <random>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum_words.h"

namespace qpip {
namespace {

/// RFC 1071 section 4.1 to the letter: one 16-bit word at a time.
uint16_t NaiveSum(std::span<const uint8_t> bytes, uint32_t initial = 0) {
  uint64_t sum = initial;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<uint32_t>(bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0));
  }
  while (sum >> 16 != 0) {
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(sum);
}

/// The 32-bit core's loops, in network order.
uint16_t NarrowSum(std::span<const uint8_t> bytes) {
  const uint16_t sum = checksum::Summer<uint32_t>::Sum(bytes.data(), bytes.size());
  return std::endian::native == std::endian::little ? checksum::SwapBytes(sum) : sum;
}

std::vector<uint8_t> RandomBytes(size_t size, std::mt19937* random) {
  std::vector<uint8_t> bytes(size);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<uint8_t>((*random)()); });
  return bytes;
}

TEST(ChecksumTest, GivenTheExampleOfRfc1071WhenSummedThenItIsDdf2) {
  const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(ChecksumAdd(bytes), 0xddf2);
}

TEST(ChecksumTest, GivenNothingWhenSummedThenOnlyTheInitialValueIsThere) {
  EXPECT_EQ(ChecksumAdd({}), 0);
  EXPECT_EQ(ChecksumAdd({}, 0x1234), 0x1234);
  EXPECT_EQ(ChecksumAdd({}, 0x1fffe), 0xffff);
  EXPECT_EQ(ChecksumAdd({}, 0xffffffff), 0xffff);
}

TEST(ChecksumTest, GivenAnOddByteWhenSummedThenItIsTheHighByteOfAWord) {
  const uint8_t bytes[] = {0xab};
  EXPECT_EQ(ChecksumAdd(bytes), 0xab00);
}

TEST(ChecksumTest, GivenEveryShortLengthAndAlignmentWhenSummedThenItIsTheNaiveSum) {
  std::mt19937 random(1);
  const std::vector<uint8_t> bytes = RandomBytes(320, &random);
  for (size_t start = 0; start < 32; ++start) {
    for (size_t size = 0; size + start <= bytes.size(); ++size) {
      const std::span<const uint8_t> part = std::span(bytes).subspan(start, size);
      ASSERT_EQ(ChecksumAdd(part), NaiveSum(part)) << "start " << start << " size " << size;
      ASSERT_EQ(NarrowSum(part), NaiveSum(part)) << "start " << start << " size " << size;
    }
  }
}

TEST(ChecksumTest, GivenRandomLongLengthsWhenSummedThenItIsTheNaiveSum) {
  std::mt19937 random(2);
  const std::vector<uint8_t> bytes = RandomBytes(300000, &random);
  for (int round = 0; round < 200; ++round) {
    const size_t start = random() % 64;
    const size_t size = random() % (bytes.size() - start);
    const uint32_t initial = random();
    const std::span<const uint8_t> part = std::span(bytes).subspan(start, size);
    ASSERT_EQ(ChecksumAdd(part, initial), NaiveSum(part, initial)) << start << " " << size;
    ASSERT_EQ(NarrowSum(part), NaiveSum(part)) << start << " " << size;
  }
}

TEST(ChecksumTest, GivenAllOnesWhenEveryCarryHappensThenTheSumIsStillRight) {
  const std::vector<uint8_t> bytes(3 * checksum::kChunkBytes + 7, 0xff);
  for (const size_t size : {checksum::kChunkBytes - 1, checksum::kChunkBytes,
                            checksum::kChunkBytes + 1, bytes.size()}) {
    for (size_t start = 0; start < 8 && start < bytes.size() - size + 1; ++start) {
      const std::span<const uint8_t> part = std::span(bytes).subspan(start, size);
      EXPECT_EQ(ChecksumAdd(part), NaiveSum(part)) << size;
      EXPECT_EQ(NarrowSum(part), NaiveSum(part)) << size;
    }
  }
}

TEST(ChecksumTest, GivenAllZeroesWhenSummedThenTheSumIsZeroAndNotItsOtherForm) {
  const std::vector<uint8_t> bytes(1000);
  EXPECT_EQ(ChecksumAdd(bytes), 0);
}

TEST(ChecksumTest, GivenAPacketInPiecesWhenSumsAreCombinedThenTheyMakeTheWhole) {
  std::mt19937 random(3);
  const std::vector<uint8_t> bytes = RandomBytes(257, &random);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const uint16_t first = ChecksumAdd(std::span(bytes).first(cut));
    const uint16_t rest = ChecksumAdd(std::span(bytes).subspan(cut));
    EXPECT_EQ(ChecksumCombine(first, ChecksumAtOffset(rest, cut)), ChecksumAdd(bytes)) << cut;
  }
}

TEST(ChecksumTest, GivenAWholeSumWhenAPieceIsTakenOutThenTheRestRemains) {
  std::mt19937 random(4);
  const std::vector<uint8_t> bytes = RandomBytes(64, &random);
  const uint16_t first = ChecksumAdd(std::span(bytes).first(20));
  const uint16_t rest = ChecksumAdd(std::span(bytes).subspan(20));
  const uint16_t difference = ChecksumSubtract(ChecksumAdd(bytes), first);
  // Zero has two forms in one's complement; these random bytes do not sum to it.
  ASSERT_NE(rest, 0xffff);
  EXPECT_EQ(difference, rest);
}

TEST(ChecksumTest, GivenAPseudoHeaderWhenSummedThenItIsTheSumOfItsBytes) {
  std::mt19937 random(5);
  for (int round = 0; round < 100; ++round) {
    // RFC 8200 section 8.1: source, destination, length (32 bits), zero (24 bits), next header.
    std::vector<uint8_t> bytes = RandomBytes(40, &random);
    bytes[36] = bytes[37] = bytes[38] = 0;
    ipv6::Address source;
    ipv6::Address destination;
    std::copy_n(bytes.begin(), 16, source.bytes);
    std::copy_n(bytes.begin() + 16, 16, destination.bytes);
    ASSERT_EQ(PseudoHeaderSum(source, destination, LoadBe32(&bytes[32]), bytes[39]),
              NaiveSum(bytes));
  }
}

}  // namespace
}  // namespace qpip
