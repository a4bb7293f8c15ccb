// What a thread that looks after connections beside those that poll is told.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nic_test.h"

namespace qpip::test {
namespace {

constexpr abi::Ip6Address kFrom = {{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}};

class NotificationsTest : public NicTest {
 protected:
  NotificationsTest() : fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { nic->WatchEvents(fd); }
  ~NotificationsTest() override { close(fd); }

  /// Whether it was written to since the last time.
  bool Told() const {
    uint64_t count;
    return read(fd, &count, sizeof count) == sizeof count;
  }

  const int fd;
};

TEST_F(NotificationsTest, GivenAWatchWhenAQpIsMatedThenToldAndItsStateIsNewWhenDispatched) {
  auto listener = nic->Listen(80);
  auto qp = Idle();
  listener->Offer(*qp);
  Told();
  fake->Mate(0, kFrom, 1);
  EXPECT_TRUE(Told());
  EXPECT_EQ(qp->state(), QpState::kConnecting);
  nic->DispatchEvents();
  EXPECT_EQ(qp->state(), QpState::kConnected);
}

TEST_F(NotificationsTest, GivenAWatchThatHasEndedWhenSomethingHappensThenNotTold) {
  auto listener = nic->Listen(80);
  auto qp = Idle();
  listener->Offer(*qp);
  Told();
  nic->UnwatchEvents(fd);
  fake->Mate(0, kFrom, 1);
  EXPECT_FALSE(Told());
}

TEST_F(NotificationsTest, GivenAnArmedQueueWhenACompletionComesThenAThreadThatAwaitsItGoesOn) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  ASSERT_TRUE(cq->Arm());
  const uint32_t seen = nic->notifications();
  fake->when_idle.push_back([&] { fake->CompleteSend(HandleOf(*qp), 0); });
  nic->AwaitNotification(seen, std::chrono::hours(1));
  EXPECT_NE(nic->notifications(), seen);
}

TEST_F(NotificationsTest, GivenOneThatHasComeAlreadyWhenAwaitedThenNobodySleeps) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  const uint32_t seen = nic->notifications();
  ASSERT_TRUE(cq->Arm());
  fake->CompleteSend(HandleOf(*qp), 0);
  const uint32_t sleeps = fake->idle_sleeps;
  nic->AwaitNotification(seen, std::chrono::hours(1));
  EXPECT_EQ(fake->idle_sleeps, sleeps);
}

TEST_F(NotificationsTest, GivenNothingWhenTheTimeIsOverThenItReturns) {
  const uint32_t seen = nic->notifications();
  nic->AwaitNotification(seen, std::chrono::milliseconds(1));
  EXPECT_EQ(nic->notifications(), seen);
}

}  // namespace
}  // namespace qpip::test
