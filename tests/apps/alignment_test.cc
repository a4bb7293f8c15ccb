#include "apps/nbd_fuse/alignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace qpip::nbd::testing {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kBlock = 512;
constexpr size_t kBlocks = 32;
constexpr size_t kDisk = kBlock * kBlocks;

/// A command of the test's, with its memory.
struct Asked {
  Asked(Io::Op op, uint64_t offset, uint64_t length, uint8_t fill = 0xee)
      : memory(op == Io::Op::kRead || op == Io::Op::kWrite ? length : 0, fill) {
    io.op = op;
    io.offset = offset;
    io.length = length;
    run = {memory.data(), memory.size()};
    io.data = {&run, memory.empty() ? 0u : 1u};
    io.extents = extents;
    io.context = this;
    io.done = [](Io& over) { ++static_cast<Asked*>(over.context)->ended; };
  }
  Asked(const Asked&) = delete;

  Io io;
  Bytes memory;
  iovec run = {};
  std::array<BlockExtent, 4> extents;
  int ended = 0;
};

/// Given a disk of blocks of 512 bytes, whose requests end when the test says so.
class AnyAlignmentTest : public ::testing::Test {
 protected:
  AnyAlignmentTest() : disk_(kDisk) {
    std::iota(disk_.begin(), disk_.end(), uint8_t{3});
    model_ = disk_;
  }

  void Take(Io& io) {
    if (io.op != Io::Op::kFlush) {
      EXPECT_EQ((io.offset | io.length) % kBlock, 0u);
      EXPECT_GT(io.length, 0u);
      EXPECT_LE(io.offset + io.length, kDisk);
    }
    pending_.push_back(&io);
  }
  /// Does what was asked for at that place of those that wait.
  void Finish(size_t index = 0, int error = 0) {
    ASSERT_LT(index, pending_.size());
    Io& io = *pending_[index];
    pending_.erase(pending_.begin() + static_cast<ptrdiff_t>(index));
    io.error = error;
    if (error == 0) Do(io);
    io.done(io);
  }
  void Do(Io& io) {
    const auto length = static_cast<size_t>(io.length);
    if (io.op == Io::Op::kRead) {
      std::memcpy(io.data[0].iov_base, disk_.data() + io.offset, length);
    }
    if (io.op == Io::Op::kWrite) {
      std::memcpy(disk_.data() + io.offset, io.data[0].iov_base, length);
    }
    if (io.op == Io::Op::kZero) std::memset(disk_.data() + io.offset, 0, length);
  }
  void FinishAll() {
    while (!pending_.empty()) Finish();
  }
  void Put(const Asked& asked) {
    const auto at = model_.begin() + static_cast<ptrdiff_t>(asked.io.offset);
    if (asked.io.op == Io::Op::kWrite) std::ranges::copy(asked.memory, at);
    if (asked.io.op == Io::Op::kZero) std::fill_n(at, asked.io.length, uint8_t{0});
  }

  Bytes disk_;
  Bytes model_;  ///< what it is to be
  std::vector<Io*> pending_;
  AnyAlignment any_{kBlock, [this](Io& io) { Take(io); }};
};

TEST_F(AnyAlignmentTest, ReadsOfAnyRangeGetIt) {
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 512}, {0, 1}, {511, 2}, {1000, 3000}, {kDisk - 1, 1}, {512, 1024}}) {
    Asked read(Io::Op::kRead, offset, length);
    any_.Submit(read.io);
    FinishAll();
    EXPECT_EQ(read.ended, 1);
    EXPECT_EQ(read.memory, Bytes(model_.begin() + static_cast<ptrdiff_t>(offset),
                                 model_.begin() + static_cast<ptrdiff_t>(offset + length)));
  }
}

TEST_F(AnyAlignmentTest, ChangesOfAnyRangeChangeItAlone) {
  for (const Io::Op op : {Io::Op::kWrite, Io::Op::kZero}) {
    for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
             {0, 512}, {700, 1}, {511, 2}, {1000, 3000}, {kDisk - 1, 1}, {512, 1024}, {600, 424}}) {
      Asked change(op, offset, length, 0x55);
      any_.Submit(change.io);
      FinishAll();
      Put(change);
      EXPECT_EQ(change.ended, 1);
      EXPECT_EQ(disk_, model_) << offset << " " << length;
    }
  }
}

