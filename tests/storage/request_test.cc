#include "storage/core/request.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench.h"
#include "storage/core/buffer_pool.h"
#include "storage/core/request_pool.h"
#include "storage/core/thread_executor.h"
#include "storage/leaves/null_device.h"

namespace qpip::storage::testing {
namespace {

/// Keeps what is submitted until the test ends it.
class HeldDevice : public Device {
 public:
  Geometry geometry() const override { return {.bytes = 1 << 20}; }
  void Submit(Request& request) override { held.push_back(&request); }
  std::vector<Request*> held;
};

/// Cuts every request into pieces of 4 KiB, and logs both paths.
class CuttingModule : public Module {
 public:
  using Module::Module;
  void Submit(Request& request) override {
    constexpr uint64_t kPiece = 4096;
    BeginSplit(request, static_cast<uint32_t>((request.length + kPiece - 1) / kPiece));
    const uint64_t end = request.offset + request.length;
    for (uint64_t at = request.offset; at < end; at += kPiece) {
      Request& part = pool.Take();
      MakePart(part, request, at, std::min(kPiece, end - at));
      log.push_back("down " + std::to_string(at));
      Send(0, part);
    }
  }
  RequestPool pool;
  std::vector<std::string> log;

 protected:
  void OnLowerDone(Request& part) override {
    log.push_back("up " + std::to_string(part.offset) + " " + std::to_string(part.error));
    PartDone(part);
    pool.Put(part);
  }
};

class SplitTest : public ::testing::Test {
 protected:
  SplitTest() : leaf_(std::make_shared<HeldDevice>()), module_({leaf_}) {
    request_.op = Op::kTrim;
    request_.flags = kFua;
    request_.offset = 1000;
    request_.length = 10000;
    request_.context = this;
    request_.done = [](Request& over) { ++static_cast<SplitTest*>(over.context)->ended_; };
  }
  std::shared_ptr<HeldDevice> leaf_;
  CuttingModule module_;
  Request request_;
  int ended_ = 0;
};

TEST_F(SplitTest, GivenAModuleThatCutsWhenSubmittedThenPartsCoverTheRangeAndKeepTheFlags) {
  module_.Submit(request_);
  ASSERT_EQ(leaf_->held.size(), 3u);
  uint64_t at = 1000;
  for (const Request* part : leaf_->held) {
    EXPECT_EQ(part->op, Op::kTrim);
    EXPECT_EQ(part->flags, kFua);
    EXPECT_EQ(part->offset, at);
    at += part->length;
  }
  EXPECT_EQ(at, 11000u);
}

TEST_F(SplitTest, GivenPartsThatEndInAnyOrderWhenTwoFailThenTheFirstErrorIsTheWholes) {
  module_.Submit(request_);
  Complete(*leaf_->held[2], 0);
  Complete(*leaf_->held[0], ENOSPC);
  EXPECT_EQ(ended_, 0);
  Complete(*leaf_->held[1], EIO);
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(request_.error, ENOSPC);
  EXPECT_EQ(module_.log.back(), "up 5096 5");
}

TEST_F(SplitTest, GivenALeafThatEndsInsideOfSubmitWhenAnyPartIsLeftThenTheWholeWaits) {
  CuttingModule module({std::make_shared<NullDevice>(1 << 20)});
  module.Submit(request_);
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(request_.error, 0);
}

TEST_F(SplitTest, GivenManyRequestsOneAfterTheOtherThenThePoolHasMadeOnlyWhatIsInFlightAtOnce) {
  for (int i = 0; i < 100; ++i) {
    module_.Submit(request_);
    for (Request* part : std::exchange(leaf_->held, {})) Complete(*part, 0);
  }
  EXPECT_EQ(ended_, 100);
  EXPECT_EQ(module_.pool.size(), 3u);
}

TEST(ExtentListTest, GivenExtentsOfOneKindThenTheyAreOneAndRoomEndsTheList) {
  std::vector<Extent> room(2);
  ExtentList list(room);
  EXPECT_TRUE(list.Add(0, 1));
  EXPECT_TRUE(list.Add(10, 1));
  EXPECT_TRUE(list.Add(5, 1));
  EXPECT_TRUE(list.Add(7, 0));
  EXPECT_FALSE(list.Add(1, 1));
  ASSERT_EQ(list.extents().size(), 2u);
  EXPECT_EQ(list.extents()[0].length, 15u);
  EXPECT_EQ(list.extents()[1].length, 7u);
}

TEST(BufferPoolTest, GivenRunsOfAnyLengthThenTheyDoNotOverlapAndComeBack) {
  std::vector<std::byte> area(64 * 100);
  BufferPool pool(area);
  const auto first = pool.Take(1);
  const auto big = pool.Take(6200);
  EXPECT_EQ(first.size(), 1u);
  ASSERT_EQ(big.size(), 6200u);
  EXPECT_EQ(pool.OffsetOf(big), 100u);
  EXPECT_EQ(pool.free_chunks(), 1u);
  EXPECT_TRUE(pool.Take(101).empty());
  EXPECT_EQ(pool.OffsetOf(pool.Take(100)), 6300u);
  EXPECT_TRUE(pool.Take(1).empty());
  pool.Put(big);
  EXPECT_EQ(pool.free_chunks(), 62u);
  pool.Put(first);
  EXPECT_EQ(pool.OffsetOf(pool.Take(6300)), 0u);
}

TEST(BufferPoolTest, GivenHolesWhenARunIsAskedForThenTheFirstThatFitsIsFoundForEveryLength) {
  for (size_t length = 1; length <= 64; ++length) {
    std::vector<std::byte> area(64);
    BufferPool pool(area);
    std::vector<std::span<std::byte>> taken;
    for (int i = 0; i < 64; ++i) taken.push_back(pool.Take(1));
    const size_t at = 64 - length;
    for (size_t i = at; i < 64; ++i) pool.Put(taken[i]);
    if (at > 1) pool.Put(taken[at - 2]);  // a hole of one before it
    const auto run = pool.Take(length);
    ASSERT_EQ(run.size(), length);
    EXPECT_EQ(pool.OffsetOf(run), length == 1 && at > 1 ? at - 2 : at) << length;
    EXPECT_TRUE(pool.Take(65).empty());
  }
}

TEST(ExecutorTest, GivenTasksOfAnotherThreadWhenItSleepsThenTheyWakeItAndKeepTheirOrder) {
  struct Noted : Task {
    std::vector<int>* log = nullptr;
    int number = 0;
  };
  ThreadExecutor executor;
  std::vector<int> log;
  std::vector<Noted> tasks(1000);
  for (int i = 0; i < 1000; ++i) {
    tasks[i].log = &log;
    tasks[i].number = i;
    tasks[i].run = [](Task& task) {
      auto& noted = static_cast<Noted&>(task);
      noted.log->push_back(noted.number);
    };
  }
  std::jthread other([&] {
    for (Noted& task : tasks) executor.Post(task);
  });
  RunUntil(executor, [&] { return log.size() == tasks.size(); });
  EXPECT_TRUE(std::is_sorted(log.begin(), log.end()));
}

TEST(ExecutorTest, GivenNobodySleepsWhenSomethingIsPostedThenSleepRefuses) {
  ThreadExecutor executor;
  int runs = 0;
  struct Counted : Task {
    int* runs = nullptr;
  } task;
  task.runs = &runs;
  task.run = [](Task& ran) { ++*static_cast<Counted&>(ran).runs; };
  executor.Post(task);
  EXPECT_FALSE(executor.Sleep());
  EXPECT_TRUE(executor.RunReady());
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(executor.RunReady());
  EXPECT_TRUE(executor.Sleep());
  executor.Awake();
}

TEST(ThreadPoolTest, GivenNoThreadsWhenATaskComesThenTheCallerRunsIt) {
  ThreadPool pool(0);
  static std::thread::id ran_on;
  Task task;
  task.run = [](Task&) { ran_on = std::this_thread::get_id(); };
  pool.Run(task);
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(ThreadExecutor, GivenATaskThatThrowsWhenRunThenThoseBehindItAreNotLost) {
  struct Counting : Task {
    int runs = 0;
  };
  ThreadExecutor executor(ThreadExecutor::Rings::kNever);
  Counting first, second;
  first.run = [](Task&) { throw std::runtime_error("the connection has ended"); };
  second.run = [](Task& task) { ++static_cast<Counting&>(task).runs; };
  executor.Post(first);
  executor.Post(second);
  EXPECT_THROW(executor.RunReady(), std::runtime_error);
  EXPECT_FALSE(executor.Sleep()) << "there is something to run";
  EXPECT_TRUE(executor.RunReady());
  EXPECT_EQ(second.runs, 1);
}

}  // namespace
}  // namespace qpip::storage::testing
