// poll and epoll: sockets beside other descriptors.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "hosts.h"

namespace qpip::preload {
namespace {

using testing::UnorderedElementsAre;

/// With an epoll set of the server's.
class WaitingTest : public SocketsTest {
 protected:
  ~WaitingTest() override {
    close(epoll);
    for (const int fd : kernels) close(fd);
  }
  void Add(int fd, uint32_t events, int operation = EPOLL_CTL_ADD) {
    epoll_event event = {.events = events, .data = {.fd = fd}};
    ASSERT_EQ(epoll_ctl(epoll, operation, fd, &event), 0);
    server.sockets.OnEpoll(epoll, fd, &event);
  }
  int EventFd(unsigned count) {
    kernels.push_back(eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC));
    return kernels.back();
  }
  /// Whose events are told.
  std::vector<int> Told(bool wait = false, size_t room = 8) {
    std::vector<epoll_event> events(room);
    const long count =
        server.sockets.EpollWait(epoll, events, wait ? kForEver : Clock::now(), nullptr);
    std::vector<int> fds;
    for (long i = 0; i < count; ++i) fds.push_back(events[static_cast<size_t>(i)].data.fd);
    return fds;
  }
  /// Another connection of the client's; the server's end.
  int Another() {
    const int fd = client.Socket();
    client.fds.push_back(fd);
    EXPECT_EQ(client.Connect(fd), 0);
    server.fds.push_back(static_cast<int>(server.sockets.Accept(listener, nullptr, nullptr, 0)));
    EXPECT_EQ(client.Send(fd, "x"), 1);
    return server.fds.back();
  }

  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<int> kernels;
};

TEST_F(WaitingTest, GivenALevelThenItIsToldUntilItIsNoMore) {
  Connected();
  Add(there, EPOLLIN);
  EXPECT_THAT(Told(), UnorderedElementsAre());
  EXPECT_EQ(client.Send(here, "x"), 1);
  for (int i = 0; i < 40; ++i) EXPECT_THAT(Told(true), UnorderedElementsAre(there)) << i;
  EXPECT_EQ(server.Receive(there, 10), "x");
  EXPECT_THAT(Told(), UnorderedElementsAre());
}

TEST_F(WaitingTest, GivenAMaskThenOnlyWhatItAsksForIsTold) {
  Connected();
  Add(there, EPOLLOUT);
  EXPECT_THAT(Told(true), UnorderedElementsAre(there));
  Add(there, EPOLLIN, EPOLL_CTL_MOD);
  EXPECT_THAT(Told(), UnorderedElementsAre());
  Add(there, 0, EPOLL_CTL_MOD);
  EXPECT_EQ(client.Send(here, "x"), 1);
  EXPECT_EQ(server.Poll(there, POLLIN), POLLIN);
  EXPECT_THAT(Told(), UnorderedElementsAre());
}

TEST_F(WaitingTest, GivenABusySocketThenWhatElseIsInTheSetHasItsTurn) {
  Connected();
  Add(there, EPOLLIN);
  EXPECT_EQ(client.Send(here, "x"), 1);
  EXPECT_THAT(Told(true), UnorderedElementsAre(there));
  const int other = EventFd(1);
  Add(other, EPOLLIN);
  bool found = false;
  for (int i = 0; i < 20 && !found; ++i) {
    const std::vector<int> told = Told();
    found = std::find(told.begin(), told.end(), other) != told.end();
  }
  EXPECT_TRUE(found);
}

TEST_F(WaitingTest, GivenRoomForOneThenSeveralTakeTurns) {
  Connected();
  const int second = Another();
  const int third = Another();
  for (const int fd : {second, third}) Add(fd, EPOLLIN);
  server.Poll(second, POLLIN);
  server.Poll(third, POLLIN);
  const std::vector<int> first = Told(true, 1);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_THAT(Told(true, 1), UnorderedElementsAre(first[0] == second ? third : second));
}

TEST_F(WaitingTest, GivenOneShotThenItIsToldOnce) {
  Connected();
  Add(there, EPOLLIN | EPOLLONESHOT);
  EXPECT_EQ(client.Send(here, "x"), 1);
  EXPECT_THAT(Told(true), UnorderedElementsAre(there));
  EXPECT_THAT(Told(), UnorderedElementsAre());
  Add(there, EPOLLIN | EPOLLONESHOT, EPOLL_CTL_MOD);
  EXPECT_THAT(Told(true), UnorderedElementsAre(there));
}

TEST_F(WaitingTest, GivenAnEndThenTheEventsAreTcps) {
  Connected();
  Add(there, EPOLLIN | EPOLLRDHUP);
  EXPECT_EQ(client.sockets.Shutdown(here, SHUT_WR), 0);
  epoll_event event = {};
  ASSERT_EQ(server.sockets.EpollWait(epoll, {&event, 1}, kForEver, nullptr), 1);
  EXPECT_EQ(uint32_t{event.events}, uint32_t{EPOLLIN | EPOLLRDHUP});
}

TEST_F(WaitingTest, GivenTheSetIsClosedThenItsNumberStartsAnew) {
  Connected();
  Add(there, EPOLLIN);
  EXPECT_EQ(client.Send(here, "x"), 1);
  EXPECT_THAT(Told(true), UnorderedElementsAre(there));
  server.sockets.OnCloseEpoll(epoll);
  dup2(EventFd(0), epoll);
  dup2(kernels.emplace_back(epoll_create1(EPOLL_CLOEXEC)), epoll);
  EXPECT_THAT(Told(), UnorderedElementsAre());
}

TEST_F(WaitingTest, GivenBothKindsReadyThenPollTellsOfBoth) {
  Connected();
  EXPECT_EQ(client.Send(here, "x"), 1);
  EXPECT_EQ(server.Poll(there, POLLIN), POLLIN);
  std::vector<pollfd> fds = {{.fd = EventFd(0), .events = POLLIN, .revents = 0},
                             {.fd = there, .events = POLLIN | POLLOUT, .revents = 0},
                             {.fd = -1, .events = POLLIN, .revents = 7},
                             {.fd = EventFd(1), .events = POLLIN, .revents = 0},
                             {.fd = listener, .events = POLLIN, .revents = 7}};
  EXPECT_EQ(server.sockets.Poll(fds, kForEver, nullptr), 2);
  std::vector<int> told;
  for (const pollfd& each : fds) told.push_back(each.revents);
  EXPECT_THAT(told, testing::ElementsAre(0, POLLIN | POLLOUT, 0, POLLIN, 0));
}

TEST_F(WaitingTest, GivenAThreadThatSleepsWhenAnotherTakesInWhatComesThenItIsWaked) {
  Connected();
  const int second = Another();
  EXPECT_EQ(server.Receive(second, 1), "x");
  Add(second, EPOLLIN | EPOLLET);
  std::thread sleeper([&] { EXPECT_EQ(server.Receive(there, 1), "y"); });
  std::thread other([&] { EXPECT_THAT(Told(true), UnorderedElementsAre(second)); });
  EXPECT_EQ(client.Send(here, "y"), 1);
  EXPECT_EQ(client.Send(client.fds.back(), "z"), 1);
  sleeper.join();
  other.join();
}

/// Runs `action` in a thread, and returns when that sleeps.
std::thread Asleep(std::function<void()> action) {
  std::atomic<pid_t> id{0};
  std::thread thread([&id, action = std::move(action)] {
    id = gettid();
    action();
  });
  while (id == 0) std::this_thread::yield();
  const std::string path = "/proc/self/task/" + std::to_string(id) + "/stat";
  for (char state = 0; state != 'S';) {  // behind the name, in brackets
    std::ifstream(path).ignore(1000, ')').get(state).get(state);
  }
  return thread;
}

TEST_F(WaitingTest, GivenAThreadThatSleepsInASocketWhenItIsShutThenItReadsTheEnd) {
  Connected();
  std::thread reader = Asleep([&] { EXPECT_EQ(server.Receive(there, 1), ""); });
  EXPECT_EQ(server.sockets.Shutdown(there, SHUT_RD), 0);
  reader.join();
}

TEST_F(WaitingTest, GivenEdgesThenEachArrivalIsToldOnce) {
  Connected(SOCK_NONBLOCK);
  Add(there, EPOLLIN | EPOLLET);
  for (int i = 0; i < 40; ++i) {  // though nothing is read
    EXPECT_EQ(client.Send(here, "x"), 1);
    EXPECT_THAT(Told(true), UnorderedElementsAre(there));
    EXPECT_THAT(Told(), UnorderedElementsAre());
  }
  EXPECT_EQ(server.Receive(there, 100).size(), 40u);
}

TEST_F(WaitingTest, GivenASetBeforeConnectingThenItKnowsTheConnection) {
  server.fds = {listener = server.Server()};
  here = client.Socket(SOCK_NONBLOCK);
  client.fds = {here};
  epoll_event event = {.events = EPOLLOUT, .data = {.u64 = 42}};
  ASSERT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, here, &event), 0);
  client.sockets.OnEpoll(epoll, here, &event);
  ASSERT_EQ(client.Connect(here), -EINPROGRESS);
  epoll_event told = {};
  EXPECT_EQ(client.sockets.EpollWait(epoll, {&told, 1}, kForEver, nullptr), 1);
  // Copies: the structure is packed.
  EXPECT_EQ(uint64_t{told.data.u64}, 42u);
  EXPECT_EQ(uint32_t{told.events}, uint32_t{EPOLLOUT});
}

}  // namespace
}  // namespace qpip::preload
