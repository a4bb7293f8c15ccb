// Sockets of two hosts in one process, by the calls that programs make.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "preload/core/sockets.h"

namespace qpip::preload {

inline constexpr uint16_t kPort = 80;

struct Address {
  sockaddr_in6 in6 = {};
  explicit Address(const char* text, uint16_t port = kPort) {
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    in6.sin6_addr = ParseAddress(text);
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&in6); }
};

/// A process, as far as its sockets go.
struct Host {
  Host(const std::string& fabric, const std::string& address)
      : sockets(AddressRule("mem:" + fabric + "?address=" + address, "", "", 1),
                [](const std::string& line) { said += line + "\n"; }) {}
  ~Host() {
    for (const int fd : fds) Close(fd);
  }
  int Socket(int flags = 0) {
    const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    sockets.OnSocket(fd, AF_INET6, SOCK_STREAM | flags);
    return fd;
  }
  void Close(int fd) {
    sockets.OnClose(fd);
    close(fd);
  }
  int Server(int backlog = 4) {
    const int fd = Socket();
    EXPECT_EQ(sockets.Bind(fd, Address("::").get(), sizeof(sockaddr_in6)), 0);
    EXPECT_EQ(sockets.Listen(fd, backlog), 0);
    return fd;
  }
  long Connect(int fd, const char* to = "fd00::1", uint16_t port = kPort) {
    return sockets.Connect(fd, Address(to, port).get(), sizeof(sockaddr_in6));
  }
  long Send(int fd, const std::string& text, int flags = MSG_NOSIGNAL) {
    const iovec piece = {.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
    return sockets.Send(fd, {&piece, 1}, flags);
  }
  /// What one call gives; "error N" otherwise.
  std::string Receive(int fd, size_t bytes, int flags = 0) {
    std::string text(bytes, '\0');
    const iovec piece = {.iov_base = text.data(), .iov_len = text.size()};
    const long result = sockets.Receive(fd, {&piece, 1}, flags);
    if (result < 0) return "error " + std::to_string(-result);
    text.resize(static_cast<size_t>(result));
    return text;
  }
  std::string ReceiveAll(int fd) {
    std::string all;
    for (;;) {
      const std::string part = Receive(fd, 100000);
      if (part.empty()) return all;
      all += part;
      if (part.starts_with("error ")) return all;
    }
  }
  /// Waits for some of `events`, and what poll reports then.
  int Poll(int fd, short events, bool wait = true) {
    pollfd own = {.fd = fd, .events = events, .revents = 0};
    sockets.Poll({&own, 1}, wait ? kForEver : Clock::now(), nullptr);
    return own.revents;
  }
  int Error(int fd) {
    int error = -1;
    socklen_t length = sizeof error;
    EXPECT_EQ(sockets.GetOption(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
    return error;
  }

  static inline std::string said;
  Sockets sockets;
  std::vector<int> fds;  ///< closed with it
};

inline std::string Pattern(size_t bytes) {
  std::string text(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}
inline std::string ErrorText(int error) { return "error " + std::to_string(error); }

class SocketsTest : public testing::Test {
 protected:
  SocketsTest()
      : fabric("sockets-" + std::to_string(reinterpret_cast<uintptr_t>(this) & 0xffffff)),
        server(fabric, "fd00::1"),
        client(fabric, "fd00::2") {
    Host::said.clear();
  }
  /// A connection: the client's and the server's ends.
  void Connected(int flags = 0) {
    listener = server.Server();
    here = client.Socket();
    ASSERT_EQ(client.Connect(here), 0);
    there = static_cast<int>(server.sockets.Accept(listener, nullptr, nullptr, flags));
    ASSERT_GE(there, 0);
    client.fds = {here};
    server.fds = {listener, there};
  }
  void CloseHere() {
    client.Close(here);
    client.fds.clear();
  }
  void CloseThere() {
    server.Close(there);
    server.fds = {listener};
  }

  std::string fabric;
  Host server;
  Host client;
  int listener = -1;
  int here = -1;
  int there = -1;
};

}  // namespace qpip::preload
