// Doorbell FIFOs that are too short for what is posted: it takes longer, and nothing else.
#include <gmock/gmock.h>

#include <ostream>

#include "sim/ns3/scenario/scenario.h"
#include "sim/ns3/world/world.h"

namespace qpip::sim {
namespace {

/// Counts what did not fit into the FIFOs, of all NICs.
class OverflowCounter : public WorldWatcher {
 public:
  OverflowCounter() : before_(SetWorldWatcher(this)) {}
  ~OverflowCounter() override { SetWorldWatcher(before_); }
  void OnBuilt(World&) override {}
  void OnEnd(World& world) override {
    for (const Host& host : world.hosts()) total += host.device->totals().doorbell_overflows;
  }
  uint64_t total = 0;

 private:
  WorldWatcher* const before_;
};

struct Run {
  const char* name;
  const char* scenario;
  std::map<std::string, std::string> arguments;
  int overflows_up_to;               ///< entries of a FIFO that overflows for sure
  std::vector<const char*> metrics;  ///< that do not depend on the FIFO
};
void PrintTo(const Run& run, std::ostream* out) { *out << run.name; }

const Run kRuns[] = {
    {"ttcp", "ttcp", {{"message", "64"}, {"bytes", "1000"}}, 4, {"frames", "retransmissions"}},
    {"ttcp_deep",
     "ttcp",
     {{"message", "64"}, {"bytes", "64000"}, {"depth", "64"}, {"completion", "wait"}},
     4,
     {"frames", "retransmissions"}},
    {"incast", "incast", {}, 4, {"bytes", "retransmissions", "drops"}},
    {"incast_verified",
     "incast",
     {{"message", "64"}, {"payload", "verify"}},
     2,
     {"bytes_verified", "retransmissions", "drops"}},
    {"ping", "ping", {}, 1, {}},
    {"ping_udp", "ping", {{"transport", "udp"}}, 0, {"sent", "lost"}},
    {"mixed", "mixed", {}, 4, {"bytes", "datagrams_received", "retransmissions", "drops"}},
};

class ShortDoorbellFifo : public ::testing::TestWithParam<std::tuple<Run, int>> {};
INSTANTIATE_TEST_SUITE_P(Runs, ShortDoorbellFifo,
                         ::testing::Combine(::testing::ValuesIn(kRuns), ::testing::Values(1, 2, 4)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "_" +
                                  std::to_string(std::get<1>(test.param));
                         });

TEST_P(ShortDoorbellFifo, GivenItWhenAScenarioRunsThenAllArrivesAsWithALongOne) {
  const auto& [run, entries] = GetParam();
  Profile profile = Profile::Load("lanai9-hardware-checksum");
  const ScenarioResult with_a_long_one = RunScenario(run.scenario, profile, run.arguments);
  profile.Set("doorbell.entries=" + std::to_string(entries));
  OverflowCounter overflows;
  const ScenarioResult result = RunScenario(run.scenario, profile, run.arguments);
  if (entries <= run.overflows_up_to) {
    EXPECT_GT(overflows.total, 0u);
  }
  for (const char* metric : run.metrics) {
    EXPECT_EQ(result.Metric(metric), with_a_long_one.Metric(metric)) << metric;
  }
}

}  // namespace
}  // namespace qpip::sim
