// Both fabrics, several ports in one process. Named given/when/then, as is each test's body.
#include <algorithm>
#include <thread>

#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

using OpenWire = std::unique_ptr<Wire> (*)(const FabricOptions&);

struct Kind {
  const char* name;
  OpenWire open;
  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

class FabricTest : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Wire> Open(uint8_t last_address_byte) {
    return Open(Options(fabric_, last_address_byte));
  }
  std::unique_ptr<Wire> Open(const FabricOptions& options) { return GetParam().open(options); }

  const std::string fabric_ = UniqueName();
};

INSTANTIATE_TEST_SUITE_P(Kinds, FabricTest,
                         testing::Values(Kind{"Memory", &OpenMemoryWire},
                                         Kind{"SharedMemory", &OpenSharedMemoryWire}),
                         [](const auto& tested) { return tested.param.name; });

/// Payload in the sender's shared memory, as a frame that may refer to it.
class SharedPayload {
 public:
  SharedPayload(Wire* wire, size_t bytes, uint8_t fill)
      : wire_(wire), piece_{wire->AllocateShared(bytes), bytes} {
    std::memset(piece_.iov_base, fill, bytes);
  }
  ~SharedPayload() { wire_->FreeShared(piece_.iov_base, piece_.iov_len); }
  OutFrame Frame(const Bytes& header) const { return {header, {&piece_, 1}, true}; }

 private:
  Wire* wire_;
  iovec piece_;
};

// --- Frames

TEST_P(FabricTest, GivenTwoPortsWhenFramesAreSentThenTheyArriveInOrderAndUnchanged) {
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

TEST_P(FabricTest, GivenManyLapsWhenSizesAndReleaseOrderAreRandomThenEveryByteArrives) {
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

TEST_P(FabricTest, GivenAReceiverThatDoesNotReadWhenTheRingFillsThenBusyUntilItDoes) {
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

TEST_P(FabricTest, GivenThreeSourcesWhenAllHaveFramesThenTheyTakeTurns) {
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

TEST_P(FabricTest, GivenOnePortWhenItSendsToItselfThenItReceives) {
  auto a = Open(1);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(1), 500, 3)), SendResult::kSent);
  InFrame frame;
  ASSERT_TRUE(a->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(1), 500, 3));
  a->Release(frame);
}

TEST_P(FabricTest, GivenNobodyWithTheAddressWhenSendingThenNoRoute) {
  auto a = Open(1);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 40, 0)), SendResult::kNoRoute);
  auto b = Open(2);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 40, 0)), SendResult::kSent);
}

TEST_P(FabricTest, GivenDifferentMtusWhenAFrameIsTooLargeThenItIsRefusedOrDroppedAndCounted) {
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

// --- References and leases

TEST_P(FabricTest, GivenSharedPayloadWhenSentThenTheLeaseLastsUntilRelease) {
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

TEST_P(FabricTest, GivenTwoLeasesWhenReleasedOutOfOrderThenTheyEndInOrder) {
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

TEST_P(FabricTest, GivenManyPiecesWhenReferredToThenTheirBytesArriveInOrder) {
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

TEST_P(FabricTest, GivenPayloadThatCannotBeReferredToWhenSentThenItIsCopiedWithoutLease) {
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

TEST_P(FabricTest, GivenAFrameUnderLeaseWhenTheReceiverLeavesThenTheLeaseEnds) {
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

// --- Ports come and go

TEST_P(FabricTest, GivenASenderThatLeavesWhenReceivingThenItsFramesComeBeforeOnePeerDown) {
  auto b = Open(2);
  auto a = Open(1);
  const iovec piece = {a->AllocateShared(5000), 5000};
  std::memset(piece.iov_base, 0x11, piece.iov_len);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  uint64_t lease = 0;
  ASSERT_EQ(a->Send({header, {&piece, 1}, true}, &lease), SendResult::kSent);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 2)), SendResult::kSent);
  InFrame first;
  ASSERT_TRUE(b->Receive(&first));
  a.reset();

  InFrame second;
  ASSERT_TRUE(b->Receive(&second));
  EXPECT_FALSE(second.peer_down);
  EXPECT_EQ(Content(second), MakeFrame(Address(2), 100, 2));
  InFrame event;
  ASSERT_TRUE(b->Receive(&event));
  EXPECT_TRUE(event.peer_down);
  EXPECT_EQ(event.peer, Address(1));
  // Borrowed frames outlive the peer.
  EXPECT_EQ(Content(first).back(), 0x11);
  EXPECT_EQ(Content(first).size(), 5060u);
  b->Release(event);
  b->Release(second);
  b->Release(first);
  EXPECT_FALSE(b->Receive(&event));
}

TEST_P(FabricTest, GivenAPortThatSentAndLeftBeforeItWasNoticedThenItsFramesStillArrive) {
  auto b = Open(2);
  {
    auto a = Open(1);
    ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 77, 5)), SendResult::kSent);
  }
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(2), 77, 5));
  b->Release(frame);
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  EXPECT_FALSE(b->Receive(&frame));
}

