#include "storage/leaves/file_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <random>
#include <semaphore>

#include "bench.h"

namespace qpip::storage::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Rings = ThreadExecutor::Rings;

constexpr uint32_t kNothing = kHole | kZeroes;

/// Calls that do what the test says, and a log of them.
struct Script {
  std::vector<std::string> log;
  ssize_t most = SSIZE_MAX;  ///< bytes one call moves
  int write_error = 0;
  int sync_error = 0;
  int punch_error = 0;
  int zero_range_error = 0;
  int interruptions = 0;  ///< of syncs and allocations: EINTR so often first
};
Script script;

bool IsInterrupted() {
  if (script.interruptions == 0) return false;
  --script.interruptions;
  errno = EINTR;
  return true;
}

ssize_t Cut(const iovec* data, int count, ssize_t (*call)(int, const iovec*, int, off_t), int fd,
            off_t offset) {
  std::vector<iovec> some;
  ssize_t left = script.most;
  for (int i = 0; i < count && left > 0; ++i) {
    const auto bytes = std::min<size_t>(data[i].iov_len, static_cast<size_t>(left));
    some.push_back({data[i].iov_base, bytes});
    left -= static_cast<ssize_t>(bytes);
  }
  return call(fd, some.data(), static_cast<int>(some.size()), offset);
}

const FileCalls kScripted = {
    .read = [](int fd, const iovec* data, int count,
               off_t offset) { return Cut(data, count, preadv, fd, offset); },
    .write = [](int fd, const iovec* data, int count, off_t offset) -> ssize_t {
      script.log.push_back("write");
      if (script.write_error != 0) {
        errno = script.write_error;
        return -1;
      }
      return Cut(data, count, pwritev, fd, offset);
    },
    .sync =
        [](int fd) {
          script.log.push_back("sync");
          if (IsInterrupted()) return -1;
          if (script.sync_error == 0) return fdatasync(fd);
          errno = std::exchange(script.sync_error, 0);
          return -1;
        },
    .allocate =
        [](int fd, int mode, off_t offset, off_t length) {
          const bool punch = (mode & FALLOC_FL_PUNCH_HOLE) != 0;
          script.log.push_back(punch ? "punch" : "zero_range");
          if (IsInterrupted()) return -1;
          const int error = punch ? script.punch_error : script.zero_range_error;
          if (error == 0) return fallocate(fd, mode, offset, length);
          errno = error;
          return -1;
        }};

class FileDeviceTest : public ::testing::Test {
 protected:
  FileDeviceTest() : path_(::testing::TempDir() + "qpip_file_" + std::to_string(getpid())) {
    script = {};
  }
  ~FileDeviceTest() override { unlink(path_.c_str()); }

  void MakeFile(const Bytes& content) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
  }
  Bytes Content() const {
    std::ifstream file(path_, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  }
  std::unique_ptr<FileDevice> Open(FileOptions options = {}) {
    return std::make_unique<FileDevice>(path_, options, pool_);
  }
  std::unique_ptr<FileDevice> OpenScripted() { return Open({.calls = &kScripted}); }

  std::string path_;
  ThreadPool pool_{2};
  Bench bench_;
};

/// By a ring (where the system has one) and by threads.
class EitherWayTest : public FileDeviceTest, public ::testing::WithParamInterface<Rings> {
 protected:
  EitherWayTest() : bench_(GetParam()) {}
  Bench bench_;
};
INSTANTIATE_TEST_SUITE_P(Ways, EitherWayTest,
                         ::testing::Values(Rings::kWherePermitted, Rings::kNever));

TEST_P(EitherWayTest, GivenScatteredReadsAndWritesOfOddSizesThenTheFileIsTheModel) {
  Bytes model = Ramp(300007);
  MakeFile(model);
  const auto file = Open();
  EXPECT_EQ(file->geometry().bytes, model.size());
  std::mt19937_64 random(1);
  for (int i = 0; i < 100; ++i) {
    const uint64_t at = random() % model.size();
    const size_t length = 1 + random() % (model.size() - at);
    const size_t run = 1 + random() % 5000;
    if (i % 2 == 0) {
      ASSERT_EQ(bench_.Read(*file, at, length, run),
                Bytes(model.begin() + static_cast<ptrdiff_t>(at),
                      model.begin() + static_cast<ptrdiff_t>(at + length)));
    } else {
      const Bytes fresh = Ramp(length, static_cast<uint8_t>(i));
      ASSERT_EQ(bench_.Write(*file, at, fresh, 0, run), 0);
      std::copy(fresh.begin(), fresh.end(), model.begin() + static_cast<ptrdiff_t>(at));
    }
  }
  EXPECT_EQ(Content(), model);
}

