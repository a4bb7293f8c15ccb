// What sockets do, call by call.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "hosts.h"

namespace qpip::preload {
namespace {

TEST_F(SocketsTest, GivenAConnectionThenBytesPassAndEndsAreNamed) {
  Connected();
  EXPECT_EQ(client.Send(here, "question"), 8);
  EXPECT_EQ(server.Receive(there, 100), "question");
  EXPECT_EQ(server.Send(there, "answer"), 6);
  EXPECT_EQ(client.Receive(here, 100), "answer");
  sockaddr_in6 a = {};
  sockaddr_in6 b = {};
  socklen_t length = sizeof a;
  ASSERT_EQ(client.sockets.GetName(here, false, reinterpret_cast<sockaddr*>(&a), &length), 0);
  ASSERT_EQ(server.sockets.GetName(there, true, reinterpret_cast<sockaddr*>(&b), &length), 0);
  EXPECT_EQ(AddressToString(a.sin6_addr), "fd00::2");
  EXPECT_EQ(a.sin6_port, b.sin6_port);
  EXPECT_EQ(client.Connect(here), -EISCONN);
}

TEST_F(SocketsTest, GivenAddressesOfTheKernelsThenTheyStayItsOwn) {
  const int fd = client.Socket();
  EXPECT_EQ(client.Connect(fd, "::1"), kKernel);
  EXPECT_EQ(client.sockets.Bind(fd, Address("::1").get(), sizeof(sockaddr_in6)), kKernel);
  EXPECT_EQ(client.Send(fd, "x"), kKernel);
  EXPECT_FALSE(client.sockets.open());
  client.fds = {fd};
}

TEST_F(SocketsTest, GivenASocketBoundToAnyAddressThenItMayStillBecomeTheKernels) {
  const int fd = client.Socket();
  ASSERT_EQ(client.sockets.Bind(fd, Address("::", 0).get(), sizeof(sockaddr_in6)), 0);
  sockaddr_in6 before = {};
  socklen_t length = sizeof before;
  ASSERT_EQ(client.sockets.GetName(fd, false, reinterpret_cast<sockaddr*>(&before), &length), 0);
  EXPECT_EQ(client.Connect(fd, "::1"), kKernel);
  sockaddr_in6 after = {};
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&after), &length), 0);
  EXPECT_NE(before.sin6_port, 0);
  EXPECT_EQ(before.sin6_port, after.sin6_port);
  client.fds = {fd};
}

TEST_F(SocketsTest, GivenNobodyListensThenConnectingIsRefusedAndMayBeTriedAgain) {
  server.Close(server.Server());
  const int fd = client.Socket();
  client.fds = {fd};
  EXPECT_EQ(client.Connect(fd), -ECONNREFUSED);
  server.fds = {server.Server()};
  EXPECT_EQ(client.Connect(fd), 0);
}

TEST_F(SocketsTest, GivenNoWaitingThenConnectGoesOnAndPollTellsHowItEnds) {
  listener = server.Server();
  server.fds = {listener};
  here = client.Socket(SOCK_NONBLOCK);
  EXPECT_EQ(client.Connect(here), -EINPROGRESS);
  EXPECT_EQ(client.Poll(here, POLLIN | POLLOUT), POLLOUT);
  EXPECT_EQ(client.Error(here), 0);
  const int refused = client.Socket(SOCK_NONBLOCK);
  client.fds = {here, refused};
  EXPECT_EQ(client.Connect(refused, "fd00::1", kPort + 1), -EINPROGRESS);
  EXPECT_EQ(client.Poll(refused, POLLOUT), POLLOUT | POLLERR | POLLHUP);
  EXPECT_EQ(client.Error(refused), ECONNREFUSED);
  EXPECT_EQ(client.Error(refused), 0);
}

