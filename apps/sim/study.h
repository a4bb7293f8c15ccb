// What the subcommands share: a profile and a scenario from the command line, results as text.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/command_line.h"
#include "apps/common/stop.h"
#include "sim/ns3/scenario/scenario.h"

namespace qpip::apps {

/// Adds --profile and --set.
void AddProfileOptions(CommandLine& command_line);
/// The profile that the options name. Throws UsageError.
sim::Profile GetProfile(const CommandLine& command_line);
/// "name=value" of every positional argument behind the first. Throws UsageError, also when a name
/// is given twice.
std::map<std::string, std::string> GetArguments(const CommandLine& command_line);
/// Throws UsageError when a parameter is given twice with --set.
void RequireSetOnce(const std::vector<std::string>& settings);
/// Runs a scenario; SIGINT and SIGTERM end it with what it has measured until then, which one line
/// on stderr says. Throws UsageError for a bad name or value, else as sim::RunScenario.
sim::ScenarioResult RunInterruptibly(const std::string& scenario, const sim::Profile& profile,
                                     const std::map<std::string, std::string>& arguments);
/// Of this process, requested by SIGINT and SIGTERM. The first call begins to listen to them.
StopToken& InterruptToken();

/// Profile, arguments, metrics and details as one object.
nlohmann::json ResultJson(const std::string& scenario, const sim::Profile& profile,
                          const std::map<std::string, std::string>& arguments,
                          const sim::ScenarioResult& result);
/// Metrics, one a line.
void PrintMetrics(const sim::ScenarioResult& result);

}  // namespace qpip::apps
