// incast, all-to-all and mixed: what they move, and what their figures mean.
#include <gmock/gmock.h>

#include "sim/ns3/scenario/scenario.h"

namespace qpip::sim {
namespace {

using Arguments = std::map<std::string, std::string>;

ScenarioResult Simulate(const std::string& scenario, const Arguments& arguments) {
  return RunScenario(scenario, Profile::Load("lanai9-hardware-checksum"), arguments);
}

TEST(IncastTest, GivenManySendersThenTheReceiversBusIsSharedFairly) {
  const ScenarioResult result = Simulate("incast", {{"nics", "9"}});
  EXPECT_EQ(result.Metric("flows"), 8);
  EXPECT_GT(result.Metric("throughput_MB_per_s"), 0.95 * 120.5);  // dma.bytes_per_s
  EXPECT_LT(result.Metric("throughput_MB_per_s"), 120.5);
  EXPECT_GT(result.Metric("fairness"), 0.99);
  EXPECT_EQ(result.Metric("drops"), 0);
  EXPECT_EQ(result.Metric("retransmissions"), 0);
  EXPECT_LE(result.Metric("message_p50_us"), result.Metric("message_p99_us"));
}

TEST(IncastTest, GivenMoreUnderWayThanTheReceiverHoldsThenSendersAreHeldBackAndNothingIsLost) {
  const ScenarioResult result =
      Simulate("incast", {{"nics", "9"}, {"depth", "32"}, {"messages", "64"}});
  EXPECT_GT(result.Metric("nic_back_pressure_us"), 0);
  EXPECT_EQ(result.Metric("drops"), 0);
}

TEST(IncastTest, GivenLossThenItIsRepairedAndEveryByteArrives) {
  const ScenarioResult result = Simulate(
      "incast", {{"nics", "4"}, {"loss", "0.02"}, {"messages", "40"}, {"payload", "verify"}});
  EXPECT_GT(result.Metric("retransmissions"), 0);
  EXPECT_EQ(result.Metric("bytes_verified"), result.Metric("bytes"));
}

/// Sixteen senders behind switches with these settings.
ScenarioResult SixteenSenders(const std::vector<std::string>& settings) {
  Profile profile = Profile::Load("lanai9-hardware-checksum+modern-tcp");
  for (const std::string& setting : settings) profile.Set(setting);
  return RunScenario("incast", profile,
                     {{"nics", "17"}, {"messages", "64"}, {"payload", "verify"}});
}

TEST(IncastTest, GivenSwitchesThatDropThenWhatIsLostIsSentAgainAndEveryByteArrives) {
  const ScenarioResult result = SixteenSenders({"switch.drop_bytes=64K"});
  EXPECT_GT(result.Metric("switch_drops"), 10);
  EXPECT_GE(result.Metric("retransmissions"), result.Metric("switch_drops"));
  EXPECT_EQ(result.Metric("frames_lost"), 0);
  EXPECT_EQ(result.Metric("bytes_verified"), result.Metric("bytes"));
}

TEST(IncastTest, GivenSwitchesThatMarkThenEcnCapableSendersActUponItAndOthersAreNotMarked) {
  const ScenarioResult cubic = SixteenSenders({"switch.mark_bytes=32K"});
  const ScenarioResult dctcp = SixteenSenders({"switch.mark_bytes=32K", "protocol.congestion=2"});
  EXPECT_EQ(cubic.Metric("switch_marks"), 0);
  EXPECT_GT(dctcp.Metric("switch_marks"), 10);
  EXPECT_EQ(dctcp.Metric("switch_drops"), 0);
  // They act upon it.
  EXPECT_NE(dctcp.Metric("duration_us"),
            SixteenSenders({"protocol.congestion=2"}).Metric("duration_us"));
  EXPECT_EQ(dctcp.Metric("bytes_verified"), dctcp.Metric("bytes"));
}

TEST(AllToAllTest, GivenSixteenHostsThenEveryByteArrivesOnEitherTopology) {
  for (const char* topology : {"switch", "fat-tree"}) {
    const ScenarioResult result = Simulate(
        "all-to-all", {{"payload", "verify"}, {"topology", topology}, {"message", "20000"}});
    EXPECT_EQ(result.Metric("flows"), 16 * 15);
    EXPECT_EQ(result.Metric("bytes"), 16 * 15 * 20000.0);
    EXPECT_EQ(result.Metric("bytes_verified"), result.Metric("bytes"));
    EXPECT_EQ(result.Metric("drops"), 0);
  }
}

TEST(AllToAllTest, GivenASampleThenWhatOneHostInSixteenReceivesIsChecked) {
  const ScenarioResult result = Simulate("all-to-all", {{"nics", "20"},
                                                        {"peers", "3"},
                                                        {"payload", "sample"},
                                                        {"message", "5000"},
                                                        {"loss", "0.02"}});
  EXPECT_EQ(result.Metric("bytes_verified"), 2 * 3 * 5000.0);  // hosts 0 and 16
  EXPECT_EQ(result.Metric("bytes"), 20 * 3 * 5000.0);
}

TEST(AllToAllTest, GivenPeersThenEachHostSendsToSoMany) {
  const ScenarioResult result =
      Simulate("all-to-all", {{"nics", "64"}, {"peers", "4"}, {"topology", "fat-tree"}});
  EXPECT_EQ(result.Metric("flows"), 64 * 4);
  std::map<int, int> sent, received;
  for (const auto& flow : result.details["flows"]) {
    EXPECT_NE(flow["source"], flow["destination"]);
    ++sent[flow["source"]];
    ++received[flow["destination"]];
  }
  for (int host = 0; host < 64; ++host) {
    EXPECT_EQ(sent[host], 4) << host;
    EXPECT_EQ(received[host], 4) << host;
  }
}

TEST(AllToAllTest, GivenTheSameSeedThenTheSameResult) {
  const Arguments arguments = {{"seed", "7"}, {"message", "30000"}};
  const ScenarioResult once = Simulate("all-to-all", arguments);
  const ScenarioResult again = Simulate("all-to-all", arguments);
  EXPECT_EQ(once.metrics, again.metrics);
  EXPECT_TRUE(once.details == again.details);
}

TEST(MixedTest, GivenBulkThenRoundTripsTakeALittleLongerAndDatagramsArrive) {
  const ScenarioResult result = Simulate("mixed", {});
  EXPECT_GT(result.Metric("loaded_rtt_p50_us"), 1.05 * result.Metric("idle_rtt_p50_us"));
  // They go ahead of bulk.
  EXPECT_LT(result.Metric("loaded_rtt_p50_us"), 1.5 * result.Metric("idle_rtt_p50_us"));
  EXPECT_EQ(result.Metric("datagrams_received"), result.Metric("datagrams_sent"));
  EXPECT_EQ(result.Metric("datagrams_sent"), 100);
}

TEST(MixedTest, GivenLossThenLostDatagramsAreCountedAndTcpIsComplete) {
  const ScenarioResult result = Simulate("mixed", {{"loss", "0.05"}, {"payload", "verify"}});
  EXPECT_LT(result.Metric("datagrams_received"), result.Metric("datagrams_sent"));
  EXPECT_EQ(result.Metric("bytes_verified"), result.Metric("bytes"));
}

TEST(TrafficArgumentsTest, GivenABadValueThenTheErrorSaysWhatIsAccepted) {
  const auto failure = [](const Arguments& arguments) -> std::string {
    try {
      Simulate("incast", arguments);
    } catch (const ScenarioError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(failure({{"payload", "real"}}),
            "payload is \"real\"; accepted: phantom, verify, sample");
  EXPECT_THAT(failure({{"nics", "1"}}), ::testing::HasSubstr("from 2 to"));
  EXPECT_THAT(failure({{"nicks", "4"}}), ::testing::HasSubstr("no parameter \"nicks\""));
  EXPECT_THAT(failure({{"nics", "300"}}), ::testing::HasSubstr("fat-tree"));
}

}  // namespace
}  // namespace qpip::sim
