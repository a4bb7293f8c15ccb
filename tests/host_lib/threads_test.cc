// Several threads on one NIC: for ThreadSanitizer above all, but counts are checked everywhere.
#include <atomic>
#include <thread>

#include "nic_test.h"

namespace qpip::test {
namespace {

class ThreadsTest : public NicTest {
 protected:
  ThreadsTest() {
    fake->threaded = true;
    fake->complete_sends = true;
  }
};

TEST_F(ThreadsTest, GivenTwoPostersAndTwoPollersOnOneQpWhenTheyRunThenEveryWrIdIsSeenOnce) {
  constexpr uint64_t kEach = 5000;
  auto qp = Connected(16);
  std::vector<std::atomic<int>> seen(2 * kEach);
  std::atomic<uint64_t> total{0};
  const auto post = [&](uint64_t first) {
    for (uint64_t i = 0; i < kEach;) {
      const int error = qp->PostSend(first + i, memory->Sge(0, 1));
      if (error == 0) {
        ++i;
      } else {
        ASSERT_EQ(error, ENOMEM);
        std::this_thread::yield();
      }
    }
  };
  const auto poll = [&](bool wait) {
    std::array<WorkCompletion, 8> out;
    while (total.load() < 2 * kEach) {
      // Not for ever: the other poller may take the last one.
      const size_t count = wait ? cq->Wait(out, std::chrono::nanoseconds(0)) : cq->Poll(out);
      for (size_t i = 0; i < count; ++i) seen[out[i].wr_id].fetch_add(1);
      total.fetch_add(count);
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(post, 0);
  threads.emplace_back(post, kEach);
  threads.emplace_back(poll, false);
  threads.emplace_back(poll, true);
  for (std::thread& thread : threads) thread.join();

  for (const auto& count : seen) EXPECT_EQ(count.load(), 1);
}

TEST_F(ThreadsTest, GivenSleepersWhenOthersSendThenNobodySleepsForEver) {
  constexpr uint64_t kCount = 2000;
  auto recv_cq = nic->CreateCq(16);
  QpOptions options = Options(16);
  options.framing = Framing::kStream;
  auto a = Connected(options);
  options.recv_cq = recv_cq.get();
  auto b = Connected(options);
  fake->complete_sends = false;
  fake->Pipe(HandleOf(*a), HandleOf(*b));
  for (uint64_t i = 0; i < 16; ++i) ASSERT_EQ(b->PostRecv(i, memory->Sge(i * 64, 64)), 0);

  std::thread receiver([&] {
    std::array<WorkCompletion, 4> out;
    for (uint64_t bytes = 0; bytes < kCount * 16;) {
      const size_t count = recv_cq->Wait(out);
      for (size_t i = 0; i < count; ++i) {
        bytes += out[i].byte_len;
        ASSERT_EQ(b->PostRecv(out[i].wr_id, memory->Sge(out[i].wr_id * 64, 64)), 0);
      }
    }
  });
  std::array<WorkCompletion, 4> out;
  for (uint64_t sent = 0, done = 0; done < kCount;) {
    while (sent < kCount && sent - done < 16) {
      ASSERT_EQ(a->PostSend(sent++, memory->Sge(4096, 16)), 0);
    }
    done += cq->Wait(out);
  }
  receiver.join();
}

TEST_F(ThreadsTest, GivenThreadsWhenTheyCreateAndDestroyObjectsThenNothingIsMixedUp) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      std::array<WorkCompletion, 8> out;
      for (uint64_t round = 0; round < 100; ++round) {
        auto own_cq = nic->CreateCq(16);
        QpOptions options;
        options.send_cq = options.recv_cq = own_cq.get();
        options.send_depth = options.recv_depth = 4;
        auto qp = nic->CreateQp(*pd, options);
        qp->Connect(kPeer);
        ASSERT_EQ(qp->PostSend(round, memory->Sge(0, 1)), 0);
        ASSERT_EQ(qp->PostRecv(1000 + round, memory->Sge(0, 1)), 0);
        qp.reset();
        ASSERT_EQ(own_cq->Poll(out), 2u);
        EXPECT_EQ(out[0].wr_id, round);
        EXPECT_EQ(out[1].wr_id, 1000 + round);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ThreadsTest, GivenADeviceThatGoesWhenQueuesAreDestroyedThenOnlyThoseThatAreThereAreTold) {
  std::atomic<bool> stop{false};
  std::atomic<int> told{0};
  std::thread device([&] {
    while (!stop.load()) {
      fake->RaiseTrouble({.fatal = true, .code = ENETDOWN, .what = "the device has gone"});
      told.fetch_add(1);
    }
  });
  for (int i = 0; i < 500 || told.load() < 50; ++i) {
    const std::unique_ptr<CompletionQueue> queue = nic->CreateCq(4);
    queue->fd();  // so that what it is told has somewhere to go
  }
  stop.store(true);
  device.join();
  EXPECT_TRUE(nic->failure());
}

}  // namespace
}  // namespace qpip::test
