// Many hosts send to one at the same time: back-pressure, fairness.
#include "sim/ns3/scenario/traffic.h"

namespace qpip::sim {
namespace {

ScenarioResult Run(const Profile& profile, const ScenarioArguments& arguments) {
  WorldOptions world_options = CommonOptions(arguments);
  world_options.nics = static_cast<uint32_t>(arguments.Count("nics", 2, 65536));
  std::vector<Flow> flows;
  for (uint32_t i = 1; i < world_options.nics; ++i) flows.push_back({i, 0});
  return RunTraffic(profile, world_options, flows, TrafficArguments(arguments));
}

}  // namespace

Scenario IncastScenario() {
  return {"incast", "many hosts send to one at the same time",
          TrafficParameters({{"nics", "16", "hosts; all but the first send to the first"},
                             {"message", "16384", "bytes a message"},
                             {"messages", "64", "messages of each sender"},
                             {"depth", "4", "messages outstanding of each sender"}}),
          Run};
}

}  // namespace qpip::sim
