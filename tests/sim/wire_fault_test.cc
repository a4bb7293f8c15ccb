// The fault decorator over a wire that only remembers, with a clock that is turned by hand.
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "sim/wire/fault.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

/// Remembers what is sent; everything else is as empty as a wire can be.
class RecordingWire final : public Wire {
 public:
  struct Log {
    std::vector<Bytes> sent;
    std::vector<LinkAddress> link_addresses;
    SendResult answer = SendResult::kSent;
    uint64_t slept_until = 0;
    uint64_t housekeeping_calls = 0;
  };
  explicit RecordingWire(Log* log) : log_(log) {}

  void ReportTo(Report) override {}
  SendResult Send(const OutFrame& frame, uint64_t*) override {
    EXPECT_FALSE(frame.payload_stable) << "a decorator that may copy must not promise references";
    if (log_->answer != SendResult::kSent) return log_->answer;
    Bytes bytes(frame.header.begin(), frame.header.end());
    for (const iovec& piece : frame.payload) {
      const auto* start = static_cast<const uint8_t*>(piece.iov_base);
      bytes.insert(bytes.end(), start, start + piece.iov_len);
    }
    log_->sent.push_back(bytes);
    log_->link_addresses.push_back(frame.link_address);
    return SendResult::kSent;
  }
  bool LeasePending(uint64_t) override { return false; }
  bool Receive(InFrame*) override { return false; }
  void Release(const InFrame&) override {}
  void Flush() override {}
  uint64_t Housekeeping(uint64_t now_ns) override {
    ++log_->housekeeping_calls;
    return now_ns + 50'000'000;
  }
  void PrepareSleep() override {}
  void CancelSleep() override {}
  void Sleep(uint64_t deadline_ns) override { log_->slept_until = deadline_ns; }
  void Wake() override {}
  void* AllocateShared(size_t) override { return nullptr; }
  void FreeShared(void*, size_t) override {}
  uint32_t mtu() const override { return 1500; }
  abi::Ip6Address address() const override { return Address(1); }
  bool trusted() const override { return true; }
  bool carries_references() const override { return true; }
  std::string StatisticsJson() const override { return "{}"; }

 private:
  Log* log_;
};

class FaultTest : public testing::Test {
 protected:
  void Decorate(const FaultOptions& options) {
    log_ = {};
    wire_ = DecorateFaultWithClock(std::make_unique<RecordingWire>(&log_), options,
                                   [this] { return now_ns_; });
  }
  void SendNumbered(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(SendBytes(wire_.get(), Numbered(i)), SendResult::kSent);
    }
  }
  static Bytes Numbered(uint32_t number) { return MakeFrame(Address(2), 100, number); }
  std::vector<Bytes> FramesOf(std::initializer_list<uint32_t> numbers) {
    std::vector<Bytes> frames;
    for (const uint32_t number : numbers) frames.push_back(Numbered(number));
    return frames;
  }

  uint64_t now_ns_ = 1'000'000'000;
  RecordingWire::Log log_;
  std::unique_ptr<Wire> wire_;
};

/// Within five standard deviations of a binomial distribution's mean.
void ExpectBinomial(uint64_t count, uint64_t trials, double probability) {
  const double mean = static_cast<double>(trials) * probability;
  const double deviation = std::sqrt(mean * (1 - probability));
  EXPECT_NEAR(static_cast<double>(count), mean, 5 * deviation);
}

TEST_F(FaultTest, GivenNoFaultsWhenSendingThenAllPassesButNothingIsTrusted) {
  Decorate({});
  SendNumbered(5);
  EXPECT_EQ(log_.sent, FramesOf({0, 1, 2, 3, 4}));
  EXPECT_FALSE(wire_->trusted());
  EXPECT_FALSE(wire_->carries_references());
  EXPECT_EQ(wire_->mtu(), 1500u);
}

TEST_F(FaultTest, GivenStablePayloadWhenSendingThenItIsCopiedAndHasNoLease) {
  Decorate({});
  Bytes payload(50, 9);
  const iovec piece = {payload.data(), payload.size()};
  const Bytes header = Numbered(1);
  uint64_t lease = 1;
  ASSERT_EQ(wire_->Send({header, {&piece, 1}, true}, &lease), SendResult::kSent);
  EXPECT_EQ(lease, 0u);
  Bytes expected = header;
  expected.insert(expected.end(), 50, 9);
  EXPECT_EQ(log_.sent, std::vector<Bytes>{expected});
}

