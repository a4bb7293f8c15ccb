// What the subcommands share: a profile and a scenario from the command line, results as text.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/command_line.h"
#include "sim/ns3/scenario/scenario.h"

namespace qpip::apps {

/// Adds --profile and --set.
void AddProfileOptions(CommandLine& command_line);
/// The profile that the options name. Throws UsageError.
sim::Profile GetProfile(const CommandLine& command_line);
/// "name=value" of every positional argument behind the first. Throws UsageError.
std::map<std::string, std::string> GetArguments(const CommandLine& command_line);

/// Profile, arguments, metrics and details as one object.
nlohmann::json ResultJson(const std::string& scenario, const sim::Profile& profile,
                          const std::map<std::string, std::string>& arguments,
                          const sim::ScenarioResult& result);
/// Metrics, one a line.
void PrintMetrics(const sim::ScenarioResult& result);

}  // namespace qpip::apps
