// What the subcommands share: a profile and a scenario from the command line, results as text.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/command_line.h"
#include "apps/common/stop.h"
#include "apps/sim/repeats.h"
#include "sim/ns3/scenario/scenario.h"

namespace qpip::apps {

/// Adds --profile and --set.
void AddProfileOptions(CommandLine& command_line);
/// The profile that the options name. Throws UsageError.
sim::Profile GetProfile(const CommandLine& command_line);
/// The scenario that the first positional argument names. Throws UsageError.
const sim::Scenario& GetScenario(const CommandLine& command_line);
/// "name=value" of every positional argument behind the first. Throws UsageError, also when a name
/// is given twice.
std::map<std::string, std::string> GetArguments(const CommandLine& command_line);
/// Throws UsageError for a name or value that the scenario does not accept.
void RequireArguments(const std::string& scenario,
                      const std::map<std::string, std::string>& arguments);
/// Throws UsageError when a parameter is given twice with --set.
void RequireSetOnce(const std::vector<std::string>& settings);
/// Runs a scenario; SIGINT and SIGTERM end it with what it has measured until then, which one line
/// on stderr says. Throws UsageError for a bad name or value, else as sim::RunScenario.
sim::ScenarioResult RunInterruptibly(const std::string& scenario, const sim::Profile& profile,
                                     const std::map<std::string, std::string>& arguments);
/// Of this process, requested by SIGINT and SIGTERM. The first call begins to listen to them.
StopToken& InterruptToken();

/// Runs as one object: QPIP's version and commit, profile with every number, arguments with those
/// that were not given, metrics, and the first run's details.
nlohmann::json ResultJson(const std::string& scenario, const sim::Profile& profile,
                          const std::map<std::string, std::string>& arguments,
                          const std::vector<RepeatedRun>& runs);
/// Metrics, one a line, in the scenario's order; of several runs with what StatisticNames() says.
void PrintMetrics(const nlohmann::json& result);
/// Adds --repeat.
void AddRepeatOption(CommandLine& command_line);
/// Its value. Throws UsageError, also when the scenario has nothing random.
uint32_t GetRepeats(const CommandLine& command_line, const std::string& scenario);
/// The seed that the arguments name, or the scenario's own; 0 when it has none.
uint64_t GetSeed(const std::string& scenario, const std::map<std::string, std::string>& arguments);
/// A run's arguments with another seed.
std::map<std::string, std::string> WithSeed(std::map<std::string, std::string> arguments,
                                            const std::string& scenario, uint64_t seed);
/// Throws UsageError unless the scenario has this metric, a number.
void RequireMetric(const std::string& scenario, const std::string& metric);
/// Warnings, a line each on stderr.
void PrintWarnings(const std::vector<Warning>& warnings);

}  // namespace qpip::apps