TEST_P(FabricTest, GivenAQuickRestartWhenReceivingThenOldFramesPeerDownNewFrames) {
  auto b = Open(2);
  for (int incarnation = 0; incarnation < 3; ++incarnation) {
    auto a = Open(1);
    ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 10 + incarnation)), SendResult::kSent);
  }
  auto last = Open(1);
  ASSERT_EQ(SendBytes(last.get(), MakeFrame(Address(2), 50, 13)), SendResult::kSent);
  InFrame frame;
  for (int incarnation = 0; incarnation < 4; ++incarnation) {
    ASSERT_TRUE(b->Receive(&frame));
    ASSERT_FALSE(frame.peer_down);
    EXPECT_EQ(Content(frame), MakeFrame(Address(2), 50, 10 + incarnation));
    b->Release(frame);
    if (incarnation == 3) break;
    ASSERT_TRUE(b->Receive(&frame));
    EXPECT_TRUE(frame.peer_down);
    EXPECT_EQ(frame.peer, Address(1));
  }
  EXPECT_FALSE(b->Receive(&frame));
}

TEST_P(FabricTest, GivenARestartedReceiverWhenSendingThenPeerDownComesBeforeTheNewRouteWorks) {
  auto a = Open(1);
  auto b = Open(2);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 1)), SendResult::kSent);
  b.reset();
  b = Open(2);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 2)), SendResult::kBusy);
  InFrame frame;
  ASSERT_TRUE(a->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 3)), SendResult::kSent);
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(2), 50, 3)) << "nothing of the predecessor's";
  b->Release(frame);
}

TEST_P(FabricTest, GivenALiveAddressWhenAnotherPortWantsItThenAnErrorSaysSo) {
  auto a = Open(1);
  try {
    Open(1);
    FAIL() << "two ports with one address";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()), "address fd00::1 is in use on fabric " + fabric_ +
                                             " by a live port; choose another with ?address=");
  }
  a.reset();
  EXPECT_NO_THROW(Open(1));
}

TEST_P(FabricTest, GivenSixtyFourPortsWhenOneMoreComesThenTheFabricIsFullAndAllCanTalk) {
  std::vector<std::unique_ptr<Wire>> ports;
  for (uint8_t i = 0; i < 64; ++i) ports.push_back(Open(static_cast<uint8_t>(i + 1)));
  EXPECT_THROW(Open(200), std::runtime_error);
  for (uint8_t i = 1; i < 64; ++i) {
    ASSERT_EQ(SendBytes(ports[i].get(), MakeFrame(Address(1), 60, i)), SendResult::kSent);
  }
  InFrame frame;
  int received = 0;
  while (ports[0]->Receive(&frame)) {
    ++received;
    ports[0]->Release(frame);
  }
  EXPECT_EQ(received, 63);
}

