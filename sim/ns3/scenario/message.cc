// The life of one message, from its post to its acknowledgement, and its critical path.
#include <algorithm>

#include "sim/ns3/paper/message_life.h"
#include "sim/ns3/scenario/scenarios.h"
#include "sim/ns3/trace/trace_json.h"

namespace qpip::sim {
namespace {

double Us(uint64_t ps) { return static_cast<double>(ps) / 1e6; }

/// Time a path spends in a resource, all hosts.
void AddShares(const std::vector<PathStep>& path, ScenarioResult* result) {
  std::map<std::string, uint64_t> by_resource;
  for (const PathStep& step : path) by_resource[step.resource] += step.end_ps - step.start_ps;
  for (const auto& [resource, ps] : by_resource) {
    std::string name = resource;
    std::replace(name.begin(), name.end(), ' ', '_');
    result->Add("path_" + name + "_us", Us(ps));
  }
}

ScenarioResult RunMessage(const Profile& profile, const ScenarioArguments& arguments) {
  const auto bytes = static_cast<uint32_t>(arguments.Count("bytes"));
  const paper::MessageLife life = paper::RunMessageLife(profile, bytes);
  ScenarioResult result;
  result.Add("received_us", Us(life.received_ps - life.posted_ps));
  result.Add("completed_us", Us(life.completed_ps - life.posted_ps));
  AddShares(life.to_receiver, &result);
  nlohmann::json host = nlohmann::json::array();
  const auto add = [&](int number, const char* label, uint64_t start_ps, uint64_t ps) {
    host.push_back({{"host", number},
                    {"resource", "host"},
                    {"label", label},
                    {"kind", "host"},
                    {"start_us", Us(start_ps - life.posted_ps)},
                    {"end_us", Us(start_ps - life.posted_ps + ps)}});
  };
  add(1, "PostSend", life.posted_ps, life.post_ps);
  add(0, "Poll", life.received_ps - life.poll_ps, life.poll_ps);
  add(1, "Poll", life.completed_ps - life.poll_ps, life.poll_ps);
  result.details = {{"bytes", bytes},
                    {"activities", ActivitiesJson(life.recording, life.posted_ps)},
                    {"host_activities", host},
                    {"path_to_receiver", PathJson(life.to_receiver, life.posted_ps)},
                    {"path_to_sender", PathJson(life.to_sender, life.posted_ps)}};
  return result;
}

}  // namespace

Scenario MessageScenario() {
  std::vector<MetricSpec> metrics = {
      {"received_us", "from PostSend to the receiver's completion"},
      {"completed_us", "from PostSend to the sender's own completion"}};
  for (const std::string resource : {"core", "DMA_read", "DMA_write", "link", "host", "waiting"}) {
    metrics.push_back(
        {"path_" + resource + "_us", "its part of the critical path to the receiver's completion"});
  }
  return {"message",
          "one message on idle NICs, acknowledged at once: its waterfall and critical path",
          {Bytes("bytes", 1, 1, 16384, "bytes of the message")},
          std::move(metrics),
          RunMessage};
}

}  // namespace qpip::sim
