#include "apps/nbd/copy.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "../storage/bench.h"
#include "apps/common/command_line.h"
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

TEST_F(CopyTest, ADestinationThatIsTooSmallIsRefused) {
  MemoryDevice from(1001);
  MemoryDevice to(1000);
  EXPECT_THROW(Copy(from, to, bench_.executor, memory_, kSmall), apps::Failure);
}

}  // namespace
}  // namespace qpip::nbd::testing
