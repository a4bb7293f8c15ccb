#include "nic_fw/list.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace qpip::fw {
namespace {

class ListTest : public testing::Test {
 protected:
  auto LinkOf() {
    return [this](uint32_t handle) -> Link& { return links_[handle]; };
  }
  std::vector<uint32_t> Forward() {
    std::vector<uint32_t> seen;
    for (uint32_t i = list_.head; i != kNone; i = links_[i].next) seen.push_back(i);
    return seen;
  }
  std::vector<uint32_t> Backward() {
    std::vector<uint32_t> seen;
    for (uint32_t i = list_.tail; i != kNone; i = links_[i].previous) seen.push_back(i);
    return seen;
  }

  std::array<Link, 8> links_ = {};
  List list_;
};

using Handles = std::vector<uint32_t>;

TEST_F(ListTest, GivenEmptyListWhenPoppedThenNone) {
  EXPECT_TRUE(list_.empty());
  EXPECT_EQ(PopFront(list_, LinkOf()), kNone);
  EXPECT_EQ(list_.count, 0u);
}

TEST_F(ListTest, GivenPushesAtBothEndsWhenWalkedThenOrderIsTheirs) {
  PushBack(list_, LinkOf(), 3);
  PushBack(list_, LinkOf(), 1);
  PushFront(list_, LinkOf(), 7);
  EXPECT_EQ(Forward(), (Handles{7, 3, 1}));
  EXPECT_EQ(Backward(), (Handles{1, 3, 7}));
  EXPECT_EQ(list_.count, 3u);
}

TEST_F(ListTest, GivenThreeWhenEachIsRemovedInTurnThenTheOthersStay) {
  for (const uint32_t gone : {0u, 1u, 2u}) {
    list_ = List{};
    links_ = {};
    for (const uint32_t i : {0u, 1u, 2u}) PushBack(list_, LinkOf(), i);
    Remove(list_, LinkOf(), gone);
    Handles left = {0, 1, 2};
    std::erase(left, gone);
    EXPECT_EQ(Forward(), left);
    EXPECT_EQ(Backward(), Handles(left.rbegin(), left.rend()));
    EXPECT_FALSE(links_[gone].linked());
  }
}

TEST_F(ListTest, GivenOnlyEntryWhenRemovedThenListIsEmptyAndTakesItAgain) {
  PushBack(list_, LinkOf(), 5);
  EXPECT_TRUE(links_[5].linked());
  EXPECT_EQ(PopFront(list_, LinkOf()), 5u);
  EXPECT_TRUE(list_.empty());
  PushFront(list_, LinkOf(), 5);
  EXPECT_EQ(Forward(), Handles{5});
}

#if QPIP_ASSERTIONS
using ListDeathTest = ListTest;

TEST_F(ListDeathTest, GivenLinkThatPointsElsewhereWhenItsNeighbourIsRemovedThenCaught) {
  for (const uint32_t i : {0u, 1u, 2u}) PushBack(list_, LinkOf(), i);
  links_[2].previous = 0;
  EXPECT_DEATH(Remove(list_, LinkOf(), 1), "assertion failed: .*previous == handle");
}

TEST_F(ListDeathTest, GivenEntryOnListWhenPushedAgainThenCaught) {
  PushBack(list_, LinkOf(), 4);
  EXPECT_DEATH(PushBack(list_, LinkOf(), 4), "assertion failed: !link_of\\(handle\\).linked\\(\\)");
}

TEST_F(ListDeathTest, GivenEntryOfNoListWhenRemovedThenCaught) {
  PushBack(list_, LinkOf(), 4);
  EXPECT_DEATH(Remove(list_, LinkOf(), 3), "assertion failed: link.linked\\(\\)");
}
#endif

}  // namespace
}  // namespace qpip::fw
