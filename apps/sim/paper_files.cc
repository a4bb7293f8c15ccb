#include "apps/sim/paper_files.h"

#include "apps/common/json_output.h"
#include "apps/sim/output_files.h"

namespace qpip::apps {
namespace {

using nlohmann::json;

/// One line a variation, one column a figure: the change, as a fraction.
json FlatSensitivity(const json& sensitivity) {
  json rows = json::array();
  for (const json& row : sensitivity["rows"]) {
    json flat = row;
    for (const auto& [key, change] : row["changes"].items()) flat[key] = change;
    rows.push_back(std::move(flat));
  }
  return rows;
}

void WriteSensitivity(const std::filesystem::path& directory, const std::string& name,
                      const json& sensitivity) {
  std::vector<std::string> columns = {"group", "name", "change", "kind"};
  for (const json& key : sensitivity["figures"]) columns.push_back(key);
  columns.push_back("source");
  WriteBoth(directory, name, sensitivity, FlatSensitivity(sensitivity), columns);
}

}  // namespace

void WritePaperFiles(const json& study, const std::filesystem::path& directory) {
  MakeDirectory(directory);
  WriteFile(directory / "paper.json", JsonText(study, 1) + "\n");
  for (const json& artifact : study["artifacts"]) {
    WriteBoth(directory, artifact["key"], artifact, artifact["rows"],
              {"item", "series", "unit", "published", "simulated", "error", "note", "command"});
  }
  WriteBoth(directory, "relations", study["relations"], study["relations"],
            {"key", "title", "subject", "low", "high", "simulated", "text", "place"});
  WriteBoth(directory, "claims", study["claims"], study["claims"],
            {"key", "title", "subject", "paper", "simulated", "error", "holds", "counted", "text",
             "place"});
  WriteBoth(directory, "profile", study["profile"], study["profile"]["parameters"],
            {"name", "value", "unit", "kind", "profile", "source", "meaning"});
  if (!study.contains("sensitivity")) return;
  WriteSensitivity(directory, "sensitivity", study["sensitivity"]);
  for (const json& host : study["host_sensitivity"]) {
    WriteSensitivity(directory, "sensitivity-" + host["profile"].get<std::string>(), host);
  }
}

}  // namespace qpip::apps
