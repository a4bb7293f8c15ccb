#include "storage/leaves/memory_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <random>

#include "bench.h"

namespace qpip::storage::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr uint64_t kChunk = MemoryDevice::kChunkBytes;
constexpr uint32_t kNothing = kHole | kZeroes;

class MemoryDeviceTest : public ::testing::Test {
 protected:
  Bench bench_;
};

TEST_F(MemoryDeviceTest, GivenADiskOfTerabytesWhenItsEndIsWrittenThenOnlyThatTakesRoom) {
  MemoryDevice disk(uint64_t{64} << 40);
  const uint64_t end = disk.geometry().bytes;
  EXPECT_EQ(bench_.Write(disk, end - 100, Ramp(100)), 0);
  EXPECT_EQ(disk.allocated_bytes(), kChunk);
  EXPECT_EQ(bench_.Read(disk, end - 100, 100), Ramp(100));
  EXPECT_EQ(bench_.Read(disk, end / 2, 3), Bytes(3, 0));
  EXPECT_THAT(bench_.Status(disk, 0, end),
              ElementsAre(Pair(end - kChunk, kNothing), Pair(kChunk, 0)));
}

TEST_F(MemoryDeviceTest, GivenTrimsAtOddPlacesThenExactlyTheRangeIsZeroAndWholeChunksAreGivenBack) {
  MemoryDevice disk(10 * kChunk + 77);
  Bytes model = Ramp(10 * kChunk + 77);
  std::mt19937_64 random(1);
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(bench_.Write(disk, 0, model), 0);
    const uint64_t at = random() % model.size();
    const uint64_t length = 1 + random() % (model.size() - at);
    EXPECT_EQ(bench_.Run(disk, i % 2 ? Op::kTrim : Op::kZero, at, length), 0);
    std::fill_n(model.begin() + static_cast<ptrdiff_t>(at), length, 0);
    ASSERT_EQ(bench_.Read(disk, 0, model.size(), 1000), model);
    model = Ramp(model.size(), static_cast<uint8_t>(i));
  }
  EXPECT_EQ(bench_.Run(disk, Op::kTrim, 0, model.size()), 0);
  EXPECT_EQ(disk.allocated_bytes(), 0u);
}

TEST_F(MemoryDeviceTest, GivenATrimOfManyStepsAndTablesThenAllOfItIsGivenBackAndNothingElse) {
  constexpr uint64_t kTable = 4096 * kChunk;
  MemoryDevice disk(5 * kTable);
  const uint64_t first = 3 * kChunk - 100;
  const uint64_t chunks = 2 * MemoryDevice::kStepChunks + 5;
  EXPECT_EQ(bench_.Write(disk, first, Ramp(chunks * kChunk)), 0);
  EXPECT_EQ(bench_.Write(disk, 4 * kTable, Ramp(2 * kChunk)), 0);
  // From within the first chunk, over empty tables, into the last one.
  EXPECT_EQ(bench_.Run(disk, Op::kTrim, first + 10, 4 * kTable + kChunk + 7 - (first + 10)), 0);
  EXPECT_EQ(disk.allocated_bytes(), 2 * kChunk);
  EXPECT_EQ(bench_.Read(disk, first, 10), Ramp(10));
  EXPECT_EQ(bench_.Read(disk, first + 10, chunks * kChunk), Bytes(chunks * kChunk));
  EXPECT_EQ(bench_.Read(disk, 4 * kTable, kChunk + 7), Bytes(kChunk + 7));
  const Bytes ramp = Ramp(2 * kChunk);
  EXPECT_EQ(bench_.Read(disk, 4 * kTable + kChunk + 7, 100),
            Bytes(ramp.begin() + kChunk + 7, ramp.begin() + kChunk + 107));
}

TEST_F(MemoryDeviceTest, GivenNoHoleWhenZeroedThenItIsAllocatedAndNoHoleIsReported) {
  MemoryDevice disk(4 * kChunk);
  EXPECT_EQ(bench_.Run(disk, Op::kZero, 0, 2 * kChunk, kNoHole | kFastZero), 0);
  EXPECT_EQ(disk.allocated_bytes(), 2 * kChunk);
  EXPECT_THAT(bench_.Status(disk, 0, 4 * kChunk),
              ElementsAre(Pair(2 * kChunk, 0), Pair(2 * kChunk, kNothing)));
  EXPECT_THAT(bench_.Status(disk, 5, 4 * kChunk - 5, kOneExtent),
              ElementsAre(Pair(2 * kChunk - 5, 0)));
}

TEST_F(MemoryDeviceTest, GivenALimitOfMemoryWhenItIsReachedThenWritesFailAndWhatWasThereStays) {
  MemoryDevice disk(100 * kChunk, 2 * kChunk);
  EXPECT_EQ(bench_.Write(disk, 0, Ramp(kChunk)), 0);
  EXPECT_EQ(bench_.Write(disk, 50 * kChunk, Ramp(10)), 0);
  EXPECT_EQ(bench_.Write(disk, 70 * kChunk, Ramp(10)), ENOSPC);
  EXPECT_EQ(bench_.Run(disk, Op::kZero, 0, 100 * kChunk, kNoHole), ENOSPC);
  EXPECT_EQ(bench_.Run(disk, Op::kTrim, 0, 100 * kChunk), 0);
  EXPECT_EQ(bench_.Write(disk, 70 * kChunk, Ramp(10)), 0);
}

TEST_F(MemoryDeviceTest, GivenNoRoomForExtentsWhenAskedThenTheFirstOnesAreTold) {
  MemoryDevice disk(100 * kChunk);
  for (uint64_t i = 0; i < 100; i += 2) EXPECT_EQ(bench_.Write(disk, i * kChunk, Ramp(1)), 0);
  EXPECT_THAT(bench_.Status(disk, 0, 100 * kChunk, 0, 2),
              ElementsAre(Pair(kChunk, 0), Pair(kChunk, kNothing)));
}

}  // namespace
}  // namespace qpip::storage::testing
