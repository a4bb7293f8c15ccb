// The server's side of transmission with requests that end when the test wants, and replies in
// chunks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "apps/nbd/transmission.h"
#include "memory_transport.h"
#include "protocols/nbd/reply_chunk.h"

namespace qpip::nbd::testing {
namespace {

using ::testing::ElementsAre;

constexpr size_t kDiskBytes = 2 << 20;

struct Chunk {
  ReplyChunk header;
  Bytes payload;
};

/// Given a 2 MiB disk behind a connection with replies in chunks.
class PipelineTest : public ::testing::Test {
 protected:
  PipelineTest() : disk_(std::make_shared<ScriptedDevice>(kDiskBytes)), device_(*disk_) {
    device_.content = Ramp(kDiskBytes);
    served_ = {.name = "disk", .device = disk_};
    agreement_ = {&served_, true, LimitsOf(served_, true)};
    agreement_.limits.block_status = true;
  }

  void Run(const Bytes& input, std::function<void()> on_await = {}) {
    transport_ = std::make_unique<MemoryTransport>(input, 1 << 20);
    transport_->on_await = std::move(on_await);
    Transmission(*transport_, executor_, agreement_, budget_).Run();
  }

  /// The server's bytes, as chunks.
  std::vector<Chunk> Chunks() const {
    std::vector<Chunk> chunks;
    const Headers headers = agreement_.limits.headers;
    for (size_t at = 0; at < transport_->output.size();) {
      Chunk chunk;
      const std::span<const uint8_t> rest = std::span(transport_->output).subspan(at);
      const TransmissionError error = ParseReplyChunk(rest, headers, &chunk.header);
      if (error != TransmissionError::kNone) {
        ADD_FAILURE() << TransmissionErrorName(error) << " at " << at;
        break;
      }
      const auto payload = rest.subspan(ReplyChunkBytes(headers), chunk.header.length);
      chunk.payload = Bytes(payload.begin(), payload.end());
      at += ReplyChunkBytes(headers) + chunk.header.length;
      chunks.push_back(chunk);
    }
    return chunks;
  }
  std::vector<uint64_t> Cookies() const {
    std::vector<uint64_t> cookies;
    for (const Chunk& chunk : Chunks()) cookies.push_back(chunk.header.cookie);
    return cookies;
  }
  static Bytes Ask(uint16_t command, uint64_t cookie, uint64_t offset, uint64_t length,
                   uint16_t flags = 0) {
    return RequestBytes({flags, command, cookie, offset, length});
  }
  static Bytes Read(uint64_t cookie, uint64_t offset, uint64_t length, uint16_t flags = 0) {
    return Ask(kCommandRead, cookie, offset, length, flags);
  }

