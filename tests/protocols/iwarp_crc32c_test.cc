// CRC32C: the vectors of RFC 3720 B.4, and all ways of computing it against the definition.
#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <vector>

#include "protocols/iwarp/crc32c.h"
#include "protocols/iwarp/crc32c_table.h"

namespace qpip::iwarp {
namespace {

using ByteVector = std::vector<uint8_t>;

/// A division by the polynomial, bit by bit.
uint32_t ByDefinition(std::span<const uint8_t> bytes) {
  uint32_t sum = 0xffffffffu;
  for (const uint8_t byte : bytes) {
    sum ^= byte;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0x82f63b78u : 0);
  }
  return ~sum;
}

/// As Rfc3720 prints it: the bytes in the order in which they are sent.
ByteVector OnTheWire(std::span<const uint8_t> bytes) {
  ByteVector out(kCrcBytes);
  StoreCrc(out.data(), Crc32c(bytes));
  return out;
}

TEST(IwarpCrc32cTest, GivenTheVectorsOfRfc3720WhenComputedThenTheirSums) {
  EXPECT_EQ(OnTheWire(ByteVector(32, 0)), (ByteVector{0xaa, 0x36, 0x91, 0x8a}));
  EXPECT_EQ(OnTheWire(ByteVector(32, 0xff)), (ByteVector{0x43, 0xab, 0xa8, 0x62}));
  ByteVector up(32);
  std::iota(up.begin(), up.end(), 0);
  EXPECT_EQ(OnTheWire(up), (ByteVector{0x4e, 0x79, 0xdd, 0x46}));
  const ByteVector down(up.rbegin(), up.rend());
  EXPECT_EQ(OnTheWire(down), (ByteVector{0x5c, 0xdb, 0x3f, 0x11}));
  const ByteVector read_command = {0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                   0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00,
                                   0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00,
                                   0x00, 0x18, 0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                   0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  EXPECT_EQ(OnTheWire(read_command), (ByteVector{0x56, 0x3a, 0x96, 0xd9}));
}

TEST(IwarpCrc32cTest, GivenAnySizeAndAlignmentWhenComputedThenAsDefined) {
  std::mt19937 random(1);
  ByteVector data(600);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  for (size_t at = 0; at < 9; ++at) {
    for (size_t size = 0; size < 520; size += 1 + random() % 7) {
      const std::span<const uint8_t> bytes(&data[at], size);
      const uint32_t expected = ByDefinition(bytes);
      ASSERT_EQ(Crc32c(bytes), expected) << at << " " << size;
      ASSERT_EQ(Crc32cByTable<1>(bytes, 0), expected) << at << " " << size;
      ASSERT_EQ(Crc32cByTable<8>(bytes, 0), expected) << at << " " << size;
    }
  }
}

TEST(IwarpCrc32cTest, GivenPartsWhenChainedThenTheSumOfTheWhole) {
  std::mt19937 random(2);
  ByteVector data(300);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  const std::span<const uint8_t> all(data);
  for (size_t cut = 0; cut <= data.size(); ++cut) {
    ASSERT_EQ(Crc32c(all.subspan(cut), Crc32c(all.first(cut))), Crc32c(all));
    ASSERT_EQ(Crc32cByTable<1>(all.subspan(cut), Crc32cByTable<8>(all.first(cut), 0)), Crc32c(all));
  }
}

TEST(IwarpCrc32cTest, GivenNoBytesWhenComputedThenTheSumIsAsBefore) {
  EXPECT_EQ(Crc32c({}), 0u);
  EXPECT_EQ(Crc32c({}, 0x12345678), 0x12345678u);
}

TEST(IwarpCrc32cTest, GivenASumWhenStoredAndLoadedThenTheSame) {
  uint8_t bytes[4];
  StoreCrc(bytes, 0x8a9136aau);
  EXPECT_EQ(bytes[0], 0xaa);
  EXPECT_EQ(bytes[3], 0x8a);
  EXPECT_EQ(LoadCrc(bytes), 0x8a9136aau);
}

}  // namespace
}  // namespace qpip::iwarp
