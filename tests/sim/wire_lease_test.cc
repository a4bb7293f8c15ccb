// Payload that a frame refers to on both fabrics, how long its lease lasts, and the memory it lies
// in.
#include "wire_fabric.h"

namespace qpip::wire::test {
namespace {

class FabricLeases : public FabricTest {};

INSTANTIATE_TEST_SUITE_P(Kinds, FabricLeases, kFabricKinds,
                         [](const auto& tested) { return tested.param.name; });

TEST_P(FabricLeases, GivenSharedPayloadWhenSentThenTheLeaseLastsUntilRelease) {
  auto a = Open(1);
  auto b = Open(2);
  const SharedPayload payload(a.get(), 16384, 0xa5);
  const Bytes header = MakeFrame(Address(2), 72, 1);
  uint64_t lease = 0;
  ASSERT_EQ(a->Send(payload.Frame(header), &lease), SendResult::kSent);
  EXPECT_NE(lease, 0u);
  EXPECT_TRUE(a->LeasePending(lease));

  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(frame.length, 72u + 16384u);
  EXPECT_GE(frame.pieces[0].iov_len, 256u) << "headers are in the first piece";
  Bytes expected = header;
  expected.resize(72 + 16384, 0xa5);
  EXPECT_EQ(Content(frame), expected);
  EXPECT_TRUE(a->LeasePending(lease));
  b->Release(frame);
  EXPECT_FALSE(a->LeasePending(lease));
  EXPECT_EQ(Counter(*a, "frames_sent_by_reference"), 1u);
}

TEST_P(FabricLeases, GivenTwoLeasesWhenReleasedOutOfOrderThenTheyEndInOrder) {
  auto a = Open(1);
  auto b = Open(2);
  const SharedPayload payload(a.get(), 4096, 1);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  uint64_t first = 0;
  uint64_t second = 0;
  ASSERT_EQ(a->Send(payload.Frame(header), &first), SendResult::kSent);
  ASSERT_EQ(a->Send(payload.Frame(header), &second), SendResult::kSent);
  InFrame one;
  InFrame two;
  ASSERT_TRUE(b->Receive(&one));
  ASSERT_TRUE(b->Receive(&two));
  b->Release(two);
  EXPECT_TRUE(a->LeasePending(first));
  EXPECT_TRUE(a->LeasePending(second));
  b->Release(one);
  EXPECT_FALSE(a->LeasePending(first));
  EXPECT_FALSE(a->LeasePending(second));
}

TEST_P(FabricLeases, GivenManyPiecesWhenReferredToThenTheirBytesArriveInOrder) {
  auto a = Open(1);
  auto b = Open(2);
  auto* memory = static_cast<uint8_t*>(a->AllocateShared(20 * 1000));
  Bytes expected = MakeFrame(Address(2), 60, 1);
  const Bytes header = expected;
  std::vector<iovec> pieces;
  for (uint8_t i = 0; i < 20; ++i) {
    std::memset(memory + i * 1000, i, 1000);
    // Backwards, and of different lengths, some shorter than what is copied, one empty.
    const size_t length = i == 1 ? 0 : i < 5 ? 50 : 700 + i;
    pieces.push_back({memory + (19 - i) * 1000, length});
    expected.insert(expected.end(), length, static_cast<uint8_t>(19 - i));
  }
  for (uint8_t i = 0; i < 20; ++i) std::memset(memory + i * 1000, i, 1000);
  uint64_t lease = 0;
  ASSERT_EQ(a->Send({header, pieces, true}, &lease), SendResult::kSent);
  EXPECT_NE(lease, 0u);
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Content(frame), expected);
  b->Release(frame);
  EXPECT_FALSE(a->LeasePending(lease));
}

TEST_P(FabricLeases, GivenPayloadThatCannotBeReferredToWhenSentThenItIsCopiedWithoutLease) {
  FabricOptions copying = Options(fabric_, 3);
  copying.copy = true;
  auto a = Open(1);
  auto b = Open(2);
  auto c = Open(copying);
  EXPECT_TRUE(a->carries_references());
  EXPECT_FALSE(c->carries_references());
  const Bytes header = MakeFrame(Address(2), 60, 1);
  Bytes local(5000, 7);
  const iovec piece = {local.data(), local.size()};
  const SharedPayload small(a.get(), 200, 7);
  const SharedPayload shared(a.get(), 5000, 7);
  const SharedPayload of_copying(c.get(), 5000, 7);
  OutFrame unstable = shared.Frame(header);
  unstable.payload_stable = false;
  const std::vector<std::pair<Wire*, OutFrame>> cases = {
      {a.get(), {header, {&piece, 1}, true}},  // ordinary memory
      {a.get(), small.Frame(header)},          // not worth a reference
      {a.get(), unstable},                     // about to change
      {c.get(), of_copying.Frame(header)},     // asked not to
  };
  for (const auto& [wire, out] : cases) {
    uint64_t lease = 1;
    ASSERT_EQ(wire->Send(out, &lease), SendResult::kSent);
    EXPECT_EQ(lease, 0u);
    EXPECT_FALSE(wire->LeasePending(lease));
    InFrame frame;
    ASSERT_TRUE(b->Receive(&frame));
    EXPECT_EQ(frame.pieces.size(), 1u);
    EXPECT_EQ(frame.length, 60 + out.payload[0].iov_len);
    b->Release(frame);
  }
}

TEST_P(FabricLeases, GivenAFrameUnderLeaseWhenTheReceiverLeavesThenTheLeaseEnds) {
  auto a = Open(1);
  auto b = Open(2);
  const SharedPayload payload(a.get(), 5000, 7);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  uint64_t lease = 0;
  ASSERT_EQ(a->Send(payload.Frame(header), &lease), SendResult::kSent);
  EXPECT_TRUE(a->LeasePending(lease));
  b.reset();
  InFrame frame;
  ASSERT_TRUE(a->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  EXPECT_EQ(frame.peer, Address(2));
  EXPECT_FALSE(a->LeasePending(lease));
}

TEST_P(FabricLeases, GivenAFullRingWhenItsReaderHasReadNothingForLongThenItIsSaidToBeStopped) {
  constexpr uint64_t kMs = 1'000'000;
  auto a = Open(1);
  auto b = Open(2);
  const Bytes frame = MakeFrame(Address(2), 1200, 1);
  SendResult result = SendResult::kSent;
  while (result == SendResult::kSent) result = SendBytes(a.get(), frame);
  EXPECT_EQ(result, SendResult::kBusy);
  a->Housekeeping(1000 * kMs);
  a->Housekeeping(1100 * kMs);
  EXPECT_EQ(SendBytes(a.get(), frame), SendResult::kBusy);
  a->Housekeeping(1200 * kMs);
  EXPECT_EQ(SendBytes(a.get(), frame), SendResult::kBusy) << "first seen at 1100 ms";
  a->Housekeeping(1400 * kMs);
  EXPECT_EQ(SendBytes(a.get(), frame), SendResult::kStopped);
  InFrame got;
  while (b->Receive(&got)) b->Release(got);
  EXPECT_EQ(SendBytes(a.get(), frame), SendResult::kSent);
}

/// A frame that refers to `payload`, sent by `from` for `owner`; its lease.
uint64_t SendOwned(Wire* from, const SharedPayload& payload, const Bytes& header, uint32_t owner) {
  OutFrame frame = payload.Frame(header);
  frame.owner = owner;
  uint64_t lease = 0;
  EXPECT_EQ(from->Send(frame, &lease), SendResult::kSent);
  return lease;
}

TEST_P(FabricLeases, GivenAnUnreadFrameWhenItsLeaseIsRevokedThenTheReaderFindsItNotIntact) {
  auto a = Open(1);
  auto b = Open(2);
  const SharedPayload payload(a.get(), 5000, 7);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  const uint64_t lease = SendOwned(a.get(), payload, header, 9);
  a->RevokeLeases(lease, 9);
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_TRUE(frame.revocable);
  EXPECT_FALSE(b->Intact(frame));
  b->Release(frame);
  EXPECT_EQ(Counter(*a, "frames_revoked"), 1u);
  EXPECT_EQ(Counter(*b, "frames_taken_back"), 1u);
}

TEST_P(FabricLeases, GivenABorrowedFrameWhenItsLeaseIsRevokedThenTheReaderFindsItNotIntact) {
  auto a = Open(1);
  auto b = Open(2);
  const SharedPayload payload(a.get(), 5000, 7);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  const uint64_t lease = SendOwned(a.get(), payload, header, 9);
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_TRUE(b->Intact(frame));
  a->RevokeLeases(lease, 9);
  EXPECT_FALSE(b->Intact(frame));
  b->Release(frame);
}

TEST_P(FabricLeases, GivenFramesOfSeveralOwnersWhenOnesAreRevokedThenTheOthersAreIntact) {
  auto a = Open(1);
  auto b = Open(2);
  const SharedPayload payload(a.get(), 5000, 7);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  uint64_t last_of_nine = 0;
  // Past the ring's end, so that pads lie between; what has been given back is not looked at.
  for (uint32_t round = 0; round < 3000; ++round) {
    SendOwned(a.get(), payload, header, 9);
    InFrame frame;
    ASSERT_TRUE(b->Receive(&frame));
    b->Release(frame);
  }
  for (uint32_t i = 0; i < 30; ++i) {
    const uint64_t lease = SendOwned(a.get(), payload, header, i % 3 == 0 ? 9 : 8);
    if (i % 3 == 0 && i < 20) last_of_nine = lease;
    uint64_t none = 0;
    ASSERT_EQ(a->Send({header, {}, false}, &none), SendResult::kSent);
  }
  a->RevokeLeases(last_of_nine, 9);
  EXPECT_EQ(Counter(*a, "frames_revoked"), 7u);
  for (uint32_t i = 0; i < 30; ++i) {
    InFrame frame;
    ASSERT_TRUE(b->Receive(&frame));
    EXPECT_EQ(b->Intact(frame), !(i % 3 == 0 && i < 20)) << i;
    b->Release(frame);
    ASSERT_TRUE(b->Receive(&frame));
    EXPECT_FALSE(frame.revocable);
    b->Release(frame);
  }
}

TEST_P(FabricLeases, GivenAReaderThatDoesNotReadWhenHousekeepingLooksThenItIsSaidForHowLong) {
  auto a = Open(1);
  auto b = Open(2);
  const SharedPayload payload(a.get(), 5000, 7);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  constexpr uint64_t kSecond = 1'000'000'000;
  const uint64_t first = SendOwned(a.get(), payload, header, 9);
  const uint64_t second = SendOwned(a.get(), payload, header, 9);
  a->Housekeeping(100 * kSecond);
  EXPECT_EQ(a->LeaseQuietNs(second), 0u);
  a->Housekeeping(101 * kSecond);
  EXPECT_EQ(a->LeaseQuietNs(second), kSecond);
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  b->Release(frame);
  a->Housekeeping(102 * kSecond);
  EXPECT_EQ(a->LeaseQuietNs(second), 0u) << "it has moved on";
  a->Housekeeping(103 * kSecond);
  a->Housekeeping(105 * kSecond);
  EXPECT_EQ(a->LeaseQuietNs(second), 2 * kSecond);
  EXPECT_EQ(a->LeaseQuietNs(first), 0u) << "it is over";
  ASSERT_TRUE(b->Receive(&frame));
  b->Release(frame);
  EXPECT_EQ(a->LeaseQuietNs(second), 0u);
}

TEST_P(FabricLeases, GivenTheAllocatorWhenMemoryIsReusedThenItIsZeroedAndAligned) {
  auto a = Open(1);
  for (const size_t bytes : {1u, 100u, 70000u}) {
    auto* memory = static_cast<uint8_t*>(a->AllocateShared(bytes));
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u);
    EXPECT_EQ(std::count(memory, memory + bytes, 0), static_cast<ptrdiff_t>(bytes));
    std::memset(memory, 0xff, bytes);
    a->FreeShared(memory, bytes);
    auto* again = static_cast<uint8_t*>(a->AllocateShared(bytes));
    EXPECT_EQ(again, memory) << "first fit";
    EXPECT_EQ(std::count(again, again + bytes, 0), static_cast<ptrdiff_t>(bytes));
    a->FreeShared(again, bytes);
  }
  EXPECT_EQ(Counter(*a, "shared_bytes_allocated"), 0u);
  EXPECT_EQ(a->AllocateShared(size_t{1} << 40), nullptr) << "more than there is";
  EXPECT_EQ(a->AllocateShared(0), nullptr);
}

}  // namespace
}  // namespace qpip::wire::test
