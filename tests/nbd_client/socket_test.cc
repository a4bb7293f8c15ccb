// A kernel's sockets, as the client makes them.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"

namespace qpip::nbd::internal {
namespace {

/// Given somebody who listens.
class SocketTest : public ::testing::Test {
 protected:
  SocketTest() : listening_(socket(AF_INET6, SOCK_STREAM, 0)) {
    sockaddr_in6 address = {};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    socklen_t size = sizeof address;
    bind(listening_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listening_, 1);
    getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size);
    where_ = "[::1]:" + std::to_string(ntohs(address.sin6_port));
  }
  ~SocketTest() override { close(listening_); }

  /// Options of a connection that is made with this keep-alive, and is open as long as the test.
  int Option(int level, int name) const {
    int value = -1;
    socklen_t size = sizeof value;
    EXPECT_EQ(getsockopt(fd_, level, name, &value, &size), 0);
    return value;
  }
  void Connect(std::chrono::seconds keepalive) {
    wire_ = MakeSocketWire(where_, keepalive);
    fd_ = dup(listening_);  // the next that is free is what Connect gets
    close(fd_);
    channel_ = wire_->Connect();
  }

  int listening_;
  int fd_ = -1;
  std::string where_;
  std::unique_ptr<Wire> wire_;
  std::unique_ptr<Channel> channel_;
};

TEST_F(SocketTest, OneThatIsSilentIsAskedAndGivenUpWithinTwiceTheTime) {
  Connect(std::chrono::seconds(60));
  EXPECT_EQ(Option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_KEEPINTVL) * Option(IPPROTO_TCP, TCP_KEEPCNT), 60);
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_USER_TIMEOUT), 120'000);
}

TEST_F(SocketTest, TheShortestAndTheLongestTimesAreTaken) {
  Connect(std::chrono::seconds(1));
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_KEEPIDLE), 1);
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_KEEPINTVL), 1);
  channel_.reset();
  Connect(std::chrono::seconds(1'000'000));
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_KEEPIDLE), 32767);
  EXPECT_GT(Option(IPPROTO_TCP, TCP_USER_TIMEOUT), 60'000'000);
}

TEST_F(SocketTest, OfNoTimeNothingIsAsked) {
  Connect(std::chrono::seconds(0));
  EXPECT_EQ(Option(SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
}

}  // namespace
}  // namespace qpip::nbd::internal
