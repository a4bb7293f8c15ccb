#include "preload/core/readiness.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace qpip::preload {
namespace {

class ReadinessTest : public testing::Test {
 protected:
  ReadinessTest() : end(readiness.TakeEnd()), epoll(epoll_create1(EPOLL_CLOEXEC)) {}
  ~ReadinessTest() override {
    close(end);
    close(epoll);
  }
  int Events() const {
    pollfd own = {.fd = end, .events = POLLIN | POLLOUT | POLLRDHUP, .revents = 0};
    poll(&own, 1, 0);
    return own.revents;
  }
  void Watch(uint32_t events) const {
    epoll_event event = {.events = events, .data = {}};
    ASSERT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, end, &event), 0);
  }
  uint32_t Edge() const {
    epoll_event event = {};
    return epoll_wait(epoll, &event, 1, 0) == 1 ? event.events : 0;
  }

  Readiness readiness;
  int end;
  int epoll;
};

TEST_F(ReadinessTest, GivenALevelThenPollTellsIt) {
  EXPECT_EQ(Events(), 0);
  for (const Readiness::Level& level :
       {Readiness::Level{.out = true}, Readiness::Level{.in = true, .out = true},
        Readiness::Level{.in = true}, Readiness::Level{}, Readiness::Level{.in = true}}) {
    readiness.Set(end, level, false, false);
    EXPECT_EQ(Events(), (level.in ? POLLIN : 0) | (level.out ? POLLOUT : 0));
  }
}

TEST_F(ReadinessTest, GivenEndsThenPollTellsThem) {
  readiness.Set(end, {.in = true, .out = true, .end_of_input = true}, false, false);
  EXPECT_EQ(Events(), POLLIN | POLLOUT | POLLRDHUP);
  readiness.Set(end, {.in = true, .out = true, .end_of_input = true, .hang_up = true}, false,
                false);
  EXPECT_EQ(Events(), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

TEST_F(ReadinessTest, GivenAnErrorThenPollTellsItAsOfARefusedConnection) {
  readiness.Set(end, {.in = true, .out = true, .hang_up = true, .error = true}, false, false);
  EXPECT_EQ(Events(), POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
}

TEST_F(ReadinessTest, GivenMoreOfTheSameThenAnEdgeIsToldEachTime) {
  Watch(EPOLLIN | EPOLLOUT | EPOLLET);
  readiness.Set(end, {.in = true, .out = true}, true, true);
  EXPECT_EQ(Edge(), EPOLLIN | EPOLLOUT);
  EXPECT_EQ(Edge(), 0u);
  for (int i = 0; i < 200; ++i) {  // more than there are bytes kept
    readiness.Set(end, {.in = true, .out = true}, true, false);
    EXPECT_EQ(Edge() & EPOLLIN, unsigned{EPOLLIN}) << i;
  }
  readiness.Set(end, {.out = true}, false, true);
  EXPECT_EQ(Edge(), unsigned{EPOLLOUT});
  EXPECT_EQ(Edge(), 0u);
}

}  // namespace
}  // namespace qpip::preload
