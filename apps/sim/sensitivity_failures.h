// Variations of the paper's study that could not be simulated.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace qpip::apps {

/// How many of the variations in "sensitivity" and "host_sensitivity" of a study failed, and the
/// first one's reason, for a human; nullopt: none.
std::optional<std::string> SensitivityFailures(const nlohmann::json& study);

}  // namespace qpip::apps
