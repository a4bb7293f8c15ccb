#include "apps/common/interval.h"

#include <gtest/gtest.h>

#include <vector>

namespace qpip::apps {
namespace {

using std::chrono::milliseconds;

class IntervalTest : public ::testing::Test {
 protected:
  IntervalReports Reports(milliseconds length) {
    return {length, [this](const Interval& interval) { told_.push_back(interval); }};
  }
  static IntervalReports::Clock::time_point At(int ms) {
    return IntervalReports::Clock::time_point(milliseconds(1000 + ms));
  }
  void ExpectTold(size_t i, double start, double end, uint64_t bytes) {
    ASSERT_LT(i, told_.size());
    EXPECT_DOUBLE_EQ(told_[i].start_seconds, start);
    EXPECT_DOUBLE_EQ(told_[i].end_seconds, end);
    EXPECT_EQ(told_[i].bytes, bytes);
  }

  std::vector<Interval> told_;
};

TEST_F(IntervalTest, GivenAnIntervalWhenItIsOverThenItIsToldWithItsBytesOnly) {
  IntervalReports reports = Reports(milliseconds(100));
  reports.Start(At(0));
  reports.Look(At(99), 10);
  EXPECT_TRUE(told_.empty());
  reports.Look(At(100), 30);
  reports.Look(At(150), 40);
  reports.Look(At(200), 35 + 30);
  ASSERT_EQ(told_.size(), 2u);
  ExpectTold(0, 0, 0.1, 30);
  ExpectTold(1, 0.1, 0.2, 35);
}

TEST_F(IntervalTest, GivenALookThatComesLateThenTheNextIntervalBeginsThere) {
  IntervalReports reports = Reports(milliseconds(100));
  reports.Start(At(0));
  reports.Look(At(250), 7);
  reports.Look(At(300), 8);
  reports.Look(At(350), 9);
  ASSERT_EQ(told_.size(), 2u);
  ExpectTold(0, 0, 0.25, 7);
  ExpectTold(1, 0.25, 0.35, 2);
}

TEST_F(IntervalTest, GivenAPartOfAnIntervalWhenFinishedThenItIsTold) {
  IntervalReports reports = Reports(milliseconds(100));
  reports.Start(At(0));
  reports.Look(At(100), 5);
  reports.Finish(At(120), 6);
  ASSERT_EQ(told_.size(), 2u);
  ExpectTold(1, 0.1, 0.12, 1);
}

TEST_F(IntervalTest, GivenNoIntervalThenNothingIsTold) {
  IntervalReports reports = Reports(milliseconds(0));
  EXPECT_FALSE(reports.wanted());
  reports.Start(At(0));
  reports.Look(At(1000), 5);
  reports.Finish(At(2000), 6);
  EXPECT_TRUE(told_.empty());
}

}  // namespace
}  // namespace qpip::apps
