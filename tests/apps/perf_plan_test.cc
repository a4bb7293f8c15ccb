#include <gtest/gtest.h>

#include "apps/perf/plan.h"

namespace qpip::apps {
namespace {

PlanMessage AMessage() {
  return {{.operation = Operation::kRead,
           .measure = Measure::kBandwidth,
           .verify = true,
           .bytes = 4097,
           .depth = 17,
           .rounds = 0x123456789ab},
          {.address = 0xfedcba9876543210, .key = 0x12345678}};
}

TEST(PerfPlanTest, GivenAPlanWhenEncodedAndDecodedThenTheSame) {
  for (const Operation operation : kOperations) {
    PlanMessage message = AMessage();
    message.plan.operation = operation;
    std::string why;
    const auto decoded = DecodePlan(Encode(message), &why);
    ASSERT_TRUE(decoded) << why;
    EXPECT_EQ(decoded->plan, message.plan);
    EXPECT_EQ(decoded->window, message.window);
  }
  EXPECT_EQ(DecodeWindow(Encode(AMessage().window)), AMessage().window);
}

TEST(PerfPlanTest, GivenBytesThatAreNoPlanWhenDecodedThenRefused) {
  const std::vector<std::byte> good = Encode(AMessage());
  std::string why;
  for (size_t bytes = 0; bytes < good.size(); ++bytes) {
    EXPECT_FALSE(DecodePlan(std::span(good).first(bytes), &why)) << bytes;
  }
  for (const size_t at : {0u, 4u}) {  // magic, version
    std::vector<std::byte> other = good;
    other[at] ^= std::byte{1};
    why.clear();
    EXPECT_FALSE(DecodePlan(other, &why)) << at;
    EXPECT_EQ(why, "not asked by a qpip-perf of this version");
  }
  EXPECT_FALSE(DecodeWindow(good));
}

TEST(PerfPlanTest, GivenATestThatThereIsNotWhenDecodedThenRefused) {
  const std::vector<std::byte> good = Encode(AMessage());
  for (const size_t at : {5u, 6u}) {  // operation, measure
    std::vector<std::byte> other = good;
    other[at] = std::byte{4};
    std::string why;
    EXPECT_FALSE(DecodePlan(other, &why));
    EXPECT_EQ(why, "a test that there is not");
  }
}

TEST(PerfPlanTest, GivenMoreMemoryThanThereIsToHaveWhenDecodedThenRefused) {
  const auto decoded = [](uint32_t bytes, uint32_t depth) {
    PlanMessage message = AMessage();
    message.plan.bytes = bytes;
    message.plan.depth = depth;
    std::string why;
    return DecodePlan(Encode(message), &why).has_value();
  };
  EXPECT_TRUE(decoded(kMaxPerfBytes, 1));
  EXPECT_FALSE(decoded(kMaxPerfBytes + 1, 1));
  EXPECT_FALSE(decoded(kMaxPerfBytes, 3));  // over kMaxPerfMemory
  EXPECT_FALSE(decoded(0, 1));
  EXPECT_FALSE(decoded(1, 0));
  EXPECT_FALSE(decoded(1, kMaxPerfDepth + 1));
}

TEST(PerfPlanTest, GivenSendsWhenBuffersAreCountedThenReceivesForTwiceTheDepth) {
  Plan plan = AMessage().plan;
  EXPECT_EQ(Slots(plan), 17u);
  EXPECT_EQ(SlotBytes(plan), 4160u);
  plan.operation = Operation::kSend;
  EXPECT_EQ(Slots(plan), 34u);
  EXPECT_EQ(BufferBytes(plan), 34u * 4160);
}

}  // namespace
}  // namespace qpip::apps
