// The paper's figures, from the profiles as they are shipped. See docs/reproducing-the-paper.md.
#include <gmock/gmock.h>

#include "sim/ns3/scenario/scenario.h"

namespace qpip::sim {
namespace {

using Arguments = std::map<std::string, std::string>;

constexpr double kTolerance = 0.05;

double RoundTripUs(const std::string& profile, const std::string& transport) {
  return RunScenario("ping", Profile::Load(profile), {{"transport", transport}})
      .Metric("rtt_mean_us");
}

double Throughput(const std::string& profile, double mtu) {
  Profile loaded = Profile::Load(profile);
  loaded.Set("link.mtu", mtu, "the paper's");
  return RunScenario("ttcp", loaded, {}).Metric("throughput_MB_per_s");
}

void ExpectPublished(double simulated, double published) {
  EXPECT_NEAR(simulated, published, kTolerance * published);
}

TEST(PaperTest, GivenThePrototypeThenRoundTripsAreThePapers) {
  ExpectPublished(RoundTripUs("lanai9-firmware-checksum", "udp"), 73);
  ExpectPublished(RoundTripUs("lanai9-firmware-checksum", "tcp"), 113);
}

TEST(PaperTest, GivenThePrototypeThenThroughputIsThePapers) {
  ExpectPublished(Throughput("lanai9-hardware-checksum", 16456), 75.6);
  ExpectPublished(Throughput("lanai9-hardware-checksum", 9000), 70.1);
  ExpectPublished(Throughput("lanai9-hardware-checksum", 1500), 35.4);
  ExpectPublished(Throughput("lanai9-firmware-checksum", 16456), 26.4);
}

TEST(PaperTest, GivenThePrototypeThenTheHostIsBelowOnePercent) {
  const ScenarioResult result = RunScenario("ttcp", Profile::Load("lanai9-hardware-checksum"), {});
  EXPECT_LT(result.Metric("sender_host_utilisation"), 0.01);
  EXPECT_LT(result.Metric("receiver_host_utilisation"), 0.01);
}

}  // namespace
}  // namespace qpip::sim
