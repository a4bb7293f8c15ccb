// The same seed gives the same result, to the last digit; another seed another.
#include <gmock/gmock.h>

#include "sim/ns3/scenario/scenario.h"

namespace qpip::sim {
namespace {

std::string Outcome(const std::string& scenario, std::map<std::string, std::string> arguments,
                    const std::string& seed) {
  arguments["seed"] = seed;
  const ScenarioResult result =
      RunScenario(scenario, Profile::Load("lanai9-hardware-checksum"), arguments);
  nlohmann::json all = nlohmann::json::array({result.details});
  for (const auto& [name, value] : result.metrics) all.push_back({name, value});
  return all.dump();
}

TEST(DeterminismTest, GivenLossWhenTheSeedIsTheSameThenSoIsTheResult) {
  const std::map<std::string, std::string> lossy = {{"loss", "0.02"}, {"bytes", "2000000"}};
  const std::string first = Outcome("ttcp", lossy, "7");
  EXPECT_EQ(Outcome("ttcp", lossy, "7"), first);
  EXPECT_NE(Outcome("ttcp", lossy, "8"), first);
}

TEST(DeterminismTest, GivenSeedsThatTheGeneratorDoesNotTakeThenTheyAreSeedsAllTheSame) {
  const std::map<std::string, std::string> lossy = {{"loss", "0.05"}, {"bytes", "500000"}};
  const std::string first = Outcome("ttcp", lossy, "4294944442");
  EXPECT_NE(Outcome("ttcp", lossy, "4294967086"), first);
}

TEST(DeterminismTest, GivenOtherRunsInBetweenThenTheResultIsTheSame) {
  const std::string first = Outcome("ping", {{"count", "20"}}, "1");
  Outcome("ttcp", {{"bytes", "200000"}}, "3");
  EXPECT_EQ(Outcome("ping", {{"count", "20"}}, "1"), first);
}

}  // namespace
}  // namespace qpip::sim
