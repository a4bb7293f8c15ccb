// Stage costs of pure data and pure acknowledgement segments: the paper's Tables 2 and 3.
#include "sim/ns3/paper/published.h"
#include "sim/ns3/paper/stage_table.h"
#include "sim/ns3/scenario/scenarios.h"

namespace qpip::sim {
namespace {

/// "tx_get_wr_data_us"
std::string MetricName(fw::Stage stage, fw::Variant variant) {
  std::string name = std::string(StageKey(stage)) + "_" + VariantKey(variant) + "_us";
  for (char& letter : name) {
    if (letter == '-') letter = '_';
  }
  return name;
}

ScenarioResult RunStages(const Profile& profile, const ScenarioArguments& arguments) {
  paper::StageRunOptions options;
  options.bytes = static_cast<uint32_t>(arguments.Count("bytes"));
  options.messages = static_cast<uint32_t>(arguments.Count("messages"));
  options.topology = arguments.Text("topology");
  options.seed = arguments.Count("seed");
  const paper::StageTable table = paper::Tabulate(paper::RunStages(profile, options));
  ScenarioResult result;
  for (uint32_t s = 0; s < fw::kStageCount; ++s) {
    const auto stage = static_cast<fw::Stage>(s);
    for (const fw::Variant variant : {fw::Variant::kData, fw::Variant::kAck}) {
      const paper::StageTable::Cell& cell = table.cell(stage, variant);
      if (cell.count != 0) result.Add(MetricName(stage, variant), cell.us);
    }
  }
  result.Add("data_segments", static_cast<double>(table.data_segments));
  result.Add("ack_segments", static_cast<double>(table.ack_segments));
  result.Add("stages_us", static_cast<double>(table.stages_ps) / 1e6);
  result.Add("core_busy_us", static_cast<double>(table.core_busy_ps) / 1e6);
  result.details["deviations_from_paper"] = paper::Deviations(table);
  return result;
}

}  // namespace

Scenario StagesScenario() {
  std::vector<MetricSpec> metrics;
  for (uint32_t s = 0; s < fw::kStageCount; ++s) {
    for (const fw::Variant variant : {fw::Variant::kData, fw::Variant::kAck}) {
      const bool data = variant == fw::Variant::kData;
      metrics.push_back({MetricName(static_cast<fw::Stage>(s), variant),
                         data ? "core time a data segment" : "core time an acknowledgement"});
    }
  }
  Append(&metrics, {{"data_segments", "data segments watched"},
                    {"ack_segments", "acknowledgements watched"},
                    {"stages_us", "core time of all stages added up"},
                    {"core_busy_us", "core time as the cores count it"}});
  return {"stages",
          "core time of every stage a segment, data and acknowledgement (paper Tables 2 and 3)",
          {Bytes("bytes", 1, 1, 16384, "bytes a message"),
           Whole("messages", 64, 4, 100000, "one-way messages watched, rounded up to bursts of 4"),
           TopologyParameter(), SeedParameter()},
          std::move(metrics),
          RunStages};
}

}  // namespace qpip::sim
