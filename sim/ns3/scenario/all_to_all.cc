// Every host sends to many others at the same time. Made for whole fabrics: with 1024 NICs and 64
// peers there are 65,536 connections, each with queues and tables just large enough.
#include "sim/ns3/scenario/traffic.h"

namespace qpip::sim {
namespace {

/// `peers` destinations for each host, spread evenly over the others; each host is the destination
/// of as many.
std::vector<Flow> MakeFlows(uint32_t nics, uint32_t peers) {
  std::vector<Flow> flows;
  flows.reserve(size_t{nics} * peers);
  for (uint32_t i = 0; i < nics; ++i) {
    for (uint32_t k = 0; k < peers; ++k) {
      const auto step = static_cast<uint32_t>(uint64_t{k} * (nics - 1) / peers);
      flows.push_back({i, (i + 1 + step) % nics});
    }
  }
  return flows;
}

ScenarioResult RunAllToAll(const Profile& profile, const ScenarioArguments& arguments) {
  WorldOptions world_options = CommonOptions(arguments);
  world_options.nics = static_cast<uint32_t>(arguments.Count("nics"));
  const auto given = static_cast<uint32_t>(arguments.Count("peers"));
  if (given >= world_options.nics) {
    throw ScenarioError("peers is " + std::to_string(given) + ", but there are " +
                        std::to_string(world_options.nics - 1) +
                        " other hosts: give nics more, or peers=0 for all");
  }
  const uint32_t peers = given == 0 ? world_options.nics - 1 : given;
  return RunTraffic(profile, world_options, MakeFlows(world_options.nics, peers),
                    TrafficArguments(arguments));
}

}  // namespace

Scenario AllToAllScenario() {
  return {"all-to-all", "every host sends to many others at the same time",
          TrafficParameters({Whole("nics", 16, 2, 65536, "hosts"),
                             Whole("peers", 0, 0, 65535, "others each host sends to; 0: all"),
                             Bytes("message", 65536, 1, 1u << 24, "bytes a message"),
                             Whole("messages", 1, 1, 1u << 24, "messages to each peer"),
                             Whole("depth", 1, 1, 128, "messages outstanding to each peer")}),
          TrafficMetrics(), RunAllToAll};
}

}  // namespace qpip::sim
