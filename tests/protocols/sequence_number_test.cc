// Sequence arithmetic at the places where it goes wrong: both sides of the wrap.
#include "protocols/tcp/sequence_number.h"

#include <gtest/gtest.h>

namespace qpip::tcp {
namespace {

constexpr SequenceNumber kLast(0xffffffffu);
constexpr SequenceNumber kZero(0);

TEST(SequenceNumberTest, GivenTheLastNumberWhenOneIsAddedThenItWrapsToZero) {
  EXPECT_EQ(kLast + 1, kZero);
  EXPECT_EQ(kZero - 1, kLast);
  SequenceNumber sequence(0xfffffff0u);
  sequence += 0x20;
  EXPECT_EQ(sequence.value(), 0x10u);
}

TEST(SequenceNumberTest, GivenNumbersOnBothSidesOfTheWrapWhenComparedThenTheLaterIsAfter) {
  EXPECT_TRUE(kLast.Before(kZero));
  EXPECT_FALSE(kZero.Before(kLast));
  EXPECT_TRUE(kZero.After(kLast));
  EXPECT_TRUE(kLast.AtOrBefore(kZero));
  EXPECT_FALSE(kLast.AtOrAfter(kZero));
  EXPECT_TRUE(SequenceNumber(0x7fffff00u).After(SequenceNumber(0xffffff01u)));
}

TEST(SequenceNumberTest, GivenNumbersOnBothSidesOfTheSignBitWhenComparedThenOrderIsKept) {
  EXPECT_TRUE(SequenceNumber(0x7fffffffu).Before(SequenceNumber(0x80000000u)));
  EXPECT_FALSE(SequenceNumber(0x80000000u).Before(SequenceNumber(0x7fffffffu)));
}

TEST(SequenceNumberTest, GivenTheSameNumberWhenComparedThenNeitherIsBefore) {
  for (const uint32_t value : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    const SequenceNumber a(value);
    EXPECT_FALSE(a.Before(a));
    EXPECT_FALSE(a.After(a));
    EXPECT_TRUE(a.AtOrBefore(a));
    EXPECT_TRUE(a.AtOrAfter(a));
  }
}

TEST(SequenceNumberTest, GivenAnyStartWhenLessThanHalfTheSpaceApartThenOrderIsTotal) {
  for (const uint32_t start : {0u, 5u, 0x7ffffff0u, 0x80000000u, 0xfffffff0u}) {
    for (const uint32_t distance : {1u, 2u, 0xffffu, 0x10000u, 0x7ffffffeu, 0x7fffffffu}) {
      const SequenceNumber a(start);
      const SequenceNumber b = a + distance;
      EXPECT_TRUE(a.Before(b)) << start << " + " << distance;
      EXPECT_FALSE(b.Before(a)) << start << " + " << distance;
      EXPECT_EQ(a.DistanceTo(b), distance);
      EXPECT_EQ(b - distance, a);
      EXPECT_EQ(Max(a, b), b);
      EXPECT_EQ(Max(b, a), b);
    }
  }
}

TEST(SequenceNumberTest, GivenAWindowAcrossTheWrapWhenAskedThenExactlyItsNumbersAreIn) {
  const SequenceNumber start(0xfffffffeu);
  EXPECT_FALSE(SequenceNumber(0xfffffffdu).InWindow(start, 4));
  EXPECT_TRUE(SequenceNumber(0xfffffffeu).InWindow(start, 4));
  EXPECT_TRUE(SequenceNumber(0xffffffffu).InWindow(start, 4));
  EXPECT_TRUE(SequenceNumber(0).InWindow(start, 4));
  EXPECT_TRUE(SequenceNumber(1).InWindow(start, 4));
  EXPECT_FALSE(SequenceNumber(2).InWindow(start, 4));
}

TEST(SequenceNumberTest, GivenAnEmptyWindowWhenAskedThenNothingIsIn) {
  EXPECT_FALSE(kZero.InWindow(kZero, 0));
  EXPECT_FALSE(kLast.InWindow(kZero, 0));
}

TEST(SequenceNumberTest, GivenADistanceBackwardsWhenTakenThenItIsModuloTheSpace) {
  EXPECT_EQ(kZero.DistanceTo(kLast), 0xffffffffu);
  EXPECT_EQ(kLast.DistanceTo(kZero), 1u);
}

}  // namespace
}  // namespace qpip::tcp
