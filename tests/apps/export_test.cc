#include "apps/nbd/export.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "apps/common/command_line.h"
#include "memory_transport.h"

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

  std::string directory_;
};

TEST_F(ExportTest, GivenAFileThenReadsAndScatteredWritesAreExact) {
  FileDevice device(MakeFile(Ramp(10000)), false);
  EXPECT_EQ(device.size_bytes(), 10000u);
  Bytes a = Ramp(3000, 50), empty, b = Ramp(1, 51), c = Ramp(2000, 52);
  std::vector<iovec> list = {
      {a.data(), a.size()}, {empty.data(), 0}, {b.data(), b.size()}, {c.data(), c.size()}};
  EXPECT_EQ(device.Write(4000, list), 0);
  EXPECT_EQ(device.Flush(), 0);
  Bytes read(10000);
  EXPECT_EQ(device.Read(0, read), 0);
  Bytes expected = Ramp(10000);
  const Bytes written = a + b + c;
  std::copy(written.begin(), written.end(), expected.begin() + 4000);
  EXPECT_EQ(read, expected);
}

TEST_F(ExportTest, GivenAFileThatWasCutWhenReadPastItsEndThenItIsAnIoError) {
  const std::string path = MakeFile(Ramp(1000));
  FileDevice device(path, true);
  ASSERT_EQ(truncate(path.c_str(), 500), 0);
  Bytes read(1000);
  EXPECT_EQ(device.Read(0, read), EIO);
}

TEST_F(ExportTest, GivenAReadOnlyDeviceWhenWrittenThenItRefuses) {
  FileDevice device(MakeFile(Ramp(10)), true);
  Bytes data = Ramp(1);
  iovec run = {data.data(), 1};
  EXPECT_EQ(device.Write(0, {&run, 1}), EBADF);
}

TEST_F(ExportTest, GivenWhatIsNoFileThenTheErrorNamesIt) {
  EXPECT_THROW(FileDevice(directory_ + "/missing", false), apps::Failure);
  EXPECT_THROW(FileDevice(directory_, true), apps::Failure);
  EXPECT_THROW(FileDevice("/dev/null", false), apps::Failure);
  const std::string fifo = directory_ + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THROW(FileDevice(fifo, true), apps::Failure);
}

TEST(ExportTableTest, GivenNamesThenTheFirstIsTheDefaultAndDuplicatesAreRefused) {
  ExportTable table;
  EXPECT_EQ(table.Find(""), nullptr);
  table.Add("a", std::make_unique<MemoryDevice>(1));
  table.Add("b", std::make_unique<MemoryDevice>(2));
  EXPECT_EQ(table.Find("")->name, "a");
  EXPECT_EQ(table.Find("b")->device->size_bytes(), 2u);
  EXPECT_EQ(table.Find("c"), nullptr);
  EXPECT_THROW(table.Add("a", std::make_unique<MemoryDevice>(1)), apps::UsageError);
  EXPECT_THROW(table.Add("", std::make_unique<MemoryDevice>(1)), apps::UsageError);
  EXPECT_THROW(table.Add(std::string(kMaxNameBytes + 1, 'x'), std::make_unique<MemoryDevice>(1)),
               apps::UsageError);
}

TEST(ExportArgumentTest, GivenArgumentsThenNameAndPathAreSplit) {
  EXPECT_EQ(ParseExportArgument("root=/a/b.img").name, "root");
  EXPECT_EQ(ParseExportArgument("root=/a/b=c.img").path, "/a/b=c.img");
  EXPECT_EQ(ParseExportArgument("/a/b.img").name, "b.img");
  EXPECT_EQ(ParseExportArgument("b.img").name, "b.img");
  EXPECT_THROW(ParseExportArgument("=x"), apps::UsageError);
  EXPECT_THROW(ParseExportArgument("x="), apps::UsageError);
  EXPECT_THROW(ParseExportArgument("dir/"), apps::UsageError);
  EXPECT_THROW(ParseExportArgument(""), apps::UsageError);
}

}  // namespace
}  // namespace qpip::nbd::testing
