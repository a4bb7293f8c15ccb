// Frames on both fabrics: order, bytes, full rings, turns, what has no route or is too large.
#include <algorithm>

#include "wire_fabric.h"

namespace qpip::wire::test {
namespace {

class FabricFrames : public FabricTest {};

INSTANTIATE_TEST_SUITE_P(Kinds, FabricFrames, kFabricKinds,
                         [](const auto& tested) { return tested.param.name; });

TEST_P(FabricFrames, GivenTwoPortsWhenFramesAreSentThenTheyArriveInOrderAndUnchanged) {
  auto a = Open(1);
  auto b = Open(2);
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 40 + i, i)), SendResult::kSent);
  }
  InFrame frame;
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(b->Receive(&frame));
    EXPECT_EQ(frame.length, 40 + i);
    EXPECT_EQ(Content(frame), MakeFrame(Address(2), 40 + i, i));
    b->Release(frame);
  }
  EXPECT_FALSE(b->Receive(&frame));
}

TEST_P(FabricFrames, GivenManyLapsWhenSizesAndReleaseOrderAreRandomThenEveryByteArrives) {
  auto a = Open(1);
  auto b = Open(2);
  std::mt19937_64 random(7);
  constexpr uint64_t kFrames = 2000;  // 65 MB: about 60 laps of the ring
  uint64_t sent = 0;
  uint64_t received = 0;
  std::vector<size_t> sizes;
  std::vector<InFrame> borrowed;
  while (received < kFrames) {
    while (sent < kFrames) {
      if (sizes.size() == sent) {
        const size_t largest = random() % 4 == 0 ? a->mtu() : 300;
        sizes.push_back(41 + random() % (largest - 40));
      }
      if (SendBytes(a.get(), MakeFrame(Address(2), sizes[sent], sent)) != SendResult::kSent) break;
      ++sent;
    }
    InFrame frame;
    while (borrowed.size() < 64 && b->Receive(&frame)) {
      ASSERT_EQ(frame.length, sizes[received]);
      ASSERT_EQ(Content(frame), MakeFrame(Address(2), sizes[received], received));
      ++received;
      borrowed.push_back(frame);
    }
    std::shuffle(borrowed.begin(), borrowed.end(), random);
    const size_t keep = received == kFrames ? 0 : borrowed.size() / 4;
    while (borrowed.size() > keep) {
      b->Release(borrowed.back());
      borrowed.pop_back();
    }
  }
  EXPECT_EQ(sent, kFrames);
}

TEST_P(FabricFrames, GivenAReceiverThatDoesNotReadWhenTheRingFillsThenBusyUntilItDoes) {
  auto a = Open(1);
  auto b = Open(2);
  const Bytes bytes = MakeFrame(Address(2), 9000, 1);
  uint64_t sent = 0;
  while (SendBytes(a.get(), bytes) == SendResult::kSent) {
    ASSERT_LT(++sent, 10000u);
  }
  EXPECT_GT(sent, 50u);
  EXPECT_EQ(SendBytes(a.get(), bytes), SendResult::kBusy);

  InFrame frame;
  std::vector<InFrame> borrowed;
  while (borrowed.size() < 64 && b->Receive(&frame)) borrowed.push_back(frame);
  EXPECT_EQ(SendBytes(a.get(), bytes), SendResult::kBusy) << "borrowed frames take their room";
  for (const InFrame& each : borrowed) b->Release(each);
  EXPECT_EQ(SendBytes(a.get(), bytes), SendResult::kSent);
  EXPECT_GT(Counter(*a, "sends_busy"), 0u);
}

TEST_P(FabricFrames, GivenThreeSourcesWhenAllHaveFramesThenTheyTakeTurns) {
  auto sink = Open(9);
  std::vector<std::unique_ptr<Wire>> sources;
  for (uint8_t i = 0; i < 3; ++i) {
    sources.push_back(Open(static_cast<uint8_t>(i + 1)));
    for (int n = 0; n < 10; ++n) SendBytes(sources[i].get(), MakeFrame(Address(9), 40, i));
  }
  for (int turn = 0; turn < 10; ++turn) {
    std::vector<Bytes> seen;
    for (int i = 0; i < 3; ++i) {
      InFrame frame;
      ASSERT_TRUE(sink->Receive(&frame));
      seen.push_back(Content(frame));
      sink->Release(frame);
    }
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end()) << "turn " << turn;
  }
}

TEST_P(FabricFrames, GivenOnePortWhenItSendsToItselfThenItReceives) {
  auto a = Open(1);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(1), 500, 3)), SendResult::kSent);
  InFrame frame;
  ASSERT_TRUE(a->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(1), 500, 3));
  a->Release(frame);
}

TEST_P(FabricFrames, GivenNobodyWithTheAddressWhenSendingThenNoRoute) {
  auto a = Open(1);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 40, 0)), SendResult::kNoRoute);
  auto b = Open(2);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 40, 0)), SendResult::kSent);
}

TEST_P(FabricFrames, GivenDifferentMtusWhenAFrameIsTooLargeThenItIsRefusedOrDroppedAndCounted) {
  FabricOptions small = Options(fabric_, 2);
  small.mtu = 1280;
  auto a = Open(1);
  auto b = Open(small);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 1281, 1)), SendResult::kSent);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 1280, 2)), SendResult::kSent);
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(frame.length, 1280u);
  b->Release(frame);
  EXPECT_EQ(Counter(*b, "oversize_dropped"), 1u);
  EXPECT_EQ(SendBytes(b.get(), MakeFrame(Address(1), 1281, 1)), SendResult::kNoRoute);
  EXPECT_EQ(Counter(*b, "sends_refused"), 1u);
}

}  // namespace
}  // namespace qpip::wire::test