TEST_F(FaultTest, GivenAnEthernetLinkWhenFramesAreHeldBackThenEachKeepsItsDestination) {
  FaultOptions options;
  options.reorder = options.duplicate = options.corrupt = 0.3;
  options.delay_us = 100;
  Decorate(options);
  for (uint8_t i = 0; i < 100; ++i) {
    Bytes bytes = Numbered(1);
    // Where a flipped bit is least likely to hit: the number stands three times.
    bytes[60] = bytes[70] = bytes[80] = i;
    OutFrame frame;
    frame.header = bytes;
    frame.link_address = {2, 0, 0, 0, 0, i};
    uint64_t lease = 0;
    ASSERT_EQ(wire_->Send(frame, &lease), SendResult::kSent);
  }
  now_ns_ += 5'000'000;
  wire_->Housekeeping(now_ns_);
  now_ns_ += 5'000'000;
  wire_->Housekeeping(now_ns_);
  ASSERT_GE(log_.sent.size(), 100u);
  for (size_t i = 0; i < log_.sent.size(); ++i) {
    const Bytes& bytes = log_.sent[i];
    const uint8_t number = bytes[60] == bytes[70] ? bytes[60] : bytes[80];
    EXPECT_EQ(log_.link_addresses[i][5], number);
  }
}

TEST_F(FaultTest, GivenAllFaultsWhenManyFramesGoThenCountsAreBinomial) {
  FaultOptions options;
  options.loss = 0.1;
  options.duplicate = 0.05;
  options.reorder = 0.08;
  options.corrupt = 0.02;
  options.seed = 42;
  constexpr uint32_t kFrames = 20000;
  Decorate(options);
  SendNumbered(kFrames);
  now_ns_ += 2'000'000;
  wire_->Housekeeping(now_ns_);
  EXPECT_EQ(Counter(*wire_, "frames"), kFrames);
  const uint64_t lost = Counter(*wire_, "lost");
  ExpectBinomial(lost, kFrames, options.loss);
  ExpectBinomial(Counter(*wire_, "duplicated"), kFrames - lost, options.duplicate);
  ExpectBinomial(Counter(*wire_, "reordered"), kFrames - lost, options.reorder);
  ExpectBinomial(Counter(*wire_, "corrupted"), kFrames - lost, options.corrupt);
  EXPECT_EQ(log_.sent.size(), kFrames - lost + Counter(*wire_, "duplicated"));
}

TEST_F(FaultTest, GivenOneSeedWhenTheSameFramesAreSentThenTheSameHappens) {
  FaultOptions options;
  options.loss = options.duplicate = options.reorder = options.corrupt = 0.2;
  const auto run = [&](uint64_t seed) {
    options.seed = seed;
    Decorate(options);
    SendNumbered(500);
    return log_.sent;
  };
  const auto first = run(1);
  EXPECT_EQ(run(1), first);
  EXPECT_NE(run(2), first);
}

TEST_F(FaultTest, GivenABusyWireWhenTheSendIsRepeatedThenTheFrameMeetsTheSameFate) {
  FaultOptions options;
  options.loss = 0.5;
  Decorate(options);
  SendNumbered(100);
  const auto undisturbed = log_.sent;
  Decorate(options);
  for (uint32_t i = 0; i < 100; ++i) {
    log_.answer = SendResult::kBusy;
    if (SendBytes(wire_.get(), Numbered(i)) == SendResult::kSent) continue;  // lost anyway
    log_.answer = SendResult::kSent;
    ASSERT_EQ(SendBytes(wire_.get(), Numbered(i)), SendResult::kSent);
  }
  EXPECT_EQ(log_.sent, undisturbed);
  EXPECT_EQ(Counter(*wire_, "frames"), 100u);
}

TEST_F(FaultTest, GivenCorruptionWhenSendingThenExactlyOneBitDiffersAnywhereInTheFrame) {
  FaultOptions options;
  options.corrupt = 1;
  Decorate(options);
  SendNumbered(2000);
  ASSERT_EQ(log_.sent.size(), 2000u);
  std::vector<int> hits(100);
  for (uint32_t i = 0; i < 2000; ++i) {
    const Bytes original = Numbered(i);
    int flipped = 0;
    for (size_t at = 0; at < original.size(); ++at) {
      const int bits = std::popcount(static_cast<uint8_t>(original[at] ^ log_.sent[i][at]));
      flipped += bits;
      hits[at] += bits;
    }
    EXPECT_EQ(flipped, 1);
  }
  for (const int hit : hits) EXPECT_GT(hit, 0) << "no byte is spared";
}

TEST_F(FaultTest, GivenReorderingWhenLaterFramesComeThenTheHeldOneFollowsAtMostThreeOfThem) {
  FaultOptions options;
  options.reorder = 0.1;
  Decorate(options);
  constexpr uint32_t kFrames = 500;
  SendNumbered(kFrames);
  now_ns_ += 1'000'000;
  wire_->Flush();
  ASSERT_EQ(log_.sent.size(), kFrames);
  uint32_t moved = 0;
  for (uint32_t i = 0; i < kFrames; ++i) {
    const auto at = std::find(log_.sent.begin(), log_.sent.end(), Numbered(i));
    ASSERT_NE(at, log_.sent.end());
    const int64_t behind = (at - log_.sent.begin()) - static_cast<int64_t>(i);
    EXPECT_LE(behind, 3 + 3) << "its three overtakers, and what was held with it";
    EXPECT_GE(behind, -6);
    moved += behind > 0;
  }
  EXPECT_GT(moved, 20u);
}