TEST_P(FabricTest, GivenBadOptionsWhenOpeningThenAnErrorNamesThem) {
  FabricOptions options = Options("no/slashes", 1);
  EXPECT_THROW(Open(options), std::runtime_error);
  options = Options(fabric_, 1);
  options.mtu = 1279;
  EXPECT_THROW(Open(options), std::runtime_error);
  options.mtu = 65576;
  EXPECT_THROW(Open(options), std::runtime_error);
  options = Options(fabric_, 1);
  options.address = {};
  EXPECT_THROW(Open(options), std::runtime_error);
  options.address.bytes[0] = 0xff;
  EXPECT_THROW(Open(options), std::runtime_error);
}

TEST_P(FabricTest, GivenTheChecksumOptionWhenOpenedThenTheWireIsNotTrusted) {
  FabricOptions options = Options(fabric_, 1);
  EXPECT_TRUE(Open(options)->trusted());
  options.checksum = true;
  EXPECT_FALSE(Open(options)->trusted());
}

TEST_P(FabricTest, GivenEndsThatDisagreeOnChecksumsWhenFramesAreSentThenEachSaysForItself) {
  FabricOptions options = Options(fabric_, 1);
  auto plain = Open(options);
  options = Options(fabric_, 2);
  options.checksum = true;
  auto summing = Open(options);
  const auto send = [](Wire* from, uint8_t to, bool summed) {
    const Bytes bytes = MakeFrame(Address(to), 100, 1);
    OutFrame frame;
    frame.header = bytes;
    frame.summed = summed;
    uint64_t lease = 0;
    EXPECT_EQ(from->Send(frame, &lease), SendResult::kSent);
  };
  InFrame frame;
  send(plain.get(), 2, false);
  ASSERT_TRUE(summing->Receive(&frame));
  EXPECT_TRUE(frame.checksum_vouched) << "there is none to verify, and nothing to damage it";
  summing->Release(frame);
  send(summing.get(), 1, true);
  ASSERT_TRUE(plain->Receive(&frame));
  EXPECT_FALSE(frame.checksum_vouched) << "it may have been damaged before it was sent";
  plain->Release(frame);
}

// --- Sleeping

TEST_P(FabricTest, GivenAFrameAfterPrepareSleepWhenSleepingThenItReturnsAtOnce) {
  auto a = Open(1);
  auto b = Open(2);
  InFrame frame;
  b->PrepareSleep();
  ASSERT_FALSE(b->Receive(&frame));
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 1)), SendResult::kSent);
  a->Flush();
  b->Sleep(UINT64_MAX);  // would never return
  EXPECT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Counter(*a, "wakes_sent"), 1u);
  // Awake, it costs senders nothing.
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 1)), SendResult::kSent);
  a->Flush();
  EXPECT_EQ(Counter(*a, "wakes_sent"), 1u);
}

TEST_P(FabricTest, GivenAWakeBetweenPrepareAndSleepThenItReturnsAtOnceThoughOthersPrepareToo) {
  auto a = Open(1);
  a->PrepareSleep();
  std::thread other([&] {
    a->Wake();
    a->PrepareSleep();
    a->CancelSleep();
  });
  other.join();
  a->Sleep(UINT64_MAX);  // would never return
}

TEST_P(FabricTest, GivenADeadlineWhenNothingHappensThenSleepEnds) {
  auto a = Open(1);
  a->PrepareSleep();
  const uint64_t deadline = MonotonicNs() + 2'000'000;
  a->Sleep(deadline);
  EXPECT_GE(MonotonicNs(), deadline);
}

TEST_P(FabricTest, GivenSeveralSleepersWhenWakeIsCalledThenAllReturn) {
  auto a = Open(1);
  std::atomic<int> awake = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&] {
      while (!stop.load()) a->Sleep(MonotonicNs() + 20'000'000'000);
      ++awake;
    });
  }
  stop = true;
  // A thread may have looked at `stop` before and fall asleep after the first call.
  while (awake.load() < 4) {
    a->Wake();
    std::this_thread::yield();
  }
  for (auto& sleeper : sleepers) sleeper.join();
}

