// What scenarios report: what list metrics says, over the measured window, with its bottleneck.
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "sim/ns3/model/number.h"
#include "sim/ns3/scenario/scenario.h"
#include "sim/ns3/trace/occupancy.h"

namespace qpip::sim {
namespace {

using Arguments = std::map<std::string, std::string>;

const std::string kProfile = "lanai9-hardware-checksum";

/// The prototype with room for fetching and sending at the same time.
Profile Roomy() {
  Profile profile = Profile::Load(kProfile);
  profile.Set("protocol.transmit_contexts=8");
  profile.Set("sram.transmit_buffers=16");
  return profile;
}

ScenarioResult Simulate(const std::string& scenario, const Arguments& arguments) {
  return RunScenario(scenario, Profile::Load(kProfile), arguments);
}

struct Sample {
  const char* scenario;
  Arguments arguments;
};

/// Together they show every metric there is.
const std::vector<Sample> kSamples = {
    {"ping", {{"count", "5"}}},
    {"ping", {{"count", "5"}, {"transport", "udp"}}},
    {"ttcp", {{"bytes", "100K"}}},
    {"nbd", {{"bytes", "1M"}}},
    {"incast", {{"nics", "3"}, {"messages", "4"}, {"payload", "verify"}}},
    {"all-to-all", {{"nics", "3"}, {"payload", "verify"}}},
    {"mixed", {{"nics", "4"}, {"messages", "8"}, {"pings", "50"}, {"payload", "verify"}}},
    {"message", {{"bytes", "1"}}},
    {"rdma-write", {{"count", "5"}}},
    {"rdma-read", {{"count", "5"}}},
    {"rdma-send", {{"count", "5"}}},
    {"stages", {{"messages", "4"}}}};

TEST(Metrics, GivenEveryScenarioWhenRunThenItsMetricsAreThoseOfItsList) {
  const std::set<std::string> rare = {"path_waiting_us", "path_host_us"};  // in loss and load only
  std::map<std::string, std::set<std::string>> seen;
  for (const Sample& sample : kSamples) {
    SCOPED_TRACE(sample.scenario);
    const std::string profile =
        kProfile + (sample.scenario == std::string("nbd") ? "+linux24-storage" : "");
    const ScenarioResult result =
        RunScenario(sample.scenario, Profile::Load(profile), sample.arguments);
    const Scenario& scenario = FindScenario(sample.scenario);
    for (const auto& [name, value] : result.metrics) {
      const MetricSpec* spec = FindMetric(scenario, name);
      EXPECT_TRUE(spec != nullptr && !spec->is_text) << name;
      EXPECT_TRUE(seen[sample.scenario].insert(name).second ||
                  sample.scenario == kSamples[1].scenario)
          << name << " is reported twice";
    }
    for (const auto& [name, word] : result.words) {
      const MetricSpec* spec = FindMetric(scenario, name);
      EXPECT_TRUE(spec != nullptr && spec->is_text) << name;
      seen[sample.scenario].insert(name);
    }
  }
  for (const Scenario& scenario : Scenarios()) {
    if (scenario.name == "stages") continue;  // lists every stage there could be
    for (const MetricSpec& spec : scenario.metrics) {
      EXPECT_TRUE(seen[scenario.name].count(spec.name) == 1 || rare.count(spec.name) == 1)
          << scenario.name << " never reports " << spec.name;
    }
  }
}

TEST(Metrics, GivenScenariosThatTransferThenOneNameIsUsedForOneThing) {
  for (const char* name : {"ttcp", "incast", "all-to-all", "mixed"}) {
    for (const char* metric : {"throughput_MB_per_s", "bytes", "setup_us", "duration_us",
                               "bottleneck", "frames", "frames_lost", "retransmissions", "drops"}) {
      EXPECT_NE(FindMetric(FindScenario(name), metric), nullptr) << name << " " << metric;
    }
  }
}

TEST(Window, GivenATransferThenNeitherHandshakeNorCloseIsInIt) {
  // Seven messages of a segment each, and no SYN, ACK of a handshake or FIN beside them.
  const ScenarioResult result = Simulate("ttcp", {{"bytes", "100K"}});
  EXPECT_EQ(result.Metric("sender_frames"), 7);
  EXPECT_GT(result.Metric("setup_us"), 0);
  EXPECT_NEAR(result.Metric("throughput_MB_per_s"),
              result.Metric("bytes") / result.Metric("duration_us"), 1e-6);
  EXPECT_EQ(static_cast<double>(result.window_end_ns - result.window_start_ns) / 1000,
            result.Metric("duration_us"));
}

TEST(Window, GivenAnotherWorldBeforeThenNothingOfItIsLeft) {
  const ScenarioResult first = Simulate("ping", {{"count", "3"}});
  Simulate("ttcp", {{"bytes", "100K"}});
  EXPECT_EQ(Simulate("ping", {{"count", "3"}}).metrics, first.metrics);
}

TEST(Window, GivenARecordingThenOccupancyOverTheWindowIsWhatTheRunReports) {
  for (const Arguments& arguments :
       {Arguments{{"bytes", "2M"}}, Arguments{{"bytes", "2M"}, {"loss", "0.01"}}}) {
    ScopedRecording recorder;
    const ScenarioResult result = RunScenario("ttcp", Roomy(), arguments);
    const Occupancy occupancy = ComputeOccupancy(
        recorder.recording(), result.window_start_ns * 1000, result.window_end_ns * 1000, 1);
    const auto share = [&](size_t host, Resource resource) {
      return occupancy.Utilisation(occupancy.at(host, resource).busy_ps);
    };
    const auto expect = [&](const char* metric, double value) {
      EXPECT_NEAR(result.Metric(metric), value, 0.01) << metric;
    };
    expect("sender_core_utilisation", share(1, Resource::kCore));
    expect("sender_dma_read_utilisation", share(1, Resource::kDmaRead));
    expect("receiver_dma_write_utilisation", share(0, Resource::kDmaWrite));
    expect("sender_link_out_utilisation", share(1, Resource::kLinkTransmit));
    expect("receiver_link_in_utilisation", share(0, Resource::kLinkReceive));
  }
}

TEST(Bottleneck, GivenManySendersThenTheReceiversBusIsIt) {
  const ScenarioResult result = Simulate("incast", {{"nics", "9"}});
  EXPECT_EQ(result.Word("bottleneck"), "host 0 dma write");
  EXPECT_NEAR(result.Metric("bottleneck_utilisation"), result.Metric("max_dma_write_utilisation"),
              1e-12);
}

TEST(Bottleneck, GivenOneBufferForFetchingAndSendingThenItIsTheBuffer) {
  const ScenarioResult result = Simulate("ttcp", {});
  EXPECT_EQ(result.Word("bottleneck"), "sender transmit buffers");
  EXPECT_GT(result.Metric("sender_transmit_buffers_utilisation"), 0.9);
  EXPECT_LE(result.Metric("sender_transmit_buffers_utilisation"), 1.0001);
  EXPECT_LT(result.Metric("sender_core_utilisation"), 0.9);
}

TEST(Bottleneck, GivenASlowerCoreThenItIsTheCoreAndWithAFasterOneItIsNot) {
  const auto with = [](const char* clock) {
    Profile profile = Roomy();
    profile.Set("link.mtu=3000");
    profile.Set(std::string("core.hz=") + clock);
    return RunScenario("ttcp", profile, {{"bytes", "20M"}, {"message", "256K"}}).Word("bottleneck");
  };
  EXPECT_EQ(with("66M"), "sender core");
  EXPECT_EQ(with("266M"), "sender dma read");
}

TEST(Bottleneck, GivenRoundTripsThenNothingIsFull) {
  EXPECT_EQ(Simulate("ping", {{"count", "20"}}).Word("bottleneck"), "none");
}

// --- Numbers

TEST(Numbers, GivenSuffixesThenSizesAreBinaryAndTheRestDecimal) {
  EXPECT_EQ(ParseNumber("64K", true), 65536);
  EXPECT_EQ(ParseNumber("64k", true), 65536);
  EXPECT_EQ(ParseNumber("10G", false), 1e10);
  EXPECT_EQ(ParseNumber("2.5M", false), 2.5e6);
  EXPECT_EQ(ParseNumber("16Ki", false), 16384);
  EXPECT_EQ(ParseNumber("1Ti", true), 1099511627776.0);
  EXPECT_EQ(ParseNumber("-1e3", false), -1000);
}

TEST(Numbers, GivenWhatIsNoNumberThenNone) {
  for (const char* text : {"", "K", "1 K", "1KB", "1m", "0x10", "1Kii", "1i", "+1", "1,5"}) {
    EXPECT_TRUE(std::isnan(ParseNumber(text, true))) << text;
  }
}

TEST(Numbers, GivenAValueThenItsTextReadsBackAsTheSame) {
  for (const double value : {0.0, 1.0, 1e10, 9007199254740991.0, 0.1, 1.0 / 3, 1e-9, 1e300}) {
    EXPECT_EQ(ParseNumber(PlainNumber(value), false), value);
  }
  EXPECT_EQ(PlainNumber(1e10), "10000000000");
}

TEST(Numbers, GivenAnArgumentOrAParameterWithASuffixThenItIsTaken) {
  const Scenario& ttcp = FindScenario("ttcp");
  EXPECT_EQ(ScenarioArguments(ttcp.parameters, {{"bytes", "10M"}}).values().at("bytes"),
            "10485760");
  EXPECT_EQ(ScenarioArguments(ttcp.parameters, {}).values().at("depth"), "16");
  Profile profile = Profile::Load(kProfile);
  profile.Set("link.bits_per_s=10G");
  EXPECT_EQ(profile.Get("link.bits_per_s"), 1e10);
  profile.Set("sram.receive_bytes=1M");
  EXPECT_EQ(profile.Get("sram.receive_bytes"), 1048576);
}

// --- Today's TCP

TEST(ModernTcp, GivenLossThenItIsFarFasterThanTheTcpOfThePaper) {
  const auto rate = [](const std::string& delta) {
    Profile profile = Profile::Load(kProfile + delta);
    profile.Set("link.mtu=1500");
    return RunScenario("ttcp", profile, {{"loss", "0.05"}, {"bytes", "1M"}})
        .Metric("throughput_MB_per_s");
  };
  EXPECT_GT(rate("+modern-tcp"), 4 * rate(""));
}

}  // namespace
}  // namespace qpip::sim
