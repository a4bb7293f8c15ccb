// Sets of slots, one thread's and shared ones.
#include "sim/wire/slot_set.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace qpip::wire::test {
namespace {

std::vector<uint32_t> Slots(const SlotSet& set) {
  std::vector<uint32_t> slots;
  set.ForEach([&](uint32_t slot) { slots.push_back(slot); });
  return slots;
}

TEST(SlotSets, GivenRandomChangesWhenComparedWithAStandardSetThenTheyAreEqual) {
  SlotSet set;
  std::set<uint32_t> model;
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const uint32_t slot = random() % kMaxPorts;
    if (random() % 3 == 0) {
      set.erase(slot);
      model.erase(slot);
    } else if (model.size() < 50) {
      set.insert(slot);
      model.insert(slot);
    } else {
      for (const uint32_t each : Slots(set)) set.erase(each);
      model.clear();
    }
    ASSERT_EQ(set.empty(), model.empty());
    ASSERT_EQ(set.contains(slot), model.contains(slot));
    ASSERT_EQ(Slots(set), std::vector<uint32_t>(model.begin(), model.end()));
  }
}

TEST(SlotSets, GivenASetWhenItsMembersAreTakenOutInPassingThenEachIsSeenOnce) {
  SlotSet set;
  for (const uint32_t slot : {0u, 63u, 64u, 1000u, 1023u}) set.insert(slot);
  uint32_t seen = 0;
  set.ForEach([&](uint32_t slot) {
    set.erase(slot);
    ++seen;
  });
  EXPECT_EQ(seen, 5u);
  EXPECT_TRUE(set.empty());
}

TEST(SharedSlotSets, GivenThreadsThatInsertWhenOneTakesOutThenNothingIsMissed) {
  constexpr uint32_t kEach = 20000;
  const auto set = std::make_unique<SharedSlotSet>();
  set->Clear();
  // Each inserter waits until its slot has been taken out: it hangs if that is missed.
  std::vector<std::thread> inserters;
  for (const uint32_t slot : {5u, 6u, 1023u}) {
    inserters.emplace_back([&, slot] {
      for (uint32_t i = 0; i < kEach; ++i) {
        set->Insert(slot);
        while (set->contains(slot)) std::this_thread::yield();
      }
    });
  }
  for (uint32_t taken = 0; taken < 3 * kEach;) {
    if (set->empty()) {
      std::this_thread::yield();
      continue;
    }
    set->Snapshot().ForEach([&](uint32_t slot) {
      set->Erase(slot);
      ++taken;
    });
  }
  for (std::thread& inserter : inserters) inserter.join();
  EXPECT_TRUE(set->empty());
}

}  // namespace
}  // namespace qpip::wire::test
