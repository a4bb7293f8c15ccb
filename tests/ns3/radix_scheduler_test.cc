#include "sim/ns3/model/radix_scheduler.h"

#include <gtest/gtest.h>
#include <ns3/object-factory.h>
#include <ns3/object.h>

#include <cstdint>
#include <map>
#include <random>
#include <utility>

namespace qpip::sim {
namespace {

using Event = ns3::Scheduler::Event;

Event At(uint64_t time, uint32_t id) { return {nullptr, {time, id, 0}}; }

TEST(RadixScheduler, GivenEventsOfOneTimeWhenRemovedThenTheyLeaveInTheOrderOfInsertion) {
  const auto scheduler = ns3::CreateObject<RadixScheduler>();
  scheduler->Insert(At(9, 1));
  scheduler->Insert(At(5, 2));
  scheduler->Insert(At(9, 3));
  EXPECT_EQ(scheduler->RemoveNext().key.m_uid, 2u);
  scheduler->Insert(At(9, 4));
  EXPECT_EQ(scheduler->PeekNext().key.m_uid, 1u);
  EXPECT_EQ(scheduler->RemoveNext().key.m_uid, 1u);
  scheduler->Insert(At(9, 5));
  EXPECT_EQ(scheduler->RemoveNext().key.m_uid, 3u);
  EXPECT_EQ(scheduler->RemoveNext().key.m_uid, 4u);
  EXPECT_EQ(scheduler->RemoveNext().key.m_uid, 5u);
  EXPECT_TRUE(scheduler->IsEmpty());
}

TEST(RadixScheduler, GivenALaterTimeWhenAnEarlierEventIsInsertedThenItLeavesFirst) {
  const auto scheduler = ns3::CreateObject<RadixScheduler>();
  scheduler->Insert(At(1000, 1));
  scheduler->Insert(At(1001, 2));
  EXPECT_EQ(scheduler->RemoveNext().key.m_uid, 1u);
  scheduler->Insert(At(3, 3));
  EXPECT_EQ(scheduler->RemoveNext().key.m_uid, 3u);
  EXPECT_EQ(scheduler->RemoveNext().key.m_uid, 2u);
  EXPECT_TRUE(scheduler->IsEmpty());
}

TEST(RadixScheduler, GivenItsTypeNameWhenAUserNamesItThenNs3FindsIt) {
  ns3::ObjectFactory factory("ns3::QpipRadixScheduler");
  EXPECT_NE(factory.Create<ns3::Scheduler>(), nullptr);
}

/// Against a sorted map from (time, order of insertion).
TEST(RadixScheduler, GivenRandomEventsWhenInsertedPeekedCancelledAndRemovedThenTheOrderIsASort) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    const auto scheduler = ns3::CreateObject<RadixScheduler>();
    std::map<std::pair<uint64_t, uint32_t>, Event> sorted;
    uint64_t now = 0;
    uint32_t next = 0;
    for (int step = 0; step < 20000; ++step) {
      const uint64_t what = random() % 16;
      if (what < 8 || sorted.empty()) {
        const uint32_t magnitude = random() % 40;
        const Event event = At(now + (random() & ((uint64_t{1} << magnitude) - 1)), next++);
        scheduler->Insert(event);
        sorted.emplace(std::pair{event.key.m_ts, event.key.m_uid}, event);
      } else if (what == 8) {
        const auto victim =
            std::next(sorted.begin(), static_cast<ptrdiff_t>(random() % sorted.size()));
        scheduler->Remove(victim->second);
        sorted.erase(victim);
      } else {
        ASSERT_EQ(scheduler->PeekNext().key.m_uid, sorted.begin()->second.key.m_uid);
        const Event event = scheduler->RemoveNext();
        ASSERT_EQ(event.key.m_uid, sorted.begin()->second.key.m_uid) << seed << ' ' << step;
        now = event.key.m_ts;
        sorted.erase(sorted.begin());
      }
      ASSERT_EQ(scheduler->IsEmpty(), sorted.empty());
    }
  }
}

}  // namespace
}  // namespace qpip::sim
