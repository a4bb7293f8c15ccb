#include "apps/nbd/transmission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "apps/nbd/negotiation.h"
#include "memory_transport.h"

namespace qpip::nbd::testing {
namespace {

using ::testing::ElementsAre;

constexpr size_t kDiskBytes = 64 * 1024;

/// Given a 64 KiB disk behind a connection that takes simple replies.
class TransmissionTest : public ::testing::TestWithParam<size_t> {
 protected:
  TransmissionTest() : disk_(std::make_shared<ScriptedDevice>(kDiskBytes)), device_(*disk_) {}

  void Run(const Bytes& input) {
    transport_ = std::make_unique<MemoryTransport>(input, GetParam());
    transport_->log = &log_;
    device_.log = &log_;
    const Export served = {.name = "disk", .device = disk_};
    Transmission transmission(*transport_, executor_, {&served, false, LimitsOf(served, false)},
                              budget_);
    const auto keep_counts = [&] { counts_ = transmission.counts(); };
    try {
      transmission.Run();
    } catch (...) {
      keep_counts();
      throw;
    }
    keep_counts();
  }

  /// Takes the next reply off the server's bytes; `payload` bytes follow it.
  SimpleReply NextReply(size_t payload = 0, Bytes* data = nullptr) {
    SimpleReply reply;
    const std::span<const uint8_t> rest = std::span(transport_->output).subspan(at_);
    EXPECT_EQ(ParseSimpleReply(rest, &reply), TransmissionError::kNone);
    at_ += kSimpleReplyBytes;
    if (data != nullptr) {
      EXPECT_GE(rest.size(), kSimpleReplyBytes + payload);
      const auto bytes = rest.subspan(kSimpleReplyBytes, payload);
      *data = Bytes(bytes.begin(), bytes.end());
      at_ += payload;
    }
    return reply;
  }
  bool NoMoreReplies() const { return at_ == transport_->output.size(); }

  static Bytes Read(uint64_t cookie, uint64_t offset, uint32_t length) {
    return RequestBytes(
        {.command = kCommandRead, .cookie = cookie, .offset = offset, .length = length});
  }
  static Bytes Write(uint64_t cookie, uint64_t offset, const Bytes& data, uint16_t flags = 0) {
    return RequestBytes({.flags = flags,
                         .command = kCommandWrite,
                         .cookie = cookie,
                         .offset = offset,
                         .length = static_cast<uint32_t>(data.size())},
                        data);
  }
  static Bytes Flush(uint64_t cookie) {
    return RequestBytes({.command = kCommandFlush, .cookie = cookie});
  }
  static Bytes Disconnect() { return RequestBytes({.command = kCommandDisconnect}); }