TEST_F(FaultTest, GivenAHeldFrameWhenNothingFollowsThenItGoesAfterAMillisecond) {
  FaultOptions options;
  options.reorder = 1;
  Decorate(options);
  SendNumbered(1);
  EXPECT_TRUE(log_.sent.empty());
  wire_->Sleep(UINT64_MAX);
  EXPECT_EQ(log_.slept_until, now_ns_ + 1'000'000) << "sleep is cut short for it";
  now_ns_ += 999'999;
  wire_->Flush();
  EXPECT_TRUE(log_.sent.empty());
  now_ns_ += 1;
  wire_->Flush();
  EXPECT_EQ(log_.sent, FramesOf({0}));
}

TEST_F(FaultTest, GivenADelayWhenTimePassesThenFramesGoInOrderAndWhenDue) {
  FaultOptions options;
  options.delay_us = 300;
  Decorate(options);
  SendNumbered(1);
  now_ns_ += 100'000;
  ASSERT_EQ(SendBytes(wire_.get(), Numbered(1)), SendResult::kSent);
  EXPECT_TRUE(log_.sent.empty());
  EXPECT_EQ(wire_->Housekeeping(now_ns_), now_ns_ + 200'000);
  now_ns_ += 200'000;
  InFrame frame;
  EXPECT_FALSE(wire_->Receive(&frame));
  EXPECT_EQ(log_.sent, FramesOf({0})) << "looked after while polling, too";
  now_ns_ += 100'000;
  wire_->Housekeeping(now_ns_);
  EXPECT_EQ(log_.sent, FramesOf({0, 1}));
  EXPECT_EQ(Counter(*wire_, "delayed"), 2u);
}

TEST_F(FaultTest, GivenADelayedFrameWhenTheWireIsBusyThenItIsKeptAndSleepIsNotCutShort) {
  FaultOptions options;
  options.delay_us = 10;
  Decorate(options);
  SendNumbered(1);
  now_ns_ += 10'000;
  log_.answer = SendResult::kBusy;
  wire_->PrepareSleep();
  wire_->Sleep(UINT64_MAX);
  EXPECT_EQ(log_.slept_until, UINT64_MAX) << "the inner wire wakes when there is room";
  log_.answer = SendResult::kSent;
  wire_->Flush();
  EXPECT_EQ(log_.sent, FramesOf({0}));
}

TEST_F(FaultTest, GivenAFlappingLinkWhenItIsDownThenFramesAreLostAndWhenItIsUpTheyPass) {
  FaultOptions options;
  options.flap_period_ms = 10;
  options.flap_down_ms = 3;
  Decorate(options);
  for (uint32_t ms = 0; ms < 20; ++ms) {
    ASSERT_EQ(SendBytes(wire_.get(), Numbered(ms)), SendResult::kSent);
    now_ns_ += 1'000'000;
  }
  EXPECT_EQ(log_.sent, FramesOf({0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16}));
  EXPECT_EQ(Counter(*wire_, "flapped"), 6u);
}

TEST_F(FaultTest, GivenACutWhenItsFramesAreSentThenNothingMorePasses) {
  FaultOptions options;
  options.cut_after_frames = 3;
  Decorate(options);
  SendNumbered(10);
  EXPECT_EQ(log_.sent, FramesOf({0, 1, 2}));
  EXPECT_EQ(Counter(*wire_, "cut"), 7u);
}

TEST_F(FaultTest, GivenADamagedFrameWithoutRouteWhenSentThenItIsCountedNotReported) {
  FaultOptions options;
  options.corrupt = 1;
  Decorate(options);
  log_.answer = SendResult::kNoRoute;
  EXPECT_EQ(SendBytes(wire_.get(), Numbered(1)), SendResult::kSent);
  EXPECT_EQ(Counter(*wire_, "undeliverable"), 1u);
}

TEST_F(FaultTest, GivenAProbabilityOutOfRangeWhenDecoratingThenAnErrorNamesIt) {
  FaultOptions options;
  options.reorder = 1.5;
  try {
    Decorate(options);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("reorder"), std::string::npos);
  }
}

TEST_F(FaultTest, GivenHousekeepingOfTheInnerWireWhenCalledOftenThenItIsCalledWhenItAsked) {
  FaultOptions options;
  options.delay_us = 10;
  Decorate(options);
  for (int i = 0; i < 100; ++i) wire_->Housekeeping(now_ns_ += 1'000'000);
  EXPECT_EQ(log_.housekeeping_calls, 2u);
}

}  // namespace
}  // namespace qpip::wire::test