TEST_P(EitherWayTest, GivenManyInFlightThenEachEndsOnceWithItsOwnBytes) {
  constexpr size_t kCount = 500;  // more than a ring has entries
  const Bytes model = Ramp(kCount * 100);
  MakeFile(model);
  const auto file = Open();
  std::vector<Bytes> got(kCount, Bytes(100));
  std::vector<iovec> runs(kCount);
  std::vector<Request> requests(kCount);
  size_t ended = 0;
  for (size_t i = 0; i < kCount; ++i) {
    runs[i] = {got[i].data(), 100};
    requests[i].offset = i * 100;
    requests[i].length = 100;
    requests[i].data = {&runs[i], 1};
    requests[i].executor = &bench_.executor;
    requests[i].context = &ended;
    requests[i].done = [](Request& over) { ++*static_cast<size_t*>(over.context); };
    file->Submit(requests[i]);
  }
  RunUntil(bench_.executor, [&] { return ended == kCount; });
  for (size_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(requests[i].error, 0);
    ASSERT_TRUE(
        std::equal(got[i].begin(), got[i].end(), model.begin() + static_cast<ptrdiff_t>(i * 100)));
  }
}

TEST_P(EitherWayTest, GivenAFileThatWasCutWhenReadPastItsEndThenItIsAnIoErrorAndWritesGrowIt) {
  MakeFile(Ramp(10000));
  const auto file = Open();
  ASSERT_EQ(truncate(path_.c_str(), 5000), 0);
  Bytes bytes(6000);
  EXPECT_EQ(bench_.Move(*file, Op::kRead, 0, bytes), EIO);
  EXPECT_EQ(bench_.Read(*file, 0, 5000), Bytes(Ramp(5000)));
  EXPECT_EQ(bench_.Write(*file, 9000, Ramp(1000)), 0);
  EXPECT_EQ(bench_.Read(*file, 8999, 1), Bytes{0});
}

TEST_P(EitherWayTest, GivenAReadOnlyDeviceWhenWrittenThenItRefuses) {
  MakeFile(Ramp(100));
  const auto file = Open({.read_only = true});
  EXPECT_TRUE(file->geometry().read_only);
  EXPECT_FALSE(file->geometry().trim);
  EXPECT_EQ(bench_.Write(*file, 0, Ramp(10)), EBADF);
}

TEST_P(EitherWayTest, GivenFuaAndFlushThenTheyEndWithoutError) {
  MakeFile(Bytes(10000));
  const auto file = Open();
  EXPECT_EQ(bench_.Write(*file, 10, Ramp(100), kFua), 0);
  EXPECT_EQ(bench_.Run(*file, Op::kFlush, 0, 0), 0);
  EXPECT_EQ(bench_.Run(*file, Op::kTrim, 0, 10, kFua), 0);
}

TEST_F(FileDeviceTest, GivenAFileWhoseSizeChangesThenTheNextGeometryTells) {
  MakeFile(Ramp(5000));
  const auto file = Open();
  for (const uint64_t bytes : {9000, 3000}) {
    ASSERT_EQ(truncate(path_.c_str(), static_cast<off_t>(bytes)), 0);
    EXPECT_EQ(file->geometry().bytes, bytes);
  }
}

