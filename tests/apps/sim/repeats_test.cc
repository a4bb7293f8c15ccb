// What qpip-sim says of several seeds together.
#include "apps/sim/repeats.h"

#include <gmock/gmock.h>

#include <set>

namespace qpip::apps {
namespace {

RepeatedRun Ran(uint64_t seed, std::map<std::string, double> metrics, const std::string& word) {
  RepeatedRun run{seed, {}};
  run.result.metrics.assign(metrics.begin(), metrics.end());
  run.result.Say("bottleneck", word);
  return run;
}

TEST(DerivedSeeds, GivenOneSeedThenItIsTheFirstAndTheOthersFollowFromIt) {
  const auto ten = DerivedSeeds(7, 10);
  EXPECT_EQ(ten.front(), 7u);
  EXPECT_EQ(ten, DerivedSeeds(7, 10));
  const auto five = DerivedSeeds(7, 5);
  EXPECT_TRUE(std::equal(five.begin(), five.end(), ten.begin()));
  EXPECT_NE(DerivedSeeds(8, 2)[1], ten[1]);
}

TEST(DerivedSeeds, GivenManyThenNoneIsThereTwiceAndAJsonNumberHoldsEach) {
  const auto seeds = DerivedSeeds(1, 10000);
  EXPECT_EQ(std::set<uint64_t>(seeds.begin(), seeds.end()).size(), 10000u);
  EXPECT_LT(*std::max_element(seeds.begin(), seeds.end()), uint64_t{1} << 53);
}

TEST(Summarise, GivenTenValuesThenMeanMedianAndStudentsInterval) {
  // Student's t for 9 degrees of freedom: 2.262 (any table); the deviation of 1 to 10 is 3.02765.
  const Estimate estimate = Summarise({10, 9, 8, 7, 6, 5, 4, 3, 2, 1});
  EXPECT_DOUBLE_EQ(estimate.mean, 5.5);
  EXPECT_DOUBLE_EQ(estimate.median, 5.5);
  EXPECT_NEAR(estimate.ci95_low, 5.5 - 2.262 * 3.02765 / std::sqrt(10), 1e-3);
  EXPECT_NEAR(estimate.ci95_high, 5.5 + 2.262 * 3.02765 / std::sqrt(10), 1e-3);
  EXPECT_EQ(estimate.min, 1);
  EXPECT_EQ(estimate.max, 10);
}

TEST(Summarise, GivenAnOddNumberWithAnOutlierThenTheMedianIsInTheMiddle) {
  EXPECT_EQ(Summarise({1, 100, 2}).median, 2);
}

TEST(Summarise, GivenOneValueOrEqualOnesThenTheIntervalIsThatValueExactly) {
  for (const auto& values : {std::vector<double>{0.1}, std::vector<double>(10, 0.1)}) {
    const Estimate estimate = Summarise(values);
    EXPECT_EQ(estimate.mean, 0.1);
    EXPECT_EQ(estimate.ci95_low, 0.1);
    EXPECT_EQ(estimate.ci95_high, 0.1);
  }
}

TEST(Together, GivenRunsThenMetricsAreMeansAndWordsTheMostFrequent) {
  const nlohmann::json json = Together(
      {Ran(1, {{"a", 1}}, "core"), Ran(2, {{"a", 3}}, "link"), Ran(3, {{"a", 8}}, "core")});
  EXPECT_EQ(json["metrics"]["a"], 4.0);
  EXPECT_EQ(json["statistics"]["a"]["median"], 3.0);
  EXPECT_EQ(json["words"]["bottleneck"], "core (2 of 3)");
  EXPECT_EQ(json["runs"].size(), 3u);
  EXPECT_EQ(json["runs"][2]["seed"], 3);
}

TEST(Together, GivenOneRunThenThereAreNoStatistics) {
  const nlohmann::json json = Together({Ran(1, {{"a", 1}}, "core")});
  EXPECT_EQ(json["metrics"]["a"], 1.0);
  EXPECT_EQ(json["words"]["bottleneck"], "core");
  EXPECT_FALSE(json.contains("statistics"));
}

std::vector<Warning::Kind> Kinds(const std::vector<RepeatedRun>& runs, double reassembly) {
  nlohmann::json json = Together(runs);
  json["parameters"] = {{"protocol.reassembly", reassembly}};
  std::vector<Warning::Kind> kinds;
  for (const Warning& warning : Warnings(json, static_cast<uint32_t>(runs.size()))) {
    kinds.push_back(warning.kind);
  }
  return kinds;
}

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Warnings, GivenNothingLostThenNone) {
  EXPECT_THAT(Kinds({Ran(1, {{"frames_lost", 0}}, "")}, 0), IsEmpty());
}

TEST(Warnings, GivenLossWithOneSeedThenThatAndWhatTheTcpCannotDo) {
  const std::vector<RepeatedRun> runs = {Ran(1, {{"frames_lost", 5}}, "")};
  EXPECT_THAT(Kinds(runs, 0),
              ElementsAre(Warning::Kind::kTcpWithoutReassembly, Warning::Kind::kOneSeed));
  EXPECT_THAT(Kinds(runs, 32), ElementsAre(Warning::Kind::kOneSeed));
}

TEST(Warnings, GivenSeedsThatLeaveMuchOpenThenThat) {
  const auto run = [](uint64_t seed, double rate) {
    return Ran(seed, {{"frames_lost", 5}, {"throughput_MB_per_s", rate}}, "");
  };
  EXPECT_THAT(Kinds({run(1, 27), run(2, 120), run(3, 80)}, 32),
              ElementsAre(Warning::Kind::kWideInterval));
  EXPECT_THAT(Kinds({run(1, 100), run(2, 101), run(3, 99)}, 32), IsEmpty());
}

}  // namespace
}  // namespace qpip::apps
