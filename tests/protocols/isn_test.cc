#include "protocols/tcp/isn.h"

#include <gtest/gtest.h>

#include <vector>

namespace qpip::tcp {
namespace {

FourTuple Template() {
  FourTuple tuple;
  tuple.local_address.bytes[15] = 1;
  tuple.remote_address.bytes[15] = 2;
  tuple.local_port = 1000;
  tuple.remote_port = 2000;
  return tuple;
}

/// The template with one field changed, for each field.
std::vector<FourTuple> Neighbours() {
  std::vector<FourTuple> tuples(5, Template());
  tuples[0].local_address.bytes[0] = 1;
  tuples[1].remote_address.bytes[0] = 1;
  tuples[2].local_port = 1001;
  tuples[3].remote_port = 2001;
  std::swap(tuples[4].local_port, tuples[4].remote_port);
  return tuples;
}

constexpr SipHashKey kKey = {0x1122334455667788, 0x99aabbccddeeff00};

TEST(IsnTest, GivenOneTupleWhenTimePassesThenTheNumberAdvancesByATickPer4096Nanoseconds) {
  const SequenceNumber first = InitialSequenceNumber(Template(), kKey, 0);
  EXPECT_EQ(InitialSequenceNumber(Template(), kKey, 4095), first);
  EXPECT_EQ(InitialSequenceNumber(Template(), kKey, 4096), first + 1);
  EXPECT_EQ(InitialSequenceNumber(Template(), kKey, uint64_t{4096} * 1000000), first + 1000000);
}

TEST(IsnTest, GivenTheClockWrapsWhenAskedThenTheNumberGoesOn) {
  const uint64_t wrap_ns = uint64_t{4096} << 32;
  const SequenceNumber before = InitialSequenceNumber(Template(), kKey, wrap_ns - 1);
  EXPECT_EQ(InitialSequenceNumber(Template(), kKey, wrap_ns), before + 1);
}

TEST(IsnTest, GivenAnotherTupleWhenAskedThenNumberAndOffsetDiffer) {
  for (const FourTuple& other : Neighbours()) {
    EXPECT_NE(InitialSequenceNumber(other, kKey, 0), InitialSequenceNumber(Template(), kKey, 0));
    EXPECT_NE(TimestampOffset(other, kKey), TimestampOffset(Template(), kKey));
  }
}

TEST(IsnTest, GivenAnotherKeyWhenAskedThenNumberAndOffsetDiffer) {
  const SipHashKey other = {kKey.k0 ^ 1, kKey.k1};
  EXPECT_NE(InitialSequenceNumber(Template(), other, 0),
            InitialSequenceNumber(Template(), kKey, 0));
  EXPECT_NE(TimestampOffset(Template(), other), TimestampOffset(Template(), kKey));
}

TEST(IsnTest, GivenOneKeyWhenBothAreMadeThenTheOffsetDoesNotTellTheNumber) {
  EXPECT_NE(TimestampOffset(Template(), kKey), InitialSequenceNumber(Template(), kKey, 0).value());
}

TEST(IsnTest, GivenTheSameTupleWhenAskedAgainThenTheOffsetIsTheSame) {
  EXPECT_EQ(TimestampOffset(Template(), kKey), TimestampOffset(Template(), kKey));
}

}  // namespace
}  // namespace qpip::tcp