TEST_F(FileDeviceTest, GivenAFileInMemoryThenWhatIsAskedForIsDoneAtOnce) {
  const int memory = memfd_create("qpip_file", MFD_CLOEXEC);  // of tmpfs
  ASSERT_GE(memory, 0);
  ASSERT_EQ(ftruncate(memory, 5000), 0);
  FileDevice file("/proc/self/fd/" + std::to_string(memory), {}, pool_);
  Bytes bytes = Ramp(3000);
  for (const Op op : {Op::kWrite, Op::kFlush, Op::kRead}) {
    iovec run = {bytes.data(), bytes.size()};
    bool over = false;
    Request request;
    request.op = op;
    request.flags = op == Op::kWrite ? uint32_t{kFua} : 0;
    request.offset = 1000;
    request.length = bytes.size();
    request.data = {&run, op == Op::kFlush ? 0u : 1u};
    request.executor = &bench_.executor;
    request.context = &over;
    request.done = [](Request& ended) { *static_cast<bool*>(ended.context) = true; };
    file.Submit(request);
    ASSERT_TRUE(over) << static_cast<int>(op);
    EXPECT_EQ(request.error, 0);
    if (op == Op::kFlush) bytes.assign(bytes.size(), 0);
  }
  EXPECT_EQ(bytes, Ramp(3000));
  close(memory);
}

TEST_F(FileDeviceTest, GivenCallsThatMoveLittleWhenMoreIsAskedForThenTheRestFollows) {
  MakeFile(Ramp(5000));
  const auto file = OpenScripted();
  script.most = 7;
  const Bytes model = Ramp(5000);
  EXPECT_EQ(bench_.Read(*file, 1, 4000, 100), Bytes(model.begin() + 1, model.begin() + 4001));
}

TEST_F(FileDeviceTest, GivenFuaThenTheSyncComesBehindTheWholeWriteAndBeforeTheEnd) {
  MakeFile(Bytes(5000));
  const auto file = OpenScripted();
  script.most = 60;
  EXPECT_EQ(bench_.Write(*file, 0, Ramp(150), kFua), 0);
  EXPECT_THAT(script.log, ElementsAre("write", "write", "write", "sync"));
  script.log.clear();
  EXPECT_EQ(bench_.Write(*file, 0, Ramp(10)), 0);
  EXPECT_THAT(script.log, ElementsAre("write"));
  script.log.clear();
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 0, 10, kFua), 0);
  EXPECT_EQ(script.log.back(), "sync");
}

TEST_F(FileDeviceTest, GivenAWriteThatFailsThenItsErrorIsToldAndNothingIsSynced) {
  MakeFile(Bytes(5000));
  const auto file = OpenScripted();
  for (const int error : {ENOSPC, EIO, EDQUOT, EFBIG}) {
    script.write_error = error;
    EXPECT_EQ(bench_.Write(*file, 0, Ramp(10), kFua), error);
  }
  EXPECT_EQ(std::count(script.log.begin(), script.log.end(), "sync"), 0);
  script.write_error = 0;
  EXPECT_EQ(bench_.Write(*file, 0, Ramp(10), kFua), 0);
}

TEST_F(FileDeviceTest, GivenASyncThatFailedOnceThenEveryLaterFlushAndFuaFails) {
  MakeFile(Bytes(5000));
  const auto file = OpenScripted();
  script.sync_error = EIO;
  EXPECT_EQ(bench_.Run(*file, Op::kFlush, 0, 0), EIO);
  EXPECT_EQ(bench_.Run(*file, Op::kFlush, 0, 0), EIO);
  EXPECT_EQ(bench_.Write(*file, 0, Ramp(10), kFua), EIO);
  EXPECT_EQ(bench_.Write(*file, 0, Ramp(10)), 0);
  EXPECT_EQ(std::count(script.log.begin(), script.log.end(), "sync"), 1);
}

TEST_F(FileDeviceTest, GivenSignalsBetweenThenSyncsAndAllocationsAreMadeAgainAndNoneHasFailed) {
  MakeFile(Ramp(100000));
  const auto file = OpenScripted();
  script.interruptions = 2;
  EXPECT_EQ(bench_.Run(*file, Op::kFlush, 0, 0), 0);
  EXPECT_THAT(script.log, ElementsAre("sync", "sync", "sync"));
  script.log.clear();
  script.interruptions = 1;
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 0, 4096), 0);
  EXPECT_THAT(script.log, ElementsAre("punch", "punch"));
  script.interruptions = 1;
  EXPECT_EQ(bench_.Run(*file, Op::kTrim, 4096, 4096), 0);
  script.interruptions = 1;
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 8192, 4096, kNoHole), 0);
  EXPECT_EQ(bench_.Run(*file, Op::kFlush, 0, 0), 0);
  EXPECT_EQ(script.interruptions, 0);
}

