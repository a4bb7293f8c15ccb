#include "apps/nbd/export.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "apps/common/command_line.h"
#include "memory_transport.h"
#include "storage/core/thread_pool.h"

namespace qpip::nbd::testing {
namespace {

/// Given an empty directory.
class ExportTest : public ::testing::Test {
 protected:
  ExportTest() {
    std::string pattern = ::testing::TempDir() + "qpip-export-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~ExportTest() override { std::filesystem::remove_all(directory_); }

  std::string MakeFile(const Bytes& content) {
    const std::string path = directory_ + "/file";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
    return path;
  }

  storage::ThreadPool workers_{1};
  std::string directory_;
};

TEST_F(ExportTest, GivenWhatIsNoFileThenTheErrorNamesIt) {
  EXPECT_THROW(OpenDevice(directory_ + "/missing", false, workers_), apps::Failure);
  EXPECT_THROW(OpenDevice(directory_, true, workers_), apps::Failure);
  EXPECT_THROW(OpenDevice("/dev/null", false, workers_), apps::Failure);
  const std::string fifo = directory_ + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THROW(OpenDevice(fifo, true, workers_), apps::Failure);
}

TEST_F(ExportTest, GivenAFileAndMemoryThenTheirSizesAreThose) {
  EXPECT_EQ(OpenDevice(MakeFile(Ramp(10000)), true, workers_)->geometry().bytes, 10000u);
  EXPECT_EQ(OpenDevice("memory:3M", false, workers_)->geometry().bytes, 3u << 20);
  EXPECT_EQ(OpenDevice("memory:2T", false, workers_)->geometry().bytes, uint64_t{2} << 40);
  EXPECT_EQ(OpenDevice("null:4097", false, workers_)->geometry().bytes, 4097u);
  for (const char* bad : {"memory:", "memory:0", "memory:x", "null:1E", "memory:99999T"}) {
    EXPECT_THROW(OpenDevice(bad, false, workers_), apps::UsageError) << bad;
  }
}

TEST(ExportTableTest, GivenNamesThenTheFirstIsTheDefaultAndDuplicatesAreRefused) {
  ExportTable table;
  EXPECT_EQ(table.Find(""), nullptr);
  const auto add = [&](const std::string& name, size_t bytes) {
    table.Add({.name = name, .device = std::make_shared<ScriptedDevice>(bytes)});
  };
  add("a", 1);
  add("b", 2);
  EXPECT_EQ(table.Find("")->name, "a");
  EXPECT_EQ(table.Find("b")->device->geometry().bytes, 2u);
  EXPECT_EQ(table.Find("c"), nullptr);
  EXPECT_THROW(add("a", 1), apps::UsageError);
  EXPECT_THROW(add("", 1), apps::UsageError);
  EXPECT_THROW(add(std::string(kMaxNameBytes + 1, 'x'), 1), apps::UsageError);
}

TEST(ExportArgumentTest, GivenArgumentsThenNameAndPathAreSplit) {
  EXPECT_EQ(ParseExportArgument("root=/a/b.img").name, "root");
  EXPECT_EQ(ParseExportArgument("root=/a/b=c.img").what, "/a/b=c.img");
  EXPECT_EQ(ParseExportArgument("/a/b.img").name, "b.img");
  EXPECT_EQ(ParseExportArgument("b.img").name, "b.img");
  EXPECT_THROW(ParseExportArgument("=x"), apps::UsageError);
  EXPECT_THROW(ParseExportArgument("x="), apps::UsageError);
  EXPECT_THROW(ParseExportArgument("dir/"), apps::UsageError);
  EXPECT_THROW(ParseExportArgument(""), apps::UsageError);
}

}  // namespace
}  // namespace qpip::nbd::testing
