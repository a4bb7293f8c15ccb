// Fragment headers, and which parts of a packet have arrived.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <vector>

#include "protocols/ipv6/fragment.h"

namespace qpip::ipv6 {
namespace {

using enum FragmentVerdict;

struct FragmentMapTest : ::testing::Test {
  FragmentMap map;
  FragmentVerdict Add(uint32_t offset, uint32_t length, bool more) {
    return AddFragment(map, offset, length, more);
  }
};

TEST(Ipv6FragmentTest, GivenAHeaderWhenEmittedThenBytesAreThoseOfRfc8200) {
  std::array<uint8_t, kFragmentHeaderBytes> out;
  Emit(FragmentHeader{17, 1448, true, 0x01020304}, out);
  EXPECT_EQ(out, (std::array<uint8_t, 8>{17, 0, 0x05, 0xa9, 1, 2, 3, 4}));
  Emit(FragmentHeader{58, 65528, false, 0xffffffff}, out);
  EXPECT_EQ(out, (std::array<uint8_t, 8>{58, 0, 0xff, 0xf8, 255, 255, 255, 255}));
}

TEST_F(FragmentMapTest, GivenFragmentsInOrderWhenTheLastArrivesThenComplete) {
  EXPECT_EQ(Add(0, 1448, true), kTaken);
  EXPECT_FALSE(map.Complete());
  EXPECT_EQ(Add(1448, 1448, true), kTaken);
  EXPECT_EQ(Add(2896, 5, false), kTaken);
  EXPECT_TRUE(map.Complete());
  EXPECT_EQ(map.length, 2901u);
}

TEST_F(FragmentMapTest, GivenFragmentsInAnyOrderWhenAllAreHereThenCompleteAndNotBefore) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    struct Piece {
      uint32_t offset, length;
    };
    std::vector<Piece> pieces;
    const uint32_t total = 1 + random() % 65535;
    for (uint32_t at = 0; at < total;) {
      const uint32_t length = std::min(total - at, 8 * (1 + static_cast<uint32_t>(random()) % 300));
      pieces.push_back({at, length});
      at += length;
    }
    std::shuffle(pieces.begin(), pieces.end(), random);
    map = FragmentMap{};
    for (size_t i = 0; i < pieces.size(); ++i) {
      ASSERT_FALSE(map.Complete());
      const auto [offset, length] = pieces[i];
      ASSERT_EQ(Add(offset, length, offset + length < total), kTaken);
      const auto [again, bytes] = pieces[random() % (i + 1)];
      ASSERT_EQ(Add(again, bytes, again + bytes < total), kDuplicate);
    }
    ASSERT_TRUE(map.Complete());
    ASSERT_EQ(map.length, total);
  }
}

TEST_F(FragmentMapTest, GivenAFragmentWhenAnotherCoversPartOfItThenOverlap) {
  for (const auto& [offset, length] : std::vector<std::pair<uint32_t, uint32_t>>{
           {64, 8}, {64, 72}, {56, 16}, {72, 8}, {120, 8}, {120, 16}, {64, 56}, {0, 512}}) {
    map = FragmentMap{};
    ASSERT_EQ(Add(64, 64, true), kTaken);
    EXPECT_EQ(Add(offset, length, true), kOverlap) << offset << " " << length;
  }
}

TEST_F(FragmentMapTest, GivenTwoNeighboursWhenOneFragmentIsBothThenOverlapNotDuplicate) {
  Add(0, 256, true);
  Add(256, 256, true);
  EXPECT_EQ(Add(0, 512, true), kOverlap);
  EXPECT_EQ(Add(0, 256, true), kDuplicate);
  EXPECT_EQ(Add(256, 256, true), kDuplicate);
}

TEST_F(FragmentMapTest, GivenTheLastFragmentWhenOthersContradictItsEndThenOverlap) {
  ASSERT_EQ(Add(80, 13, false), kTaken);
  EXPECT_EQ(Add(80, 13, false), kDuplicate);
  EXPECT_EQ(Add(80, 14, false), kOverlap);
  EXPECT_EQ(Add(80, 16, true), kOverlap);
  EXPECT_EQ(Add(96, 8, true), kOverlap);   // beyond the end
  EXPECT_EQ(Add(72, 8, false), kOverlap);  // another last
  map = FragmentMap{};
  ASSERT_EQ(Add(80, 16, true), kTaken);
  EXPECT_EQ(Add(80, 16, false), kOverlap);  // the same place, but the last
  EXPECT_EQ(Add(0, 8, false), kOverlap);    // something is behind it
}

TEST_F(FragmentMapTest, GivenTheLargestPacketWhenItsEndsArriveThenNothingIsTouchedBehind) {
  ASSERT_EQ(Add(65528, 7, false), kTaken);
  ASSERT_EQ(Add(0, 65528, true), kTaken);
  EXPECT_TRUE(map.Complete());
  EXPECT_EQ(Add(65528, 7, false), kDuplicate);
  map = FragmentMap{};
  ASSERT_EQ(Add(65528, 8, true), kTaken);
  EXPECT_EQ(Add(65528, 8, true), kDuplicate);
}

}  // namespace
}  // namespace qpip::ipv6