TEST_F(AnyAlignmentTest, WhatIsOfWholeBlocksGoesAsItIs) {
  Asked write(Io::Op::kWrite, 512, 1024);
  any_.Submit(write.io);
  ASSERT_EQ(pending_.size(), 1u);
  EXPECT_EQ(pending_[0]->data[0].iov_base, write.memory.data());
  FinishAll();
}

TEST_F(AnyAlignmentTest, TwoPartsOfOneBlockAreBothKept) {
  Asked first(Io::Op::kWrite, 10, 20, 0x11);
  Asked second(Io::Op::kWrite, 40, 20, 0x22);
  Asked whole(Io::Op::kWrite, 512, 512, 0x33);
  for (Asked* each : {&first, &second, &whole}) any_.Submit(each->io);
  EXPECT_EQ(pending_.size(), 1u) << "a change of a part goes alone";
  FinishAll();
  for (const Asked* each : {&first, &second, &whole}) Put(*each);
  EXPECT_EQ(disk_, model_);
}

TEST_F(AnyAlignmentTest, AnErrorEndsACommandAndNotThoseBehindIt) {
  Asked broken(Io::Op::kWrite, 10, 20);
  Asked next(Io::Op::kWrite, 40, 20);
  any_.Submit(broken.io);
  any_.Submit(next.io);
  Finish(0, ENOSPC);
  EXPECT_EQ(broken.io.error, ENOSPC);
  FinishAll();
  EXPECT_EQ(next.io.error, 0);
  EXPECT_EQ(broken.ended + next.ended, 2);
}

TEST_F(AnyAlignmentTest, AStatusBeginsWhereItWasAskedFor) {
  Asked status(Io::Op::kStatus, 1100, 2000);
  any_.Submit(status.io);
  ASSERT_EQ(pending_.size(), 1u);
  Io& io = *pending_[0];
  EXPECT_EQ(io.offset, 1024u);
  io.extents[0] = {512, BlockExtent::kHole};
  io.extents[1] = {2048, 0};
  io.extent_count = 2;
  Finish();
  ASSERT_EQ(status.io.extent_count, 2u);
  EXPECT_EQ(status.extents[0].length, 512u - 76u);
  EXPECT_EQ(status.extents[0].flags, BlockExtent::kHole);
  EXPECT_EQ(status.extents[1].length, 2048u);
}

TEST_F(AnyAlignmentTest, AStatusThatEndsInFrontOfWhatWasAskedForIsAnError) {
  Asked status(Io::Op::kStatus, 1100, 2000);
  any_.Submit(status.io);
  ASSERT_EQ(pending_.size(), 1u);
  Io& io = *pending_[0];
  io.extents[0] = {76, BlockExtent::kHole};
  io.extent_count = 1;
  Finish();
  EXPECT_EQ(status.ended, 1);
  EXPECT_EQ(status.io.error, EIO);
}

TEST_F(AnyAlignmentTest, WhateverIsAskedForInAnyOrderIsDone) {
  std::mt19937 chance(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::unique_ptr<Asked>> all;
    for (uint64_t i = 0; i < 16; ++i) {  // blocks are shared, bytes are not: these have no order
      const uint64_t offset = i * 1000 + chance() % 300;
      const uint64_t length = 1 + chance() % 700;
      const Io::Op op = chance() % 3 == 0 ? Io::Op::kZero : Io::Op::kWrite;
      all.push_back(std::make_unique<Asked>(op, offset, length, static_cast<uint8_t>(chance())));
      any_.Submit(all.back()->io);
      Put(*all.back());
    }
    while (!pending_.empty()) Finish(chance() % pending_.size());
    for (const auto& each : all) EXPECT_EQ(each->ended, 1);
    ASSERT_EQ(disk_, model_);
  }
}

}  // namespace
}  // namespace qpip::nbd::testing
