#include "apps/sim/sensitivity_failures.h"

namespace qpip::apps {

std::optional<std::string> SensitivityFailures(const nlohmann::json& study) {
  nlohmann::json rows = nlohmann::json::array();
  if (study.contains("sensitivity")) rows = study["sensitivity"]["rows"];
  if (study.contains("host_sensitivity")) {
    for (const nlohmann::json& host : study["host_sensitivity"]) {
      rows.insert(rows.end(), host["rows"].begin(), host["rows"].end());
    }
  }
  size_t failed = 0;
  std::string first;
  for (const nlohmann::json& row : rows) {
    if (!row.contains("failed")) continue;
    if (failed++ != 0) continue;
    const auto reason = row["failed"].items().begin();
    first = row["name"].get<std::string>() + ", " + row["change"].get<std::string>() + ", " +
            reason.key() + ": " + reason.value().get<std::string>();
  }
  if (failed == 0) return std::nullopt;
  return std::to_string(failed) + " of " + std::to_string(rows.size()) +
         " variations failed, the first: " + first;
}

}  // namespace qpip::apps
