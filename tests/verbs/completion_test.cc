// Completion channels as programs use their descriptors, and completions read a field at a time.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "verbs/core/semaphore_fd.h"
#include "verbs_test.h"

namespace qpip::verbs::test {
namespace {

class VerbsChannelTest : public VerbsTest {
 protected:
  VerbsChannelTest() : at_a(Make(*a)) {}
  ~VerbsChannelTest() override { DestroyQp(at_a); }

  /// A completion by itself: a flush.
  void Complete(uint64_t wr_id) {
    if (at_a->base()->state != IBV_QPS_ERR) {
      ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0);
    }
    ASSERT_EQ(PostSend(at_a, wr_id, a->Sge(0, 1)), 0);
  }
  bool Readable() const {
    pollfd fd = {.fd = a->channel->base.fd, .events = POLLIN, .revents = 0};
    return poll(&fd, 1, 0) == 1;
  }
  void DoNotBlock() const {
    const int flags = fcntl(a->channel->base.fd, F_GETFL);
    ASSERT_EQ(fcntl(a->channel->base.fd, F_SETFL, flags | O_NONBLOCK), 0);
  }
  int Get() {
    ibv_cq* cq = nullptr;
    void* cq_context = nullptr;
    const int result = GetCqEvent(*a->channel, &cq, &cq_context);
    if (result != 0) return errno;
    EXPECT_EQ(cq, a->cq->base());
    AckCqEvents(*a->cq, 1);
    return 0;
  }
  Qp* at_a;
};

TEST_F(VerbsChannelTest, GivenNoEventWhenItDoesNotBlockThenTryAgain) {
  DoNotBlock();
  EXPECT_EQ(Get(), EAGAIN);
  EXPECT_FALSE(Readable());
}

TEST_F(VerbsChannelTest, GivenAnArmedQueueWhenCompletionsComeThenOneEventIsTold) {
  DoNotBlock();
  ASSERT_EQ(RequestNotifyOp(a->cq->base(), 0), 0);
  EXPECT_FALSE(Readable());
  Complete(1);
  Complete(2);
  EXPECT_TRUE(Readable());
  EXPECT_EQ(Get(), 0);
  EXPECT_EQ(Get(), EAGAIN);
  EXPECT_EQ(Count(*a), 2);
}

TEST_F(VerbsChannelTest, GivenNobodyHasArmedWhenCompletionsComeThenNoEvent) {
  Complete(1);
  EXPECT_FALSE(Readable());
}

TEST_F(VerbsChannelTest, GivenCompletionsThatWaitWhenArmedThenTheEventIsForTheNextOne) {
  Complete(1);
  ASSERT_EQ(RequestNotifyOp(a->cq->base(), 0), 0);
  EXPECT_FALSE(Readable());
  Complete(2);
  EXPECT_TRUE(Readable());
  EXPECT_EQ(Get(), 0) << "this one blocks, and has what it waits for";
  EXPECT_EQ(Next(*a).wr_id, 1u);
  EXPECT_EQ(Next(*a).wr_id, 2u);
}

TEST_F(VerbsChannelTest, GivenCompletionsOfTheNicThatWaitWhenArmedThenTheyAreStillPolledInOrder) {
  Qp* at_b = Make(*b);
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(PostReceive(at_a, i, a->Sge(0, 64)), 0);
  for (uint64_t i = 0; i < 3; ++i) ASSERT_EQ(PostSend(at_b, i, b->Sge(0, 1)), 0);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(Next(*b).wr_id, i);  // acknowledged, so received
  ASSERT_EQ(RequestNotifyOp(a->cq->base(), 0), 0);
  EXPECT_FALSE(Readable());
  ASSERT_EQ(PostSend(at_b, 3, b->Sge(0, 1)), 0);
  EXPECT_EQ(Get(), 0);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(Next(*a).wr_id, i);
  DestroyQp(at_b);
}

TEST_F(VerbsChannelTest, GivenACompletionOfTheNicWhenArmedThenTheEventWakesAWaiter) {
  Qp* at_b = Make(*b);
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  ASSERT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
  ASSERT_EQ(RequestNotifyOp(a->cq->base(), 0), 0);
  ASSERT_EQ(PostSend(at_b, 2, b->Sge(0, 1)), 0);
  EXPECT_EQ(Get(), 0);
  EXPECT_EQ(Next(*a).wr_id, 1u);
  DestroyQp(at_b);
}

TEST_F(VerbsChannelTest, GivenOnlyCompletionsThatTheProgramIsNotToSeeWhenAskedThenNoEvent) {
  DoNotBlock();
  Qp* at_b = Make(*b);
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  ASSERT_EQ(PostReceive(at_b, 9, b->Sge(0, 64)), 0);
  ASSERT_EQ(PostSend(at_a, 8, a->Sge(0, 1)), 0);
  EXPECT_EQ(Next(*a).wr_id, 8u);
  ASSERT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
  ASSERT_EQ(RequestNotifyOp(a->cq->base(), 0), 0);
  DestroyQp(at_b);  // which flushes the receive, and nobody is told
  while (!Readable()) {
  }
  EXPECT_EQ(Get(), EAGAIN);
  EXPECT_FALSE(Readable());
}

TEST_F(VerbsTest, GivenAReceivePostedInTheMomentThatTheConnectionOpensThenTheNicHasIt) {
  for (int i = 0; i < 50; ++i) {
    const std::string fabric = "verbs-opens-" + std::to_string(i);
    a = std::make_unique<Host>(fabric, "fd00::1", Personality::kRoce);
    b = std::make_unique<Host>(fabric, "fd00::2", Personality::kRoce);
    Qp* at_a = Make(*a);
    Qp* at_b = Make(*b);
    ToRts(at_a, *b, at_b->number());
    ToRts(at_b, *a, at_a->number());
    ASSERT_EQ(PostReceive(at_b, 1, b->Sge(0, 64)), 0);
    ASSERT_EQ(PostSend(at_a, 2, a->Sge(0, 1)), 0);  // kept: it goes while the queue pair opens
    EXPECT_EQ(Next(*a).wr_id, 2u);
    ASSERT_EQ(PostReceive(at_a, 3, a->Sge(0, 64)), 0);
    EXPECT_TRUE(at_a->parked.empty()) << "as if the peer had gone";
    DestroyQp(at_a);
    DestroyQp(at_b);
  }
}

TEST_F(VerbsTest, GivenAThreadInItsChannelWhenQueuesAreDestroyedThenItHasTheOthersEvents) {
  ibv_wc flush = {};
  flush.wr_id = 1;
  flush.status = IBV_WC_WR_FLUSH_ERR;
  std::thread waiter([&] {
    ibv_cq* cq = nullptr;
    while (cq != a->cq->base()) {
      void* cq_context = nullptr;
      ASSERT_EQ(GetCqEvent(*a->channel, &cq, &cq_context), 0);
      EXPECT_EQ(cq_context, cq == a->cq->base() ? nullptr : this);
      AckCqEvents(Of(cq), 1);
    }
  });
  for (int i = 0; i < 200; ++i) {
    Cq* cq = CreateCq(*a->context, 16, this, &a->channel->base);
    ASSERT_EQ(RequestNotifyOp(cq->base(), 0), 0);
    cq->Inject({&flush, 1});
    ASSERT_EQ(DestroyCq(cq), 0);
  }
  ASSERT_EQ(RequestNotifyOp(a->cq->base(), 0), 0);
  a->cq->Inject({&flush, 1});
  waiter.join();
}

TEST_F(VerbsTest, GivenQueuesThatTwoThreadsMakeAndDestroyWhenDoneThenTheChannelHasTheOthersAlone) {
  const auto make = [&] {
    for (int i = 0; i < 500; ++i) {
      ASSERT_EQ(DestroyCq(CreateCq(*a->context, 16, nullptr, &a->channel->base)), 0);
    }
  };
  std::thread other(make);
  make();
  other.join();
  EXPECT_EQ(a->channel->base.refcnt, 1);
}

// --- Signals while a thread waits for an event

std::atomic<int> signals_seen{0};

class SignalTest : public testing::TestWithParam<bool> {
 protected:
  SignalTest() {
    struct sigaction action = {};
    action.sa_handler = [](int) { signals_seen.fetch_add(1); };
    action.sa_flags = GetParam() ? SA_RESTART : 0;
    sigaction(SIGUSR1, &action, &before);
  }
  ~SignalTest() override {
    sigaction(SIGUSR1, &before, nullptr);
    close(fd);
  }

