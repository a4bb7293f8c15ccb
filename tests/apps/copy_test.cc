#include "apps/nbd/copy.h"

#include <gtest/gtest.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <utility>

#include "../storage/bench.h"
#include "apps/common/command_line.h"
#include "apps/common/stop.h"
#include "storage/leaves/memory_device.h"

namespace qpip::nbd::testing {
namespace {

using storage::MemoryDevice;
using storage::Op;
using storage::testing::Bench;
using storage::testing::Bytes;
using storage::testing::Ramp;

constexpr CopyOptions kSmall = {.block_bytes = 64 * 1024, .in_flight = 4};

/// Fails every request of one kind.
class FailingDevice : public storage::Module {
 public:
  FailingDevice(std::shared_ptr<Device> below, Op op) : Module({std::move(below)}), op_(op) {}
  void Submit(storage::Request& request) override {
    if (request.op == op_) return storage::CompleteLater(request, ENOSPC);
    Forward(0, request);
  }

 private:
  Op op_;
};

/// Takes whole blocks alone.
class BlockDevice : public storage::Module {
 public:
  BlockDevice(std::shared_ptr<Device> below, uint32_t minimum)
      : Module({std::move(below)}), minimum_(minimum) {}
  storage::Geometry geometry() const override {
    storage::Geometry geometry = Module::geometry();
    geometry.minimum = minimum_;
    return geometry;
  }
  void Submit(storage::Request& request) override {
    EXPECT_EQ((request.offset | request.length) % minimum_, 0u) << request.offset;
    Forward(0, request);
  }

 private:
  uint32_t minimum_;
};

/// Tells 1000 bytes of data and 2000 of zeroes, again and again, up to the range's end.
class OddExtents : public storage::Module {
 public:
  static constexpr uint64_t kData = 1000;
  static constexpr uint64_t kRound = 3000;
  explicit OddExtents(std::shared_ptr<Device> below) : Module({std::move(below)}) {}
  void Submit(storage::Request& request) override {
    if (request.op != Op::kStatus) return Forward(0, request);
    const uint64_t end = request.offset + request.length;
    for (uint64_t at = request.offset; at < end;) {
      const bool data = at % kRound < kData;
      const uint64_t next = at - at % kRound + (data ? kData : kRound);
      const uint64_t length = std::min(next, end) - at;
      if (!request.extents->Add(length, data ? 0 : storage::kHole | storage::kZeroes)) break;
      at += length;
    }
    storage::CompleteLater(request, 0);
  }
};

/// Keeps what it gets until it is told.
class KeepingDevice : public storage::Module {
 public:
  explicit KeepingDevice(std::shared_ptr<Device> below) : Module({std::move(below)}) {}
  void Submit(storage::Request& request) override { kept_.push_back(&request); }
  void Finish() {
    for (storage::Request* const each : std::exchange(kept_, {})) {
      storage::CompleteLater(*each, 0);
    }
  }

 private:
  std::vector<storage::Request*> kept_;
};

/// Does something when a while is over, and counts how often it was asked.
class Alarm : public storage::Source {
 public:
  Alarm(std::chrono::milliseconds after, std::function<void()> then, int* asked)
      : then_(std::move(then)), asked_(asked), fd_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)) {
    itimerspec when = {};
    when.it_value.tv_nsec = after.count() * 1'000'000;
    timerfd_settime(fd_, 0, &when, nullptr);
  }
  ~Alarm() override { close(fd_); }
  bool Run() override {
    ++*asked_;
    uint64_t times = 0;
    if (read(fd_, &times, sizeof times) < 0) return false;
    then_();
    return true;
  }
  bool Arm() override { return true; }
  int fd() const override { return fd_; }

 private:
  std::function<void()> then_;
  int* asked_;
  int fd_;
};

/// Given a bench, and what copies leave there.
class CopyTest : public ::testing::Test {
 protected:
  CopyCounts Run(storage::Device& from, storage::Device& to, const CopyOptions& options = kSmall) {
    memory_.resize(CopyMemoryBytes(options));
    Copy copy(from, to, bench_.executor, memory_, options);
    EXPECT_TRUE(copy.Run(-1, [](const CopyCounts&) {}));
    return copy.counts();
  }

  Bench bench_;
  std::vector<std::byte> memory_;
};