TEST_F(FileDeviceTest, GivenZeroesThenAHoleIsPunchedOrTheRangeStaysAllocatedAsAsked) {
  MakeFile(Ramp(100000));
  const auto file = OpenScripted();
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 1, 50001), 0);
  EXPECT_THAT(script.log, ElementsAre("punch"));
  script.log.clear();
  script.zero_range_error = EOPNOTSUPP;
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 60001, 30001, kNoHole), 0);
  EXPECT_THAT(script.log, ElementsAre("zero_range", "write"));
  Bytes model = Ramp(100000);
  std::fill_n(model.begin() + 1, 50001, 0);
  std::fill_n(model.begin() + 60001, 30001, 0);
  EXPECT_EQ(Content(), model);
}

TEST_F(FileDeviceTest,
       GivenAFileSystemThatCannotZeroWhenFastThenNothingIsChangedElseZeroesAreWritten) {
  MakeFile(Ramp(3000000));
  const auto file = OpenScripted();
  script.punch_error = script.zero_range_error = EOPNOTSUPP;
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 100, 2500001, kFastZero), EOPNOTSUPP);
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 100, 2500001, kFastZero | kNoHole), EOPNOTSUPP);
  EXPECT_EQ(Content(), Ramp(3000000));
  script.log.clear();
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 100, 2500001), 0);
  EXPECT_THAT(script.log, ElementsAre("write", "write", "write"));  // it is not asked again
  Bytes model = Ramp(3000000);
  std::fill_n(model.begin() + 100, 2500001, 0);
  EXPECT_EQ(Content(), model);
  EXPECT_EQ(bench_.Run(*file, Op::kTrim, 0, 1001), 0);  // a hint that is not followed
  EXPECT_EQ(Content(), model);
}

/// Calls of a file system that can only write zeroes, of which the first waits at `gate`.
std::binary_semaphore gate{0};
const FileCalls kSlow = {.read = preadv,
                         .write = [](int, const iovec* data, int count, off_t) -> ssize_t {
                           if (script.log.empty()) gate.acquire();
                           script.log.push_back("write");
                           size_t bytes = 0;
                           for (int i = 0; i < count; ++i) bytes += data[i].iov_len;
                           return static_cast<ssize_t>(bytes);
                         },
                         .sync = fdatasync,
                         .allocate =
                             [](int, int, off_t, off_t) {
                               errno = EOPNOTSUPP;
                               return -1;
                             }};

TEST_F(FileDeviceTest, GivenALongZeroWhenThereIsOneThreadThenOthersAreServedBetweenItsSteps) {
  MakeFile({});
  ASSERT_EQ(truncate(path_.c_str(), 200 << 20), 0);
  ThreadPool one(1);
  FileDevice file(path_, {.calls = &kSlow}, one);
  std::vector<Op> ended;
  std::array<Request, 2> requests;
  for (Request& each : requests) {
    each.offset = 100;
    each.length = 150 << 20;
    each.executor = &bench_.executor;
    each.context = &ended;
    each.done = [](Request& over) {
      EXPECT_EQ(over.error, 0);
      static_cast<std::vector<Op>*>(over.context)->push_back(over.op);
    };
  }
  requests[0].op = Op::kZero;
  requests[1].op = Op::kCache;
  for (Request& each : requests) file.Submit(each);
  gate.release();  // the other one waits for the thread by now
  RunUntil(bench_.executor, [&] { return ended.size() == 2; });
  EXPECT_THAT(ended, ElementsAre(Op::kCache, Op::kZero));
  EXPECT_EQ(script.log.size(), 151u);  // of a mebibyte, and what is left of a step and of all
}

