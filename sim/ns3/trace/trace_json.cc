#include "sim/ns3/trace/trace_json.h"

#include "sim/ns3/model/stage_names.h"

namespace qpip::sim {
namespace {

double UsFrom(uint64_t ps, uint64_t origin_ps) {
  return (static_cast<double>(ps) - static_cast<double>(origin_ps)) / 1e6;
}

std::string KindOf(const Activity& activity) {
  if (activity.resource != Resource::kCore) return "";
  const bool ack =
      activity.variant == fw::Variant::kAck || activity.variant == fw::Variant::kControl;
  return std::string(IsReceiveStage(activity.stage) ? "receive " : "transmit ") +
         (ack ? "ACK" : "data");
}

}  // namespace

nlohmann::json ActivitiesJson(const Recording& recording, uint64_t origin_ps) {
  nlohmann::json out = nlohmann::json::array();
  for (const Activity& activity : recording.activities) {
    if (activity.DurationPs() == 0) continue;
    out.push_back({{"host", activity.host},
                   {"resource", ResourceName(activity.resource)},
                   {"label", activity.Label()},
                   {"kind", KindOf(activity)},
                   {"amount", activity.amount},
                   {"start_us", UsFrom(activity.start_ps, origin_ps)},
                   {"end_us", UsFrom(activity.end_ps, origin_ps)}});
  }
  return out;
}

nlohmann::json PathJson(const std::vector<PathStep>& path, uint64_t origin_ps) {
  nlohmann::json out = nlohmann::json::array();
  for (const PathStep& step : path) {
    out.push_back({{"host", step.host},
                   {"resource", step.resource},
                   {"label", step.label},
                   {"start_us", UsFrom(step.start_ps, origin_ps)},
                   {"end_us", UsFrom(step.end_ps, origin_ps)}});
  }
  return out;
}

nlohmann::json OccupancyJson(const Occupancy& occupancy) {
  nlohmann::json resources = nlohmann::json::array();
  for (size_t host = 0; host < occupancy.hosts.size(); ++host) {
    for (uint32_t r = 0; r < kResourceCount; ++r) {
      const ResourceOccupancy& resource = occupancy.at(host, static_cast<Resource>(r));
      nlohmann::json parts = nlohmann::json::array();
      for (const auto& [label, part] : resource.parts) {
        nlohmann::json bins = nlohmann::json::array();
        for (const uint64_t busy : part.bins_ps) {
          bins.push_back(static_cast<double>(busy) / static_cast<double>(occupancy.bin_ps));
        }
        parts.push_back({{"label", label},
                         {"count", part.count},
                         {"busy_us", PsToUs(part.busy_ps)},
                         {"share", occupancy.Utilisation(part.busy_ps)},
                         {"bins", std::move(bins)}});
      }
      resources.push_back({{"host", host},
                           {"resource", ResourceName(static_cast<Resource>(r))},
                           {"busy_us", PsToUs(resource.busy_ps)},
                           {"utilisation", occupancy.Utilisation(resource.busy_ps)},
                           {"parts", std::move(parts)}});
    }
  }
  return {{"start_us", PsToUs(occupancy.start_ps)},
          {"end_us", PsToUs(occupancy.end_ps)},
          {"bin_us", PsToUs(occupancy.bin_ps)},
          {"resources", std::move(resources)}};
}

}  // namespace qpip::sim