TEST_F(SocketsTest, GivenAListenerThenPollTellsOfWhoWaits) {
  listener = server.Server();
  EXPECT_EQ(server.Poll(listener, POLLIN, /*wait=*/false), 0);
  server.sockets.OnNonblocking(listener, true);
  EXPECT_EQ(server.sockets.Accept(listener, nullptr, nullptr, 0), -EAGAIN);
  here = client.Socket();
  client.fds = {here};
  ASSERT_EQ(client.Connect(here), 0);
  EXPECT_EQ(server.Poll(listener, POLLIN), POLLIN);
  sockaddr_in6 peer = {};
  socklen_t length = sizeof peer;
  there = static_cast<int>(server.sockets.Accept(listener, reinterpret_cast<sockaddr*>(&peer),
                                                 &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  server.fds = {listener, there};
  ASSERT_GE(there, 0);
  EXPECT_EQ(AddressToString(peer.sin6_addr), "fd00::2");
  EXPECT_EQ(fcntl(there, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(server.Receive(there, 1), ErrorText(EAGAIN));
  EXPECT_EQ(server.Poll(listener, POLLIN, /*wait=*/false), 0);
}

TEST_F(SocketsTest, GivenAHalfCloseThenTheOtherDirectionGoesOn) {
  Connected();
  EXPECT_EQ(client.Send(here, "last"), 4);
  EXPECT_EQ(client.sockets.Shutdown(here, SHUT_WR), 0);
  EXPECT_EQ(client.Send(here, "more"), -EPIPE);
  EXPECT_EQ(server.ReceiveAll(there), "last");
  EXPECT_EQ(server.Poll(there, POLLIN | POLLRDHUP) & (POLLIN | POLLRDHUP | POLLHUP),
            POLLIN | POLLRDHUP);
  EXPECT_EQ(server.Send(there, "answer"), 6);
  CloseThere();
  EXPECT_EQ(client.ReceiveAll(here), "answer");
  EXPECT_EQ(client.Poll(here, POLLIN | POLLHUP) & POLLHUP, POLLHUP);
}

TEST_F(SocketsTest, GivenUnreadBytesWhenClosedThenThePeerReadsItsOwnAndIsReset) {
  Connected();
  EXPECT_EQ(client.Send(here, "unread"), 6);
  EXPECT_EQ(server.Send(there, "before"), 6);
  EXPECT_EQ(server.Receive(there, 1), "u");
  EXPECT_EQ(client.Receive(here, 6, MSG_PEEK | MSG_WAITALL), "before");
  CloseThere();
  EXPECT_NE(client.Poll(here, POLLRDHUP) & POLLERR, 0);
  EXPECT_EQ(client.Receive(here, 100), "before");
  EXPECT_EQ(client.Receive(here, 100), ErrorText(ECONNRESET));
  EXPECT_EQ(client.Receive(here, 100), "");
  EXPECT_EQ(client.Send(here, "x"), -EPIPE);
}

TEST_F(SocketsTest, GivenLingerWhoseTimeEndsWhenClosedThenThePeerStillReadsAllAndTheEnd) {
  Connected();
  const linger second = {.l_onoff = 1, .l_linger = 1};
  ASSERT_EQ(server.sockets.SetOption(there, SOL_SOCKET, SO_LINGER, &second, sizeof second), 0);
  const std::string text(900'000, 'x');  // more than the peer takes before it reads
  ASSERT_EQ(server.Send(there, text), static_cast<long>(text.size()));
  CloseThere();
  EXPECT_EQ(client.ReceiveAll(here), text);
}

TEST_F(SocketsTest, GivenLingerOfZeroWhenClosedThenThePeerIsReset) {
  Connected();
  const linger none = {.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(server.sockets.SetOption(there, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
  CloseThere();
  EXPECT_EQ(client.Receive(here, 100), ErrorText(ECONNRESET));
}

TEST_F(SocketsTest, GivenWhatIsOnItsWayWhenClosedThenAllOfItArrives) {
  Connected();
  // As much as it takes while nobody reads.
  client.sockets.OnNonblocking(here, true);
  const std::string all = Pattern(4 << 20);
  size_t sent = 0;
  for (long taken = 0; (taken = client.Send(here, all.substr(sent))) > 0;) {
    sent += static_cast<size_t>(taken);
  }
  ASSERT_GE(sent, 500000u);
  CloseHere();
  EXPECT_EQ(server.ReceiveAll(there), all.substr(0, sent));
}

TEST_F(SocketsTest, GivenAFullConnectionThenItIsNotWritableUntilThePeerReads) {
  Connected();
  client.sockets.OnNonblocking(here, true);
  EXPECT_EQ(client.Poll(here, POLLOUT), POLLOUT);
  const std::string part = Pattern(100000);
  size_t sent = 0;
  do {  // the peer's NIC takes some more until its window is full
    for (long taken = 0; (taken = client.Send(here, part)) > 0;) {
      sent += static_cast<size_t>(taken);
    }
    ASSERT_LT(sent, size_t{64} << 20);
  } while (client.Poll(here, POLLOUT, /*wait=*/false) != 0);
  size_t received = 0;
  while (received < sent) received += server.Receive(there, 1 << 20).size();
  EXPECT_EQ(client.Poll(here, POLLOUT), POLLOUT);
  EXPECT_GT(client.Send(here, part), 0);
}

TEST_F(SocketsTest, GivenABlockingSendThenItTakesAll) {
  Connected();
  const std::string all = Pattern(5 << 20);
  std::thread sender([&] {
    EXPECT_EQ(client.Send(here, all), static_cast<long>(all.size()));
    client.sockets.Shutdown(here, SHUT_WR);
  });
  EXPECT_EQ(server.ReceiveAll(there), all);
  sender.join();
}

TEST_F(SocketsTest, GivenFlagsThenReceivingHeedsThem) {
  Connected();
  EXPECT_EQ(server.Receive(there, 4, MSG_DONTWAIT), ErrorText(EAGAIN));
  EXPECT_EQ(client.Send(here, "abcdef"), 6);
  EXPECT_EQ(server.Receive(there, 4, MSG_PEEK), "abcd");
  EXPECT_EQ(server.sockets.Available(there), 6);
  EXPECT_EQ(server.Receive(there, 2), "ab");
  std::thread later([&] { client.Send(here, "ghij"); });
  EXPECT_EQ(server.Receive(there, 8, MSG_WAITALL), "cdefghij");
  later.join();
  EXPECT_EQ(server.Receive(there, 1, MSG_OOB), ErrorText(EINVAL));
  EXPECT_EQ(client.Send(here, "x", MSG_OOB), -EOPNOTSUPP);
}

TEST_F(SocketsTest, GivenBytesThatNobodyWantsThenTheyAreCountedAndThrownAway) {
  Connected();
  EXPECT_EQ(client.Send(here, "abcdef"), 6);
  const iovec nowhere = {.iov_base = nullptr, .iov_len = 4};
  EXPECT_EQ(server.sockets.Receive(there, {&nowhere, 1}, MSG_TRUNC | MSG_PEEK | MSG_WAITALL), 4);
  EXPECT_EQ(server.sockets.Receive(there, {&nowhere, 1}, MSG_TRUNC | MSG_WAITALL), 4);
  EXPECT_EQ(server.Receive(there, 4), "ef");
}

TEST_F(SocketsTest, GivenManySmallSendsThenAllArriveThoughNobodyReads) {
  Connected();
  const std::string all = Pattern(5000);
  for (const char each : all) ASSERT_EQ(client.Send(here, std::string(1, each)), 1);
  while (server.sockets.Available(there) < static_cast<long>(all.size())) {
    server.Poll(there, POLLIN);
  }
  EXPECT_EQ(server.Receive(there, 3000, MSG_PEEK), all.substr(0, 3000));
  EXPECT_EQ(server.Receive(there, 17), all.substr(0, 17));
  EXPECT_EQ(client.Send(here, all), static_cast<long>(all.size()));
  EXPECT_EQ(server.Receive(there, 9983, MSG_WAITALL), (all + all).substr(17));
}

TEST_F(SocketsTest, GivenThreadsWithAConnectionEachThenNoneSeesAnothersBytes) {
  Connected();
  constexpr int kThreads = 3;
  constexpr int kRounds = 200;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([this] {
      const int fd = client.Socket();
      ASSERT_EQ(client.Connect(fd), 0);
      for (int round = 0; round < kRounds; ++round) {
        const std::string sent = std::to_string(fd) + ":" + std::to_string(round) + ";";
        ASSERT_EQ(client.Send(fd, sent), static_cast<long>(sent.size()));
        ASSERT_EQ(client.Receive(fd, sent.size(), MSG_WAITALL), sent);
      }
      client.Close(fd);
    });
    threads.emplace_back([this] {
      const auto fd = static_cast<int>(server.sockets.Accept(listener, nullptr, nullptr, 0));
      ASSERT_GE(fd, 0);
      for (;;) {
        const std::string got = server.Receive(fd, 100);
        if (got.empty()) break;
        ASSERT_FALSE(got.starts_with("error ")) << got;
        ASSERT_EQ(server.Send(fd, got), static_cast<long>(got.size()));
      }
      server.Close(fd);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(SocketsTest, GivenATimeoutThenReceivingEndsWithEagain) {
  Connected();
  const timeval time = {.tv_sec = 0, .tv_usec = 1000};
  ASSERT_EQ(server.sockets.SetOption(there, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
  EXPECT_EQ(server.Receive(there, 1), ErrorText(EAGAIN));
}

TEST_F(SocketsTest, GivenOptionsThenTheyAreLinuxes) {
  Connected();
  const int one = 1;
  EXPECT_EQ(client.sockets.SetOption(here, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
  EXPECT_EQ(client.sockets.SetOption(here, IPPROTO_TCP, 4242, &one, sizeof one), -ENOPROTOOPT);
  EXPECT_EQ(client.sockets.SetOption(here, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one), -EOPNOTSUPP);
  int value = 0;
  socklen_t length = sizeof value;
  EXPECT_EQ(client.sockets.GetOption(here, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(server.sockets.GetOption(listener, SOL_SOCKET, SO_ACCEPTCONN, &value, &length), 0);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(client.sockets.GetOption(here, SOL_SOCKET, SO_DOMAIN, &value, &length), 0);
  EXPECT_EQ(value, AF_INET6);
}

TEST_F(SocketsTest, GivenADuplicateThenTheConnectionLivesUntilBothAreClosed) {
  Connected();
  const int copy = dup(here);
  client.sockets.OnDuplicate(here, copy);
  client.Close(here);
  EXPECT_EQ(client.Send(copy, "x"), 1);
  EXPECT_EQ(server.Receive(there, 10), "x");
  client.Close(copy);
  client.fds.clear();
  EXPECT_EQ(server.Receive(there, 10), "");
}

TEST_F(SocketsTest, GivenAPortInUseThenBindSaysSo) {
  server.fds = {server.Server()};
  const int fd = server.Socket();
  EXPECT_EQ(server.sockets.Bind(fd, Address("fd00::1").get(), sizeof(sockaddr_in6)), -EADDRINUSE);
  server.Close(fd);
}

TEST_F(SocketsTest, GivenConnectionsOneAfterTheOtherThenNothingOfOneReachesTheNext) {
  server.fds = {listener = server.Server()};
  for (int i = 0; i < 50; ++i) {
    here = client.Socket();
    ASSERT_EQ(client.Connect(here), 0);
    there = static_cast<int>(server.sockets.Accept(listener, nullptr, nullptr, 0));
    // Receives are outstanding, and unread bytes there, when it is closed.
    EXPECT_EQ(client.Send(here, "unread"), 6);
    client.Close(here);
    EXPECT_EQ(server.Send(there, "x"), 1) << i;
    server.Close(there);
  }
}

TEST_F(SocketsTest, GivenAForkThenTheChildIsToldAndTheParentGoesOn) {
  Connected();
  client.sockets.BeforeFork();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    client.sockets.AfterForkInChild();
    const bool refused = client.Send(here, "x") == -EPERM &&
                         client.Receive(here, 1) == ErrorText(EPERM) &&
                         Host::said.find("belongs to the process") != std::string::npos;
    client.Close(here);
    _exit(refused ? 0 : 1);
  }
  client.sockets.AfterForkInParent();
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(client.Send(here, "still"), 5);
  EXPECT_EQ(server.Receive(there, 10), "still");
}

TEST_F(SocketsTest, GivenTheProcessEndsThenWhatItHasSentArrives) {
  Connected();
  const std::string all = Pattern(300000);
  EXPECT_EQ(client.Send(here, all), static_cast<long>(all.size()));
  client.fds.clear();
  std::thread reader([&] {
    EXPECT_EQ(server.ReceiveAll(there), all);
    CloseThere();
  });
  client.sockets.Finish();
  reader.join();
  close(here);
}

TEST_F(SocketsTest, GivenAPeerThatTakesNothingWhenTheProcessEndsThenItEndsAllTheSame) {
  Connected(SOCK_NONBLOCK);
  const std::string all = Pattern(100000);
  while (client.Send(here, all, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
  }
  client.fds.clear();
  client.sockets.Finish(std::chrono::milliseconds(1));
  close(here);
}

}  // namespace
}  // namespace qpip::preload