  std::shared_ptr<ScriptedDevice> disk_;
  ScriptedDevice& device_;
  storage::ThreadExecutor executor_;
  MemoryBudget budget_{kMaxPayloadBytes};
  Log log_;
  std::unique_ptr<MemoryTransport> transport_;
  TransmissionCounts counts_;
  size_t at_ = 0;
};

INSTANTIATE_TEST_SUITE_P(ReceiveSizes, TransmissionTest, ::testing::Values(1, 13, 1000, 1 << 20));

TEST_P(TransmissionTest, GivenAWriteThenTheBytesAreOnTheDeviceBeforeTheReply) {
  const Bytes data = Ramp(100);
  Run(Write(0x1122334455667788, 512, data));
  EXPECT_EQ(Bytes(device_.content.begin() + 512, device_.content.begin() + 612), data);
  const SimpleReply reply = NextReply();
  EXPECT_EQ(reply.error, kErrorNone);
  EXPECT_EQ(reply.cookie, 0x1122334455667788u);
  EXPECT_EQ(log_.back(), "send");
  EXPECT_EQ(std::count(log_.begin(), log_.end(), "flush"), 0);
  EXPECT_EQ(counts_.bytes_written, 100u);
}

TEST_P(TransmissionTest, GivenAReadThenTheDataFollowsTheReply) {
  device_.content = Ramp(kDiskBytes);
  Run(Read(7, 1000, 300));
  Bytes data;
  const SimpleReply reply = NextReply(300, &data);
  EXPECT_EQ(reply.error, kErrorNone);
  EXPECT_EQ(reply.cookie, 7u);
  EXPECT_EQ(data, Bytes(device_.content.begin() + 1000, device_.content.begin() + 1300));
  EXPECT_TRUE(NoMoreReplies());
}

TEST_P(TransmissionTest, GivenReadsOfAnySizeThenAllBytesArrive) {
  device_.content = Ramp(1 << 20);
  const std::vector<uint32_t> lengths = {4095, 32768, 32769, 262143, 262144, 262145, 1 << 20};
  Bytes input;
  for (const uint32_t length : lengths) input = input + Read(length, 0, length);
  Run(input);
  for (const uint32_t length : lengths) {
    Bytes data;
    EXPECT_EQ(NextReply(length, &data).cookie, length);
    EXPECT_EQ(data, Bytes(device_.content.begin(), device_.content.begin() + length));
  }
  EXPECT_TRUE(NoMoreReplies());
}

TEST_P(TransmissionTest, GivenPipelinedRequestsThenRepliesKeepTheirOrderAndSeeEarlierWrites) {
  const Bytes first = Ramp(5000, 1);
  const Bytes second = Ramp(5000, 9);
  Run(Write(1, 0, first) + Write(2, 2500, second) + Read(3, 0, 7500) + Flush(4) + Read(5, 0, 1));
  Bytes expected = first;
  expected.resize(2500);
  expected = expected + second;
  EXPECT_EQ(NextReply().cookie, 1u);
  EXPECT_EQ(NextReply().cookie, 2u);
  Bytes data;
  EXPECT_EQ(NextReply(7500, &data).cookie, 3u);
  EXPECT_EQ(data, expected);
  EXPECT_EQ(NextReply().cookie, 4u);
  EXPECT_EQ(NextReply(1, &data).cookie, 5u);
  EXPECT_EQ(counts_.requests, 5u);
}

TEST_P(TransmissionTest, GivenFuaThenTheFlushComesBetweenTheWriteAndTheReply) {
  const Bytes data = Ramp(1);  // one receive, whatever its size, so that there is one write
  Run(Write(1, 0, data, kCommandFua));
  EXPECT_THAT(log_, ElementsAre("write", "flush", "send"));
}

TEST_P(TransmissionTest, GivenAWriteAndAFlushThenTheFlushCoversTheWrite) {
  Run(Write(1, 0, Ramp(1)) + Flush(2));
  EXPECT_THAT(log_, ElementsAre("write", "send", "flush", "send"));
}

TEST_P(TransmissionTest, GivenAFlushThatFailsThenItIsAnIoErrorAndServingGoesOn) {
  device_.flush_error = EIO;
  Run(Flush(1) + Write(2, 0, Ramp(3), kCommandFua) + Write(3, 0, Ramp(3)));
  EXPECT_EQ(NextReply().error, kErrorIo);
  EXPECT_EQ(NextReply().error, kErrorIo);
  EXPECT_EQ(NextReply().error, kErrorNone);
  EXPECT_EQ(counts_.errors, 2u);
}

TEST_P(TransmissionTest, GivenAFullDeviceThenTheWriteFailsAndLaterRequestsAreStillInStep) {
  device_.fail_write_from = 3000;
  Run(Write(1, 2000, Ramp(4000)) + Write(2, 5000, Ramp(10)) + Write(3, 0, Ramp(10)) +
      Read(4, 0, 10));
  EXPECT_EQ(NextReply().error, kErrorNoSpc);
  EXPECT_EQ(NextReply().error, kErrorNoSpc);
  EXPECT_EQ(NextReply().error, kErrorNone);
  Bytes data;
  EXPECT_EQ(NextReply(10, &data).error, kErrorNone);
  EXPECT_EQ(data, Ramp(10));
  EXPECT_TRUE(NoMoreReplies());
}

TEST_P(TransmissionTest, GivenDeviceErrorsThenTheyAreMappedToTheProtocols) {
  struct Case {
    int from;
    uint32_t to;
  };
  for (const Case& each :
       {Case{ENOSPC, kErrorNoSpc}, Case{EDQUOT, kErrorNoSpc}, Case{EIO, kErrorIo},
        Case{EPERM, kErrorPerm}, Case{ENOMEM, kErrorNoMem}, Case{EBADF, kErrorIo}}) {
    device_.fail_write_from = 0;
    device_.write_error = each.from;
    at_ = 0;
    Run(Write(1, 0, Ramp(8)));
    EXPECT_EQ(NextReply().error, each.to) << each.from;
  }
}

TEST_P(TransmissionTest, GivenAReadThatFailsThenTheReplyHasNoDataAndServingGoesOn) {
  device_.fail_read_from = 4096;
  Run(Read(1, 2000, 8000) + Read(2, 0, 16));
  EXPECT_EQ(NextReply().error, kErrorIo);
  Bytes data;
  EXPECT_EQ(NextReply(16, &data).error, kErrorNone);
  EXPECT_TRUE(NoMoreReplies());
}

TEST_P(TransmissionTest, GivenRequestsBeyondTheEndThenReadsAreInvalidAndWritesHaveNoSpace) {
  Run(Read(1, kDiskBytes - 1, 2) + Write(2, kDiskBytes - 1, Ramp(2)) + Read(3, UINT64_MAX - 1, 4) +
      Write(4, UINT64_MAX - 1, Ramp(4)) + Read(5, kDiskBytes - 1, 1));
  EXPECT_EQ(NextReply().error, kErrorInval);
  EXPECT_EQ(NextReply().error, kErrorNoSpc);
  EXPECT_EQ(NextReply().error, kErrorInval);
  EXPECT_EQ(NextReply().error, kErrorNoSpc);
  Bytes data;
  EXPECT_EQ(NextReply(1, &data).error, kErrorNone);
  EXPECT_EQ(device_.content, Bytes(kDiskBytes));
}

TEST_P(TransmissionTest, GivenUnknownCommandsAndFlagsThenTheyAreInvalidAndServingGoesOn) {
  Run(RequestBytes({.command = kCommandBlockStatus, .cookie = 1, .length = 512}) +
      RequestBytes({.command = 99, .cookie = 2}) + Write(3, 0, Ramp(5), 1u << 12) +
      RequestBytes({.flags = kCommandDf, .command = kCommandRead, .cookie = 4, .length = 512}) +
      Flush(5));
  for (uint64_t cookie = 1; cookie <= 4; ++cookie) {
    const SimpleReply reply = NextReply();
    EXPECT_EQ(reply.cookie, cookie);
    EXPECT_EQ(reply.error, kErrorInval);
  }
  EXPECT_EQ(NextReply().error, kErrorNone);
  EXPECT_EQ(device_.content, Bytes(kDiskBytes));
}

TEST_P(TransmissionTest, GivenAReadOnlyDeviceThenWritesAreRefusedAndTheirPayloadSkipped) {
  const Export read_only = {
      .name = "cd", .read_only = true, .device = std::make_shared<ScriptedDevice>(kDiskBytes)};
  MemoryTransport transport(Write(1, 0, Ramp(5000)) + Read(2, 0, 4), GetParam());
  Transmission transmission(transport, executor_, {&read_only, false, LimitsOf(read_only, false)},
                            budget_);
  transmission.Run();
  SimpleReply reply;
  ASSERT_EQ(ParseSimpleReply(transport.output, &reply), TransmissionError::kNone);
  EXPECT_EQ(reply.error, kErrorPerm);
  EXPECT_EQ(transport.output.size(), 2 * kSimpleReplyBytes + 4);
  EXPECT_TRUE(transport.all_consumed());
}

TEST_P(TransmissionTest, GivenDisconnectThenNothingBehindItIsLookedAt) {
  Run(Flush(1) + Disconnect() + Flush(2));
  EXPECT_EQ(NextReply().cookie, 1u);
  EXPECT_TRUE(NoMoreReplies());
  EXPECT_FALSE(transport_->all_consumed());
}

TEST_P(TransmissionTest, GivenBadMagicThenTheServerHangsUp) {
  Bytes request = Flush(1);
  request[0] ^= 0x80;
  EXPECT_THROW(Run(request), ConnectionLost);
}

TEST_P(TransmissionTest, GivenAStreamThatEndsInAPayloadThenTheServerHangsUpWithoutAReply) {
  Bytes request = Write(1, 0, Ramp(1000));
  request.pop_back();
  EXPECT_THROW(Run(request), ConnectionLost);
  EXPECT_TRUE(NoMoreReplies());
  EXPECT_EQ(device_.content, Bytes(kDiskBytes));  // and nothing of it was written
}

TEST_P(TransmissionTest, GivenAStreamThatEndsInAHeaderThenTheServerHangsUp) {
  Bytes request = Flush(1);
  request.pop_back();
  EXPECT_THROW(Run(request), ConnectionLost);
}

}  // namespace
}  // namespace qpip::nbd::testing