  struct sigaction before = {};
  const int fd = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
};
INSTANTIATE_TEST_SUITE_P(Restart, SignalTest, testing::Bool());

TEST_P(SignalTest, GivenAHandlerWhenSignalsComeThenItSaysWhetherTheyInterrupt) {
  const bool restarts = GetParam();
  signals_seen.store(0);
  std::atomic<bool> started{false};
  std::atomic<bool> returned{false};
  std::atomic<bool> done{false};  // until then there is a thread to send signals to
  int result = 0;
  int code = 0;
  std::thread waiter([&] {
    started.store(true);
    result = AwaitOne(fd);
    code = errno;
    returned.store(true);
    while (!done.load()) std::this_thread::yield();
  });
  while (!started.load()) std::this_thread::yield();
  while (restarts ? signals_seen.load() < 100 : !returned.load()) {
    pthread_kill(waiter.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  if (restarts) {
    EXPECT_FALSE(returned.load());
    PostTo(fd);
  }
  done.store(true);
  waiter.join();
  EXPECT_EQ(result, restarts ? 0 : -1);
  EXPECT_TRUE(restarts || code == EINTR);
}

TEST_F(VerbsChannelTest, GivenAnotherDescriptorOfTheSameWhenPolledByEpollThenItIsReadableToo) {
  const int copy = dup(a->channel->base.fd);
  const int set = epoll_create1(0);
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = copy}};
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, copy, &event), 0);
  ASSERT_EQ(RequestNotifyOp(a->cq->base(), 0), 0);
  EXPECT_EQ(epoll_wait(set, &event, 1, 0), 0);
  Complete(1);
  EXPECT_EQ(epoll_wait(set, &event, 1, 0), 1);
  EXPECT_EQ(epoll_wait(set, &event, 1, 0), 0) << "once an event, as it is edge-triggered";
  close(set);
  close(copy);
}

TEST_F(VerbsChannelTest, GivenAQueueThatUsesItWhenAChannelIsDestroyedThenBusy) {
  EXPECT_EQ(DestroyChannel(a->channel), EBUSY);
}

TEST_F(VerbsChannelTest, GivenCompletionsWhenReadAFieldAtATimeThenTheyAreTheSame) {
  Complete(1);
  Complete(2);
  ibv_cq_ex& ex = a->cq->ex;
  ibv_poll_cq_attr attributes = {};
  ASSERT_EQ(ex.start_poll(&ex, &attributes), 0);
  EXPECT_EQ(ex.wr_id, 1u);
  EXPECT_EQ(ex.status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(ex.read_qp_num(&ex), at_a->number());
  ASSERT_EQ(ex.next_poll(&ex), 0);
  EXPECT_EQ(ex.wr_id, 2u);
  EXPECT_EQ(ex.next_poll(&ex), ENOENT);
  ex.end_poll(&ex);
  EXPECT_EQ(ex.start_poll(&ex, &attributes), ENOENT);
}

}  // namespace
}  // namespace qpip::verbs::test