TEST_P(FabricTest, GivenASenderAsleepOnAFullRingWhenRoomIsMadeThenItWakes) {
  auto a = Open(1);
  auto b = Open(2);
  const Bytes bytes = MakeFrame(Address(2), 30000, 1);
  while (SendBytes(a.get(), bytes) == SendResult::kSent) {
  }
  a->PrepareSleep();
  InFrame frame;
  while (b->Receive(&frame)) b->Release(frame);
  a->Sleep(UINT64_MAX);  // would never return
  EXPECT_EQ(SendBytes(a.get(), bytes), SendResult::kSent);
}

TEST_P(FabricTest, GivenRoomMadeBeforePrepareSleepWhenSleepingThenItReturnsAtOnce) {
  auto a = Open(1);
  auto b = Open(2);
  const Bytes bytes = MakeFrame(Address(2), 30000, 1);
  while (SendBytes(a.get(), bytes) == SendResult::kSent) {
  }
  InFrame frame;
  while (b->Receive(&frame)) b->Release(frame);
  a->PrepareSleep();
  a->Sleep(UINT64_MAX);  // would never return
  EXPECT_EQ(SendBytes(a.get(), bytes), SendResult::kSent);
}

// --- Threads

TEST_P(FabricTest, GivenTwoThreadsWhenTheyExchangeReferencesAndSleepThenNothingIsLost) {
  constexpr int kRounds = 2000;
  auto a = Open(1);
  auto b = Open(2);
  std::thread echo([&] {
    for (int i = 0; i < kRounds; ++i) {
      InFrame frame;
      ASSERT_TRUE(ReceiveWithin(b.get(), &frame));
      Bytes reply = MakeFrame(Address(1), 40, 0);
      uint32_t sum = 0;
      for (const uint8_t byte : Content(frame)) sum += byte;
      reply.insert(reply.end(), reinterpret_cast<uint8_t*>(&sum),
                   reinterpret_cast<uint8_t*>(&sum) + 4);
      b->Release(frame);
      ASSERT_TRUE(SendWithin(b.get(), reply));
    }
  });
  auto* memory = static_cast<uint8_t*>(a->AllocateShared(3000));
  const Bytes header = MakeFrame(Address(2), 60, 9);
  uint32_t header_sum = 0;
  for (const uint8_t byte : header) header_sum += byte;
  for (int i = 0; i < kRounds; ++i) {
    std::memset(memory, i, 3000);
    const iovec piece = {memory, 3000};
    uint64_t lease = 0;
    ASSERT_EQ(a->Send({header, {&piece, 1}, true}, &lease), SendResult::kSent);
    a->Flush();
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(a.get(), &frame));
    uint32_t sum = 0;
    std::memcpy(&sum, Content(frame).data() + 40, 4);
    EXPECT_EQ(sum, header_sum + 3000u * static_cast<uint8_t>(i));
    a->Release(frame);
    ASSERT_FALSE(a->LeasePending(lease)) << "the reply came after the release";
  }
  echo.join();
}

TEST_P(FabricTest, GivenTwoThreadsWhenOneStreamsThenAllArrivesInOrder) {
  constexpr uint64_t kFrames = 5000;
  auto a = Open(1);
  auto b = Open(2);
  std::thread sender([&] {
    for (uint64_t i = 0; i < kFrames; ++i) {
      ASSERT_TRUE(SendWithin(a.get(), MakeFrame(Address(2), 41 + i * 37 % 3000, i)));
    }
  });
  for (uint64_t i = 0; i < kFrames; ++i) {
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(b.get(), &frame));
    ASSERT_EQ(Content(frame), MakeFrame(Address(2), 41 + i * 37 % 3000, i));
    b->Release(frame);
  }
  sender.join();
}

// --- Shared memory of a port

TEST_P(FabricTest, GivenTheAllocatorWhenMemoryIsReusedThenItIsZeroedAndAligned) {
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