TEST_F(CopyTest, DataAndHolesKeepTheirPlaces) {
  MemoryDevice from(10'000'000);
  MemoryDevice to(10'000'000);
  bench_.Write(from, 100'001, Ramp(200'000));
  bench_.Write(from, 9'999'990, Ramp(10));
  bench_.Write(to, 5'000'000, Ramp(100'000));
  const CopyCounts counts = Run(from, to);
  EXPECT_EQ(counts.done(), 10'000'000u);
  EXPECT_EQ(counts.skipped, 0u);
  EXPECT_GT(counts.zeroed, 9'000'000u);
  EXPECT_EQ(bench_.Read(to, 0, 10'000'000), bench_.Read(from, 0, 10'000'000));
}

TEST_F(CopyTest, ADestinationThatIsZeroIsWrittenDataAlone) {
  MemoryDevice from(uint64_t{1} << 40);
  MemoryDevice to(uint64_t{1} << 40);
  bench_.Write(from, uint64_t{3} << 38, Ramp(4096));
  CopyOptions options = kSmall;
  options.destination_is_zero = true;
  const CopyCounts counts = Run(from, to, options);
  EXPECT_EQ(counts.zeroed, 0u);
  EXPECT_EQ(counts.copied, MemoryDevice::kChunkBytes);
  EXPECT_EQ(to.allocated_bytes(), MemoryDevice::kChunkBytes);
  EXPECT_EQ(bench_.Read(to, uint64_t{3} << 38, 4096), Ramp(4096));
}

TEST_F(CopyTest, BlocksOfZeroesAreNotWritten) {
  MemoryDevice from(1 << 20);
  MemoryDevice to(1 << 20);
  bench_.Write(from, 0, Bytes(1 << 20));
  bench_.Write(to, 0, Ramp(1 << 20));
  const CopyCounts counts = Run(from, to);
  EXPECT_EQ(counts.copied, 0u);
  EXPECT_EQ(counts.zeroed, 1u << 20);
  EXPECT_EQ(bench_.Read(to, 0, 1 << 20), Bytes(1 << 20));
}

TEST_F(CopyTest, AnErrorEndsItAndSaysWhere) {
  for (const Op op : {Op::kWrite, Op::kFlush, Op::kZero}) {
    MemoryDevice from(1 << 20);
    bench_.Write(from, 0, Ramp(100'000));
    FailingDevice to(std::make_shared<MemoryDevice>(1 << 20), op);
    EXPECT_THROW(Run(from, to), apps::Failure);
  }
  for (const Op op : {Op::kRead, Op::kStatus}) {
    const auto disk = std::make_shared<MemoryDevice>(1 << 20);
    bench_.Write(*disk, 0, Ramp(100'000));
    FailingDevice from(disk, op);
    MemoryDevice to(1 << 20);
    EXPECT_THROW(Run(from, to), apps::Failure);
  }
}

TEST_F(CopyTest, ADestinationOfWholeBlocksGetsWholeBlocks) {
  const uint64_t bytes = 256 * 4096;
  for (const uint32_t minimum : {1u, 512u, 4096u, 65536u}) {
    const auto disk = std::make_shared<MemoryDevice>(bytes);
    for (uint64_t at = 0; at + OddExtents::kData <= bytes; at += OddExtents::kRound) {
      bench_.Write(*disk, at, Ramp(OddExtents::kData, static_cast<uint8_t>(at)));
    }
    OddExtents from(disk);
    BlockDevice to(std::make_shared<MemoryDevice>(bytes), minimum);
    bench_.Write(to, 0, Ramp(bytes));
    const CopyCounts counts = Run(from, to);
    EXPECT_EQ(counts.done(), bytes);
    EXPECT_EQ(bench_.Read(to, 0, bytes), bench_.Read(*disk, 0, bytes)) << minimum;
    // Of whole blocks too the source is read.
    BlockDevice whole(disk, minimum);
    MemoryDevice copy(bytes);
    (void)Run(whole, copy);
    EXPECT_EQ(bench_.Read(copy, 0, bytes), bench_.Read(*disk, 0, bytes)) << minimum;
  }
}

TEST_F(CopyTest, BlocksThatDoNotFitAreRefused) {
  MemoryDevice odd(1000);
  BlockDevice blocks(std::make_shared<MemoryDevice>(1 << 20), 512);
  EXPECT_THROW(Copy(odd, blocks, bench_.executor, memory_, kSmall), apps::Failure);
  MemoryDevice whole(1 << 20);
  BlockDevice large(std::make_shared<MemoryDevice>(1 << 20), 2 * kSmall.block_bytes);
  EXPECT_THROW(Copy(whole, large, bench_.executor, memory_, kSmall), apps::Failure);
}

TEST_F(CopyTest, OneThatIsStoppedSleepsUntilWhatIsUnderWayHasEnded) {
  const auto disk = std::make_shared<MemoryDevice>(1 << 20);
  KeepingDevice from(disk);
  MemoryDevice to(1 << 20);
  int asked = 0;
  const auto ends = [&] { from.Finish(); };
  auto alarm = std::make_unique<Alarm>(std::chrono::milliseconds(100), ends, &asked);
  bench_.executor.AddSource(&from, std::move(alarm));
  apps::StopToken stop;
  stop.Request();
  memory_.resize(CopyMemoryBytes(kSmall));
  Copy copy(from, to, bench_.executor, memory_, kSmall);
  EXPECT_FALSE(copy.Run(stop.fd(), [](const CopyCounts&) {}));
  EXPECT_LT(asked, 20);
}

TEST_F(CopyTest, ADestinationThatIsTooSmallIsRefused) {
  MemoryDevice from(1001);
  MemoryDevice to(1000);
  EXPECT_THROW(Copy(from, to, bench_.executor, memory_, kSmall), apps::Failure);
}

}  // namespace
}  // namespace qpip::nbd::testing
