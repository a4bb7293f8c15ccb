// RDMA in virtual time: what one-sided operations cost whom.
#include <gmock/gmock.h>

#include <map>
#include <string>

#include "sim/ns3/scenario/scenario.h"

namespace qpip::sim {
namespace {

using Arguments = std::map<std::string, std::string>;

const std::string kPrototype = "lanai9-hardware-checksum";
const char* const kRdmaScenarios[] = {"rdma-write", "rdma-read", "rdma-send"};

/// The prototype's, but a lone message is acknowledged at once: BSD's acknowledgements, which the
/// prototype has, let one that is alone wait for their timer.
Profile Prompt() {
  Profile profile = Profile::Load(kPrototype);
  profile.Set("protocol.ack_on_batch_end=1");
  return profile;
}
ScenarioResult Simulate(const std::string& scenario, const Arguments& arguments) {
  return RunScenario(scenario, Prompt(), arguments);
}

TEST(RdmaScenario, GivenMessagesOfAnySizeWhenRunThenAllComplete) {
  for (const char* scenario : kRdmaScenarios) {
    for (const char* bytes : {"0", "1", "4096", "100000"}) {
      for (const char* completion : {"poll", "wait"}) {
        const ScenarioResult result = Simulate(
            scenario,
            {{"bytes", bytes}, {"count", "20"}, {"depth", "4"}, {"completion", completion}});
        EXPECT_GT(result.Metric("completion_p50_us"), 0) << scenario << " " << bytes;
        EXPECT_GE(result.Metric("completion_max_us"), result.Metric("completion_p50_us"));
        EXPECT_EQ(result.Metric("drops"), 0) << scenario << " " << bytes;
      }
    }
  }
}

TEST(RdmaScenario, GivenTheSameSeedWhenRunTwiceThenTheSameToTheLastDigit) {
  for (const char* scenario : kRdmaScenarios) {
    const Arguments arguments = {{"count", "50"}, {"depth", "8"}, {"loss", "0.02"}};
    EXPECT_EQ(Simulate(scenario, arguments).metrics, Simulate(scenario, arguments).metrics)
        << scenario;
  }
}

TEST(RdmaScenario, GivenOneSidedOperationsWhenRunThenTheRespondersProcessorDoesNothing) {
  const Arguments arguments = {{"count", "50"}, {"completion", "wait"}};
  EXPECT_EQ(Simulate("rdma-write", arguments).Metric("responder_work_us_per_message"), 0);
  EXPECT_EQ(Simulate("rdma-read", arguments).Metric("responder_work_us_per_message"), 0);
  EXPECT_GT(Simulate("rdma-send", arguments).Metric("responder_work_us_per_message"), 0);
}

TEST(RdmaScenario, GivenMoreUnderWayWhenRunThenMoreASecondAndEachTakesLonger) {
  for (const char* scenario : kRdmaScenarios) {
    const ScenarioResult one = Simulate(scenario, {{"depth", "1"}});
    const ScenarioResult many = Simulate(scenario, {{"depth", "16"}});
    EXPECT_GT(many.Metric("throughput_MB_per_s"), 1.5 * one.Metric("throughput_MB_per_s"))
        << scenario;
    EXPECT_GT(many.Metric("completion_p50_us"), one.Metric("completion_p50_us")) << scenario;
  }
}

TEST(RdmaScenario, GivenCrcsWhenTheCoreComputesThemThenTheyCostByTheByteAndNothingByAnEngine) {
  const auto cost_us = [](const Profile& profile, const char* bytes) {
    const auto run = [&](const char* crc) {
      return RunScenario("rdma-write", profile, {{"bytes", bytes}, {"crc", crc}, {"depth", "1"}})
          .Metric("us_per_message");
    };
    return run("on") - run("off");
  };
  const double small = cost_us(Prompt(), "4096");
  EXPECT_GT(small, 10);
  EXPECT_NEAR(cost_us(Prompt(), "8192"), 2 * small, small / 10);
  Profile engine = Prompt();
  engine.Set("core.checksum_cycles_per_byte=0");
  EXPECT_NEAR(cost_us(engine, "8192"), 0, small / 1000);
}

TEST(RdmaScenario, GivenBsdsAcknowledgementsWhenAMessageIsAloneThenItWaitsForTheirTimer) {
  const Profile profile = Profile::Load(kPrototype);
  const Arguments alone = {{"depth", "1"}, {"count", "20"}};
  EXPECT_NEAR(RunScenario("rdma-write", profile, alone).Metric("completion_max_us"),
              profile.Get("protocol.ack_delay_us"), 2000);
  // The answer to a Read is its own acknowledgement.
  EXPECT_LT(RunScenario("rdma-read", profile, alone).Metric("completion_max_us"), 2000);
}

}  // namespace
}  // namespace qpip::sim
