// An NBD connection over a kernel's socket, whose other end is the test's.
#include "apps/nbd/socket_transport.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "apps/common/stop.h"

namespace qpip::nbd::testing {
namespace {

/// Given a Unix socket whose buffers hold far less than what is sent.
class SocketTransportTest : public ::testing::Test {
 protected:
  SocketTransportTest() {
    std::array<int, 2> ends = {};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    const int bytes = 16 * 1024;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    peer_ = FileDescriptor(ends[1]);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    transport_ = std::make_unique<SocketTransport>(FileDescriptor(ends[0]), stop_);
  }

  std::span<std::byte> Payload(size_t bytes) {
    const std::span<std::byte> payload = transport_->payload_area().first(bytes);
    for (size_t i = 0; i < bytes; ++i) payload[i] = static_cast<std::byte>(i * 7 + i / 256);
    return payload;
  }
  /// What has come by now.
  std::vector<std::byte> Received() {
    std::vector<std::byte> received;
    std::vector<std::byte> piece(64 * 1024);
    for (;;) {
      const ssize_t bytes = read(peer_.get(), piece.data(), piece.size());
      ended_ = bytes == 0;
      if (bytes <= 0) return received;
      received.insert(received.end(), piece.begin(), piece.begin() + bytes);
    }
  }

  apps::StopToken stop_;
  FileDescriptor peer_;
  std::unique_ptr<SocketTransport> transport_;
  bool ended_ = false;
};

TEST_F(SocketTransportTest, GivenAPeerThatDoesNotReadWhenTheTimeIsUpThenAFlushFailsAndSaysWhy) {
  transport_->SendPayload({}, Payload(200 * 1024));
  transport_->SetDeadline(std::chrono::steady_clock::now(), "time is up");
  try {
    transport_->Flush();
    FAIL() << "it was all sent";
  } catch (const ConnectionLost& lost) {
    EXPECT_STREQ(lost.what(), "time is up");
  }
}

TEST_F(SocketTransportTest, GivenAFlushThatFailedHalfWayWhenItClosesThenNothingIsSentTwice) {
  const std::span<std::byte> payload = Payload(200 * 1024);
  transport_->SendPayload({}, payload);
  transport_->SetDeadline(std::chrono::steady_clock::now(), "time is up");
  EXPECT_THROW(transport_->Flush(), ConnectionLost);
  transport_->SetDeadline(std::nullopt, {});
  const std::vector<std::byte> first = Received();
  ASSERT_FALSE(first.empty());
  ASSERT_LT(first.size(), payload.size());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), payload.begin()));

  shutdown(peer_.get(), SHUT_WR);  // so that it does not wait for the peer's close
  transport_->Close();
  EXPECT_TRUE(Received().empty());
  EXPECT_TRUE(ended_);
}

TEST_F(SocketTransportTest, GivenAPeerThatIsGoneWhenItFlushesThenTheConnectionIsLost) {
  const uint64_t ticket = transport_->SendPayload({}, Payload(1024));
  peer_ = FileDescriptor();
  EXPECT_THROW(transport_->Flush(), ConnectionLost);
  EXPECT_FALSE(transport_->Sent(ticket));
}

TEST_F(SocketTransportTest, GivenMuchPayloadWhenItIsSentThenItLeavesWithoutAFlush) {
  const int bytes = 1 << 20;  // room for all of it
  std::array<int, 2> ends = {};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  peer_ = FileDescriptor(ends[1]);
  transport_ = std::make_unique<SocketTransport>(FileDescriptor(ends[0]), stop_);
  const std::span<std::byte> payload = Payload(128 * 1024);
  const uint64_t first = transport_->SendPayload({}, payload);
  EXPECT_FALSE(transport_->Sent(first));  // more may come
  // Should there be no room for so much, the rest does not wait for a reader that there is not.
  transport_->SetDeadline(std::chrono::steady_clock::now(), "no room");
  try {
    const uint64_t second = transport_->SendPayload({}, payload);
    EXPECT_TRUE(transport_->Sent(second));
  } catch (const ConnectionLost&) {
  }
  EXPECT_FALSE(Received().empty());
}

/// Given a connection of TCP, whose other end is the test's.
class TcpTransportTest : public ::testing::Test {
 protected:
  TcpTransportTest() : peer_(socket(AF_INET6, SOCK_STREAM, 0)) {
    const FileDescriptor listening(socket(AF_INET6, SOCK_STREAM, 0));
    sockaddr_in6 address = {};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    socklen_t size = sizeof address;
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listening.get(), name, size), 0);
    EXPECT_EQ(listen(listening.get(), 1), 0);
    EXPECT_EQ(getsockname(listening.get(), name, &size), 0);
    EXPECT_EQ(connect(peer_.get(), name, size), 0);
    fd_ = accept(listening.get(), nullptr, nullptr);
    EXPECT_GE(fd_, 0);
  }
  void Open(std::chrono::seconds keepalive) {
    transport_ = std::make_unique<SocketTransport>(FileDescriptor(fd_), stop_, keepalive);
  }
  int Option(int level, int name) const {
    int value = -1;
    socklen_t size = sizeof value;
    EXPECT_EQ(getsockopt(fd_, level, name, &value, &size), 0);
    return value;
  }

  apps::StopToken stop_;
  FileDescriptor peer_;
  int fd_ = -1;  ///< the transport's
  std::unique_ptr<SocketTransport> transport_;
};

TEST_F(TcpTransportTest, GivenAClientThatIsSilentThenItIsAskedAndGivenUpWithinTwiceTheTime) {
  Open(std::chrono::seconds(60));
  EXPECT_EQ(Option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_KEEPINTVL) * Option(IPPROTO_TCP, TCP_KEEPCNT), 60);
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
}

TEST_F(TcpTransportTest, GivenTimesThatTheKernelDoesNotTakeThenTheNearestAreUsed) {
  Open(std::chrono::seconds(1'000'000));
  EXPECT_EQ(Option(IPPROTO_TCP, TCP_KEEPIDLE), 32767);
}

TEST_F(TcpTransportTest, GivenNoTimeThenNothingIsAsked) {
  Open(std::chrono::seconds(0));
  EXPECT_EQ(Option(SOL_SOCKET, SO_KEEPALIVE), 0);
}

}  // namespace
}  // namespace qpip::nbd::testing
