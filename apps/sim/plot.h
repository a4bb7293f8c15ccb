// Pictures and reports, made by a Python program (apps/sim/plot/) from a study's JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qpip::apps {

/// Runs the program with these arguments ("paper", DIR) and the study on its standard input. It is
/// found in ../share/qpip/plot from the executable, in the build tree as when installed. Throws
/// Failure when it is not there, when there is no Python 3 with matplotlib, or when it fails.
void Plot(const std::vector<std::string>& arguments, const nlohmann::json& study);

}  // namespace qpip::apps