TEST_F(FileDeviceTest, GivenALongZeroWhenItIsCancelledThenItEndsBehindTheStepThatIsUnderWay) {
  MakeFile({});
  ASSERT_EQ(truncate(path_.c_str(), 200 << 20), 0);
  FileDevice file(path_, {.calls = &kSlow}, pool_);
  std::atomic<bool> cancelled = false;
  bool over = false;
  Request request;
  request.op = Op::kZero;
  request.offset = 100;
  request.length = 150 << 20;
  request.executor = &bench_.executor;
  request.cancelled = &cancelled;
  request.context = &over;
  request.done = [](Request& ended) { *static_cast<bool*>(ended.context) = true; };
  file.Submit(request);
  cancelled = true;
  gate.release();
  RunUntil(bench_.executor, [&] { return over; });
  EXPECT_EQ(request.error, ESHUTDOWN);
  EXPECT_EQ(script.log.size(), 32u);  // of a mebibyte
}

TEST_F(FileDeviceTest, GivenZeroesAndTrimsOfManyStepsThenTheyAreOfTheWholeRange) {
  constexpr uint64_t kStep = 32 << 20;
  MakeFile({});
  ASSERT_EQ(truncate(path_.c_str(), 3 * kStep), 0);
  const auto file = OpenScripted();
  for (const Op op : {Op::kZero, Op::kTrim}) {
    ASSERT_EQ(bench_.Write(*file, kStep - 100, Ramp(200)), 0);
    ASSERT_EQ(bench_.Write(*file, 2 * kStep - 50, Ramp(200)), 0);
    script.log.clear();
    EXPECT_EQ(bench_.Run(*file, op, kStep - 50, kStep + 100, kFua), 0);
    EXPECT_THAT(script.log, ElementsAre("punch", "punch", "sync"));
    EXPECT_EQ(bench_.Read(*file, kStep - 100, 50), Ramp(50));
    EXPECT_EQ(bench_.Read(*file, kStep - 50, 200), Bytes(200));
    EXPECT_EQ(bench_.Read(*file, 2 * kStep - 50, 100), Bytes(100));
    const Bytes ramp = Ramp(200);
    EXPECT_EQ(bench_.Read(*file, 2 * kStep + 50, 100), Bytes(ramp.begin() + 100, ramp.end()));
  }
}

TEST_F(FileDeviceTest, GivenAFastZeroOfManyStepsThenItIsOneCall) {
  MakeFile({});
  ASSERT_EQ(truncate(path_.c_str(), 200 << 20), 0);
  const auto file = OpenScripted();
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 0, 150 << 20, kFastZero), 0);
  EXPECT_THAT(script.log, ElementsAre("punch"));
}

TEST_F(FileDeviceTest, GivenADiskThatIsFullWhenZeroesAreWrittenThenTheErrorIsTold) {
  MakeFile(Ramp(1000));
  const auto file = OpenScripted();
  script.punch_error = script.zero_range_error = EOPNOTSUPP;
  script.write_error = ENOSPC;
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 0, 1000), ENOSPC);
  script.punch_error = EIO;
  EXPECT_EQ(bench_.Run(*OpenScripted(), Op::kZero, 0, 1000), EIO);
}

TEST_F(FileDeviceTest, GivenASparseFileThenItsHolesAreToldFromAnyOffset) {
  constexpr uint64_t kUnit = 1 << 20;
  MakeFile({});
  ASSERT_EQ(truncate(path_.c_str(), 10 * kUnit + 5), 0);
  const auto file = Open();
  EXPECT_THAT(bench_.Status(*file, 0, 10 * kUnit + 5), ElementsAre(Pair(10 * kUnit + 5, kNothing)));
  EXPECT_EQ(bench_.Write(*file, 2 * kUnit, Ramp(kUnit)), 0);
  EXPECT_EQ(bench_.Write(*file, 10 * kUnit, Ramp(5)), 0);
  EXPECT_THAT(bench_.Status(*file, 0, 10 * kUnit + 5),
              ElementsAre(Pair(2 * kUnit, kNothing), Pair(kUnit, 0), Pair(7 * kUnit, kNothing),
                          Pair(5, 0)));
  EXPECT_THAT(bench_.Status(*file, kUnit + 7, 10 * kUnit - 7, kOneExtent),
              ElementsAre(Pair(kUnit - 7, kNothing)));
  EXPECT_THAT(bench_.Status(*file, 2 * kUnit + 1, 5, 0), ElementsAre(Pair(5, 0)));
  EXPECT_THAT(bench_.Status(*file, 0, 10 * kUnit, 0, 1), ElementsAre(Pair(2 * kUnit, kNothing)));
}