  std::shared_ptr<ScriptedDevice> disk_;
  ScriptedDevice& device_;
  Export served_;
  Agreement agreement_;
  storage::ThreadExecutor executor_;
  MemoryBudget budget_{kMaxPayloadBytes};
  std::unique_ptr<MemoryTransport> transport_;
};

TEST_F(PipelineTest, GivenManyInFlightWhenTheyEndInAnyOrderThenEachIsAnsweredAtItsEnd) {
  device_.hold = true;
  Run(Read(1, 0, 512) + Read(2, 512, 512) + Read(3, 1024, 512), [&] {
    ASSERT_FALSE(device_.held.empty());
    device_.End(device_.held.size() == 3 ? 1 : device_.held.size() - 1);
  });
  EXPECT_THAT(Cookies(), ElementsAre(2, 3, 1));
  EXPECT_EQ(device_.seen.size(), 3u);
}

TEST_F(PipelineTest, GivenDisconnectBehindRequestsThenTheyAreAnsweredFirst) {
  device_.hold = true;
  Run(Read(1, 0, 512) + RequestBytes({.command = kCommandDisconnect}), [&] { device_.End(0); });
  EXPECT_THAT(Cookies(), ElementsAre(1));
}

TEST_F(PipelineTest, GivenMoreRequestsThanMayBeInFlightThenTheRestWaitsAndIsServed) {
  Bytes input;
  for (uint64_t i = 0; i < 500; ++i) input = input + Ask(kCommandTrim, i, 0, 512);
  device_.hold = true;
  size_t most = 0;
  agreement_.structured = false;
  Run(input, [&] {
    most = std::max(most, device_.held.size());
    device_.End(0);
  });
  EXPECT_EQ(most, Transmission::kMaxInFlight);
  EXPECT_EQ(transport_->output.size(), 500 * kSimpleReplyBytes);
}

TEST_F(PipelineTest, GivenMoreReadsThanPayloadMemoryThenTheyWaitForIt) {
  Bytes input;
  for (uint64_t i = 0; i < 20; ++i) input = input + Read(i, 0, 256 * 1024);
  device_.hold = true;
  size_t most = 0;
  Run(input, [&] {
    most = std::max(most, device_.held.size());
    device_.End(0);
  });
  EXPECT_EQ(most, 8u);  // of 256 KiB in 2 MiB
  EXPECT_EQ(Chunks().size(), 20u);
}

TEST_F(PipelineTest, GivenAReadThenItsDataIsOneChunkThatEndsTheReply) {
  Run(Read(7, 4096, 512));
  const auto chunks = Chunks();
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].header.type, kChunkOffsetData);
  EXPECT_EQ(chunks[0].header.flags, kChunkDone);
  const Bytes offset = {0, 0, 0, 0, 0, 0, 0x10, 0};
  EXPECT_EQ(chunks[0].payload,
            offset + Bytes(device_.content.begin() + 4096, device_.content.begin() + 4608));
}

TEST_F(PipelineTest, GivenALongReadThenItsPiecesCoverItAndOnlyTheLastEndsTheReply) {
  device_.hold = true;
  Run(Read(7, 100, 1'000'000), [&] { device_.End(device_.held.size() / 2); });
  Bytes got(1'000'000);
  const auto chunks = Chunks();
  EXPECT_EQ(chunks.size(), 4u);
  for (const Chunk& chunk : chunks) {
    EXPECT_EQ(chunk.header.type, kChunkOffsetData);
    EXPECT_EQ(chunk.header.flags, &chunk == &chunks.back() ? kChunkDone : 0);
    uint64_t offset = 0;
    for (size_t i = 0; i < 8; ++i) offset = offset << 8 | chunk.payload[i];
    std::copy(chunk.payload.begin() + 8, chunk.payload.end(),
              got.begin() + static_cast<ptrdiff_t>(offset - 100));
  }
  EXPECT_EQ(got, Bytes(device_.content.begin() + 100, device_.content.begin() + 1'000'100));
}

TEST_F(PipelineTest, GivenALongReadOfWhichAPartFailsThenTheOffsetIsToldAndTheReplyEnds) {
  device_.fail_read_from = 300 * 1024;
  Run(Read(7, 0, 600 * 1024));
  const auto chunks = Chunks();
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].header.type, kChunkOffsetData);
  ErrorChunk error;
  for (const size_t i : {1, 2}) {
    ASSERT_EQ(chunks[i].header.type, kChunkErrorOffset);
    ASSERT_EQ(ParseErrorChunk(chunks[i].payload, kChunkErrorOffset, &error),
              TransmissionError::kNone);
    EXPECT_EQ(error.error, kErrorIo);
    EXPECT_EQ(error.offset, i * Transmission::kPieceBytes);
    EXPECT_FALSE(error.message.empty());
  }
  EXPECT_EQ(chunks[2].header.flags, kChunkDone);
}

TEST_F(PipelineTest, GivenDfThenThereIsOneChunkOrAnOverflow) {
  Run(Read(1, 0, 65536, kCommandDf) + Read(2, 0, 1 << 20, kCommandDf) +
      Read(3, 0, (1 << 20) + 1, kCommandDf));
  const auto chunks = Chunks();
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].payload.size(), 65536u + 8);
  EXPECT_EQ(chunks[1].payload.size(), (1u << 20) + 8);
  ErrorChunk error;
  ASSERT_EQ(ParseErrorChunk(chunks[2].payload, kChunkError, &error), TransmissionError::kNone);
  EXPECT_EQ(error.error, kErrorOverflow);
}

