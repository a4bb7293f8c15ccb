// Fibres: blocking programs in virtual time.
#include "sim/ns3/model/fibre.h"

#include <gmock/gmock.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

class FibreTest : public ::testing::Test {
 protected:
  ~FibreTest() override {
    Context::DestroyAll();
    ns3::Simulator::Destroy();
  }
};

TEST_F(FibreTest, GivenTwoSleepersThenTheyRunInTheOrderOfTime) {
  std::vector<std::string> order;
  auto slow = Context::Spawn("slow", [&] {
    Context::Current().SleepNs(200);
    order.push_back("slow");
  });
  auto fast = Context::Spawn("fast", [&] {
    Context::Current().SleepNs(100);
    order.push_back("fast");
  });
  slow->Join();
  EXPECT_THAT(order, ::testing::ElementsAre("fast", "slow"));
  EXPECT_TRUE(fast->done());
  EXPECT_EQ(NowNs(), 200u);
}

TEST_F(FibreTest, GivenAProgramThatThrowsThenJoinThrowsIt) {
  auto bad = Context::Spawn("bad", [] { throw std::runtime_error("as it must"); });
  EXPECT_THROW(bad->Join(), std::runtime_error);
}

TEST_F(FibreTest, GivenTheThreadOutsideWhenItSleepsThenItRunsTheSimulation) {
  int ticks = 0;
  auto ticker = Context::Spawn("ticker", [&] {
    for (; ticks < 10; ++ticks) Context::Current().SleepNs(10);
  });
  Context::Current().SleepNs(55);
  EXPECT_EQ(ticks, 5);
  ticker->Join();
  EXPECT_EQ(ticks, 10);
}

TEST_F(FibreTest, GivenAProgramThatWaitsForEverWhenDestroyedThenItsDestructorsRun) {
  struct Mark {
    bool* gone;
    ~Mark() { *gone = true; }
  };
  bool gone = false;
  auto waiting = Context::Spawn("waiting", [&] {
    const Mark mark{&gone};
    Context::Current().Suspend();
  });
  Context::Current().SleepNs(10);
  EXPECT_FALSE(gone);
  Context::DestroyAll();
  EXPECT_TRUE(gone);
  EXPECT_TRUE(waiting->done());
}

TEST_F(FibreTest, GivenNothingThatCouldWakeItThenTheWaitingThreadIsTold) {
  EXPECT_THROW(Context::Current().Suspend(), std::runtime_error);
}

TEST_F(FibreTest, GivenManyFibresThenEachKeepsItsOwnStack) {
  constexpr int kFibres = 500;
  std::vector<int> sums(kFibres);
  std::vector<std::shared_ptr<Context>> all;
  for (int i = 0; i < kFibres; ++i) {
    all.push_back(Context::Spawn("one", [i, &sums] {
      int local[64];
      for (int k = 0; k < 64; ++k) {
        local[k] = i + k;
        Context::Current().SleepNs(static_cast<uint64_t>(1 + (i * 7 + k) % 5));
      }
      for (const int value : local) sums[static_cast<size_t>(i)] += value;
    }));
  }
  for (auto& one : all) one->Join();
  for (int i = 0; i < kFibres; ++i) EXPECT_EQ(sums[static_cast<size_t>(i)], 64 * i + 63 * 32);
}

}  // namespace
}  // namespace qpip::sim
