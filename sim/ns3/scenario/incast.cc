// Many hosts send to one at the same time: back-pressure, fairness.
#include "sim/ns3/scenario/traffic.h"

namespace qpip::sim {
namespace {

ScenarioResult RunIncast(const Profile& profile, const ScenarioArguments& arguments) {
  WorldOptions world_options = CommonOptions(arguments);
  world_options.nics = static_cast<uint32_t>(arguments.Count("nics"));
  std::vector<Flow> flows;
  for (uint32_t i = 1; i < world_options.nics; ++i) flows.push_back({i, 0});
  return RunTraffic(profile, world_options, flows, TrafficArguments(arguments));
}

}  // namespace

Scenario IncastScenario() {
  return {
      "incast", "many hosts send to one at the same time",
      TrafficParameters({Whole("nics", 16, 2, 65536, "hosts; all but the first send to the first"),
                         Bytes("message", 16384, 1, 1u << 24, "bytes a message"),
                         Whole("messages", 64, 1, 1u << 24, "messages of each sender"),
                         Whole("depth", 4, 1, 128, "messages outstanding of each sender")}),
      TrafficMetrics(), RunIncast};
}

}  // namespace qpip::sim
