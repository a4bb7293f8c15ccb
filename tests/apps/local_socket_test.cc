#include "apps/nbd/local_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "apps/common/command_line.h"

namespace qpip::nbd {
namespace {

/// Given an empty directory, and the path of a socket in it.
class LocalSocketTest : public ::testing::Test {
 protected:
  LocalSocketTest() {
    std::string pattern = "/tmp/qpip-socket-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ + "/s";
  }
  ~LocalSocketTest() override { std::filesystem::remove_all(directory_); }

  FileDescriptor Connect() const {
    FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(LocalSocketTest, GivenAClientThenAcceptReturnsItAndOtherwiseNothing) {
  LocalSocket socket(path_);
  EXPECT_FALSE(socket.Accept());
  const FileDescriptor client = Connect();
  EXPECT_TRUE(socket.Accept());
  EXPECT_FALSE(socket.Accept());
}

TEST_F(LocalSocketTest, GivenTheEndThenThePathIsGone) {
  {
    LocalSocket socket(path_);
    EXPECT_TRUE(std::filesystem::exists(path_));
    const std::filesystem::directory_iterator folder(directory_);
    EXPECT_EQ(std::distance(begin(folder), end(folder)), 1) << "what it was made under";
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(LocalSocketTest, GivenThePathIsAsLongAsAnAddressHoldsThenItIsListenedOn) {
  const size_t room = sizeof(sockaddr_un::sun_path) - 1;
  path_ = directory_ + "/" + std::string(room - directory_.size() - 3, 'f');
  std::filesystem::create_directory(path_);
  path_ += "/s";
  ASSERT_EQ(path_.size(), room);
  LocalSocket socket(path_);
  const FileDescriptor client = Connect();
  EXPECT_TRUE(socket.Accept());
}

TEST_F(LocalSocketTest, GivenASocketInUseThenItIsRefusedAndStaysUsable) {
  LocalSocket first(path_);
  EXPECT_THROW(LocalSocket second(path_), apps::Failure);
  while (first.Accept()) continue;  // the probe
  const FileDescriptor client = Connect();
  EXPECT_TRUE(first.Accept());
}

TEST_F(LocalSocketTest, GivenAStaleSocketThenItIsReplaced) {
  {
    // Bound and closed without unlinking, as a killed process leaves it.
    const FileDescriptor stale(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    ASSERT_EQ(bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(path_));
  LocalSocket socket(path_);
  const FileDescriptor client = Connect();
  EXPECT_TRUE(socket.Accept());
}

TEST_F(LocalSocketTest, GivenAFileThatIsNoSocketThenItIsRefusedAndKept) {
  std::ofstream(path_) << "precious";
  EXPECT_THROW(LocalSocket socket(path_), apps::Failure);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(LocalSocketTest, GivenBadPathsThenTheyAreRefused) {
  EXPECT_THROW(LocalSocket(""), apps::UsageError);
  EXPECT_THROW(LocalSocket(std::string(200, 'x')), apps::UsageError);
  EXPECT_THROW(LocalSocket(directory_ + "/missing/s"), apps::Failure);
}

}  // namespace
}  // namespace qpip::nbd