TEST_F(PipelineTest, GivenChangesThenTheDeviceSeesTheirFlags) {
  agreement_.structured = false;
  Run(Ask(kCommandTrim, 1, 5, 7, kCommandFua) +
      Ask(kCommandWriteZeroes, 2, 9, 11, kCommandNoHole | kCommandFastZero) +
      Ask(kCommandCache, 3, 13, 17));
  ASSERT_EQ(device_.seen.size(), 3u);
  EXPECT_EQ(device_.seen[0].op, storage::Op::kTrim);
  EXPECT_EQ(device_.seen[0].flags, storage::kFua);
  EXPECT_EQ(device_.seen[1].op, storage::Op::kZero);
  EXPECT_EQ(device_.seen[1].flags, storage::kNoHole | storage::kFastZero);
  EXPECT_EQ(device_.seen[1].offset, 9u);
  EXPECT_EQ(device_.seen[1].length, 11u);
  EXPECT_EQ(device_.seen[2].op, storage::Op::kCache);
}

TEST_F(PipelineTest, GivenAZeroThatIsNotFastThenOnlyWhoAskedForFastIsTold) {
  device_.zero_error = EOPNOTSUPP;
  Run(Ask(kCommandWriteZeroes, 1, 0, 512, kCommandFastZero));
  const auto chunks = Chunks();
  ErrorChunk error;
  ASSERT_EQ(ParseErrorChunk(chunks[0].payload, kChunkError, &error), TransmissionError::kNone);
  EXPECT_EQ(error.error, kErrorNotSup);
}

TEST_F(PipelineTest, GivenBlockStatusThenItsExtentsAreTold) {
  device_.extents = {{4096, storage::kHole | storage::kZeroes}, {8192, 0}};
  Run(Ask(kCommandBlockStatus, 9, 0, 12288));
  const auto chunks = Chunks();
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].header.type, kChunkBlockStatus);
  EXPECT_EQ(chunks[0].header.flags, kChunkDone);
  BlockStatusView view;
  ASSERT_EQ(ParseBlockStatus(chunks[0].payload, kChunkBlockStatus, &view),
            TransmissionError::kNone);
  EXPECT_EQ(view.context(), kAllocationContext);
  ASSERT_EQ(view.size(), 2u);
  EXPECT_EQ(view.at(0).flags, kStateHole | kStateZero);
  EXPECT_EQ(view.at(1).length, 8192u);
  EXPECT_EQ(device_.seen[0].flags, 0u);
}

TEST_F(PipelineTest, GivenBlockStatusOfOneExtentThenItIsOneWhateverTheDeviceKnows) {
  device_.extents = {{4096, storage::kHole | storage::kZeroes}, {8192, 0}};
  Run(Ask(kCommandBlockStatus, 9, 0, 12288, kCommandReqOne));
  const auto chunks = Chunks();
  ASSERT_EQ(chunks.size(), 1u);
  BlockStatusView view;
  ASSERT_EQ(ParseBlockStatus(chunks[0].payload, kChunkBlockStatus, &view),
            TransmissionError::kNone);
  ASSERT_EQ(view.size(), 1u);
  EXPECT_EQ(view.at(0).length, 4096u);
  EXPECT_EQ(device_.seen[0].flags, storage::kOneExtent);
}