TEST_F(FileDeviceTest, GivenAFileThatWasCutThenWhatIsMissingIsNotToldToBeZeroes) {
  constexpr uint64_t kUnit = 1 << 20;
  MakeFile(Ramp(kUnit));
  const auto file = Open();
  ASSERT_EQ(truncate(path_.c_str(), 4 * kUnit), 0);
  EXPECT_THAT(bench_.Status(*file, 0, 8 * kUnit),
              ElementsAre(Pair(kUnit, 0), Pair(3 * kUnit, kNothing), Pair(4 * kUnit, 0)));
  EXPECT_THAT(bench_.Status(*file, 2 * kUnit, 6 * kUnit, kOneExtent),
              ElementsAre(Pair(2 * kUnit, kNothing)));
  EXPECT_THAT(bench_.Status(*file, 5 * kUnit, kUnit, kOneExtent), ElementsAre(Pair(kUnit, 0)));
  ASSERT_EQ(truncate(path_.c_str(), 0), 0);
  EXPECT_THAT(bench_.Status(*file, 0, kUnit), ElementsAre(Pair(kUnit, 0)));
}

TEST_F(FileDeviceTest, GivenAFileThatWasCutWhenZeroedPastItsEndThenItGrowsAsByWrites) {
  for (const uint32_t flags : {0u, uint32_t{kNoHole}, uint32_t{kFastZero}}) {
    MakeFile(Ramp(10000));
    const auto file = Open();
    ASSERT_EQ(truncate(path_.c_str(), 5000), 0);
    ASSERT_EQ(bench_.Run(*file, Op::kZero, 4000, 5000, flags), 0);
    Bytes model = Ramp(9000);
    std::fill(model.begin() + 4000, model.end(), 0);
    EXPECT_EQ(bench_.Read(*file, 0, 9000), model);
    EXPECT_EQ(Content(), model);
  }
}

TEST_F(FileDeviceTest, GivenZeroesWithoutAHoleThenTheyAreToldToBeAllocated) {
  MakeFile(Ramp(4 << 20));
  const auto file = Open();
  EXPECT_EQ(bench_.Run(*file, Op::kTrim, 0, 4 << 20), 0);
  EXPECT_EQ(bench_.Run(*file, Op::kZero, 1 << 20, 1 << 20, kNoHole), 0);
  const auto status = bench_.Status(*file, 0, 4 << 20);
  ASSERT_EQ(status.size(), 3u);
  EXPECT_EQ(status[0], (std::pair<uint64_t, uint32_t>(1 << 20, kNothing)));
  EXPECT_EQ(status[1].first, 1u << 20);
  EXPECT_EQ(status[1].second & kHole, 0u);  // zeroes that were written, where it can do no better
  EXPECT_EQ(status[2], (std::pair<uint64_t, uint32_t>(2 << 20, kNothing)));
  EXPECT_EQ(bench_.Read(*file, 0, 4 << 20), Bytes(4 << 20));
}

TEST_F(FileDeviceTest, GivenATrimThenItsSpaceIsGivenBack) {
  MakeFile(Ramp(1 << 20));
  const auto file = Open();
  EXPECT_EQ(bench_.Run(*file, Op::kFlush, 0, 0), 0);
  EXPECT_EQ(bench_.Run(*file, Op::kTrim, 0, 1 << 20, kFua), 0);
  EXPECT_EQ(bench_.Run(*file, Op::kCache, 0, 1 << 20), 0);
  struct stat status = {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_blocks, 0);
}

TEST_F(FileDeviceTest, GivenWhatIsNoFileThenTheErrorNamesIt) {
  const auto message = [&](const std::string& path) -> std::string {
    try {
      FileDevice(path, {}, pool_);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message("/nowhere/at all"), HasSubstr("cannot open: /nowhere/at all: "));
  EXPECT_THAT(message(::testing::TempDir()), HasSubstr("cannot "));
  EXPECT_THAT(message("/dev/null"), HasSubstr("cannot be exported: /dev/null: "));
}

}  // namespace
}  // namespace qpip::storage::testing