TEST_F(PipelineTest, GivenAnExtentOfTerabytesThenCompactHeadersCutItAndExtendedOnesDoNot) {
  device_.extents = {{uint64_t{1} << 42, 3}, {512, 0}};
  Run(Ask(kCommandBlockStatus, 9, 0, 512));
  BlockStatusView view;
  auto chunks = Chunks();
  ASSERT_EQ(ParseBlockStatus(chunks[0].payload, kChunkBlockStatus, &view),
            TransmissionError::kNone);
  ASSERT_EQ(view.size(), 1u);
  EXPECT_EQ(view.at(0).length, 0xffff0000u);
  agreement_.limits.headers = Headers::kExtended;
  Run(ExtendedRequestBytes({0, kCommandBlockStatus, 9, 0, 512}));
  chunks = Chunks();
  ASSERT_EQ(ParseBlockStatus(chunks[0].payload, kChunkBlockStatusExt, &view),
            TransmissionError::kNone);
  ASSERT_EQ(view.size(), 2u);
  EXPECT_EQ(view.at(0).length, uint64_t{1} << 42);
}

TEST_F(PipelineTest, GivenExtendedHeadersThenEveryReplyIsAChunkWithTheRequestsOffset) {
  agreement_.limits.headers = Headers::kExtended;
  Run(ExtendedRequestBytes({kCommandPayloadLen, kCommandWrite, 1, 4096, 16}, Ramp(16, 99)) +
      ExtendedRequestBytes({0, kCommandRead, 2, 4096, 16}) +
      ExtendedRequestBytes({kCommandPayloadLen, kCommandTrim, 3, 512, 5}, Ramp(5)) +
      ExtendedRequestBytes({0, kCommandWrite, 4, 8192, 5}, Ramp(5, 33)) +
      ExtendedRequestBytes({0, kCommandFlush, 5, 0, 0}));
  const auto chunks = Chunks();
  ASSERT_THAT(Cookies(), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(chunks[0].header.type, kChunkNone);
  EXPECT_EQ(chunks[0].header.offset, 4096u);
  EXPECT_EQ(Bytes(chunks[1].payload.begin() + 8, chunks[1].payload.end()), Ramp(16, 99));
  EXPECT_EQ(chunks[2].header.type, kChunkError);  // its payload was skipped
  EXPECT_EQ(chunks[3].header.type, kChunkNone);   // a write's payload is taken without the flag
  EXPECT_EQ(Bytes(device_.content.begin() + 8192, device_.content.begin() + 8197), Ramp(5, 33));
  EXPECT_EQ(chunks[4].header.type, kChunkNone);
}

TEST_F(PipelineTest, GivenALongWriteWhenTheMemoryOfAllIsUsedThenItWaitsForItAndIsWhole) {
  const std::span<std::byte> taken = budget_.TryTake(kMaxPayloadBytes - 1000);
  ASSERT_FALSE(taken.empty());
  const Bytes data = Ramp(1'500'000, 7);
  bool waited = false;
  agreement_.structured = false;
  Run(RequestBytes({.command = kCommandWrite, .cookie = 1, .length = data.size()}, data), [&] {
    EXPECT_TRUE(device_.seen.empty());
    waited = true;
    budget_.Put(taken);
  });
  EXPECT_TRUE(waited);
  ASSERT_EQ(device_.seen.size(), 1u);
  EXPECT_EQ(Bytes(device_.content.begin(), device_.content.begin() + 1'500'000), data);
  EXPECT_FALSE(budget_.TryTake(kMaxPayloadBytes).empty());  // all was given back
}

TEST_F(PipelineTest, GivenLongWritesBeyondAClientsShareThenTheNextWaitsForTheFirst) {
  device_.hold = true;
  MemoryBudget budget(4 << 20);
  const Bytes data = Ramp(1 << 20, 7);
  Bytes input;
  for (const uint64_t cookie : {1, 2}) {
    input = input +
            RequestBytes({.command = kCommandWrite, .cookie = cookie, .length = data.size()}, data);
  }
  size_t waits = 0;
  transport_ = std::make_unique<MemoryTransport>(input, 1 << 20);
  transport_->on_await = [&] {
    ++waits;
    EXPECT_EQ(device_.held.size(), 1u);
    const std::span<std::byte> others = budget.TryTake(2 << 20);
    EXPECT_FALSE(others.empty());
    if (!others.empty()) budget.Put(others);
    device_.End(0);
  };
  Transmission(*transport_, executor_, agreement_, budget).Run();
  EXPECT_EQ(waits, 2u);
  EXPECT_EQ(device_.seen.size(), 2u);
  EXPECT_EQ(transport_->output.size(), 2 * kSimpleReplyBytes);
}

TEST_F(PipelineTest, GivenAConnectionThatBreaksThenWhatIsInFlightIsWaitedForAndNotAnswered) {
  device_.hold = true;
  std::jthread other;
  EXPECT_THROW(Run(Read(1, 0, 512),
                   [&] {
                     other = std::jthread([&] { storage::CompleteLater(*device_.held[0], 0); });
                     throw ConnectionLost("cut");
                   }),
               ConnectionLost);
  EXPECT_TRUE(transport_->output.empty());
}

TEST_F(PipelineTest, GivenAZeroWhenTheStreamEndsThenItMayEndEarlyUnlessTheClientSaidGoodbye) {
  device_.hold = true;
  const auto runs_cancelled = [&](const Bytes& behind) {
    bool cancelled = false;
    Run(Ask(kCommandWriteZeroes, 1, 0, kDiskBytes) + behind, [&] {
      cancelled = device_.held.at(0)->cancelled->load();
      device_.End(0);
    });
    EXPECT_EQ(transport_->output.size(), kSimpleReplyBytes);
    return cancelled;
  };
  EXPECT_TRUE(runs_cancelled({}));
  EXPECT_FALSE(runs_cancelled(RequestBytes({.command = kCommandDisconnect})));
}

TEST_F(PipelineTest, GivenALongWriteWhenItsPayloadStopsHalfWayThenItMayNotWaitForEver) {
  const Request write = {.command = kCommandWrite, .cookie = 1, .offset = 0, .length = 512 << 10};
  EXPECT_THROW(Run(RequestBytes(write, Ramp(256 << 10))), ConnectionLost);  // the stream's end
  EXPECT_TRUE(transport_->deadline.has_value());
  EXPECT_FALSE(budget_.TryTake(kMaxPayloadBytes).empty());  // all was given back
}

TEST_F(PipelineTest, GivenALongWriteWhenItsPayloadHasComeThenNothingIsUrgentAnyMore) {
  const Request write = {.command = kCommandWrite, .cookie = 1, .offset = 0, .length = 512 << 10};
  Run(RequestBytes(write, Ramp(512 << 10)));
  EXPECT_FALSE(transport_->deadline.has_value());
  EXPECT_EQ(device_.seen.size(), 1u);
}

TEST_F(PipelineTest, GivenALongReadWithoutChunksThenItsReplyMayNotWaitForEver) {
  agreement_.structured = false;
  Run(Read(1, 0, 512 << 10));
  EXPECT_THAT(transport_->sends_limited, ElementsAre(true, true));  // header, data
  EXPECT_FALSE(transport_->deadline.has_value());
}

TEST_F(PipelineTest, GivenALongReadThenWhatIsAnsweredBeforeItMayNotWaitForEverEither) {
  agreement_.structured = false;
  device_.hold = true;
  Run(Read(1, 0, 512 << 10) + Read(2, 0, 512) + Ask(kCommandTrim, 3, 0, 512) + Ask(99, 4, 0, 512),
      [&] { device_.End(device_.held.size() - 1); });
  // Refused; the trim; the short read; the long one's header and data.
  EXPECT_THAT(transport_->sends_limited, ElementsAre(true, true, true, true, true));
  EXPECT_FALSE(transport_->deadline.has_value());
}

TEST_F(PipelineTest, GivenNothingLongThenAReplyMayWaitAsLongAsTheClientLikes) {
  Run(Read(1, 0, 512) + Read(2, 0, 512 << 10) + Ask(kCommandTrim, 3, 0, 512));
  EXPECT_THAT(transport_->sends_limited, ::testing::Each(false));
}

}  // namespace
}  // namespace qpip::nbd::testing
