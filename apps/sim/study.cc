#include "apps/sim/study.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "apps/common/version.h"
#include "sim/ns3/model/nic_model.h"
#include "sim/ns3/world/stop.h"

namespace qpip::apps {

namespace po = boost::program_options;

void AddProfileOptions(CommandLine& command_line) {
  command_line.Options().add_options()(
      "profile,p",
      po::value<std::string>()->default_value("lanai9-hardware-checksum")->value_name("PROFILE"),
      "a profile's name or file, deltas joined by '+' (qpip-sim list profiles)")(
      "set,s", po::value<std::vector<std::string>>()->value_name("NAME=NUMBER"),
      "gives a parameter of the profile another value; repeatable (qpip-sim list parameters)");
}

void RequireArguments(const std::string& scenario,
                      const std::map<std::string, std::string>& arguments) {
  try {
    const sim::ScenarioArguments checked(sim::FindScenario(scenario).parameters, arguments);
  } catch (const sim::ScenarioError& error) {
    throw UsageError(error.what());
  }
}

void RequireSetOnce(const std::vector<std::string>& settings) {
  std::set<std::string> names;
  const auto name = [](const std::string& setting) { return setting.substr(0, setting.find('=')); };
  const auto twice =
      std::find_if(settings.begin(), settings.end(),
                   [&](const std::string& setting) { return !names.insert(name(setting)).second; });
  if (twice == settings.end()) return;
  throw UsageError("--set \"" + *twice + "\": " + name(*twice) + " is given twice: give it once");
}

StopToken& InterruptToken() {
  static StopToken token;
  static const bool listening = [] {
    StopOnSignals(token);
    return true;
  }();
  (void)listening;
  return token;
}

sim::ScenarioResult RunInterruptibly(const std::string& scenario, const sim::Profile& profile,
                                     const std::map<std::string, std::string>& arguments) {
  InterruptToken();
  const auto before = sim::SetStopQuery([] { return InterruptToken().requested(); });
  try {
    sim::ScenarioResult result = sim::RunScenario(scenario, profile, arguments);
    sim::SetStopQuery(before);
    if (result.interrupted) {
      std::fputs("qpip-sim: interrupted: the numbers are of what had been done until then\n",
                 stderr);
    }
    return result;
  } catch (const sim::ScenarioError& error) {
    throw UsageError(error.what());
  }
}

sim::Profile GetProfile(const CommandLine& command_line) {
  RequireSetOnce(command_line.Strings("set"));
  try {
    sim::Profile profile = sim::Profile::Load(command_line.String("profile"));
    for (const std::string& assignment : command_line.Strings("set")) profile.Set(assignment);
    profile.RequireComplete();
    const sim::NicModel model(profile);  // it is possible, too
    return profile;
  } catch (const sim::ProfileError& error) {
    throw UsageError(error.what());
  }
}

const sim::Scenario& GetScenario(const CommandLine& command_line) {
  const std::vector<std::string> words = command_line.Strings("scenario");
  if (words.empty()) throw UsageError("name a scenario: qpip-sim list scenarios shows them");
  try {
    return sim::FindScenario(words[0]);
  } catch (const sim::ScenarioError& error) {
    throw UsageError(error.what());
  }
}

std::map<std::string, std::string> GetArguments(const CommandLine& command_line) {
  std::map<std::string, std::string> arguments;
  const std::vector<std::string> words = command_line.Strings("scenario");
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError("\"" + words[i] + "\": a scenario's parameters are given as name=value");
    }
    const std::string name = words[i].substr(0, equals);
    if (!arguments.emplace(name, words[i].substr(equals + 1)).second) {
      throw UsageError("\"" + words[i] + "\": " + name + " is given twice: give it once");
    }
  }
  return arguments;
}

nlohmann::json ResultJson(const std::string& scenario, const sim::Profile& profile,
                          const std::map<std::string, std::string>& arguments,
                          const std::vector<RepeatedRun>& runs) {
  nlohmann::json chosen = nlohmann::json::object();
  nlohmann::json parameters = nlohmann::json::object();
  for (const auto& [name, value] : profile.values()) {
    parameters[name] = value.value;
    if (value.profile == "set") chosen[name] = value.value;
  }
  const sim::ScenarioArguments complete(sim::FindScenario(scenario).parameters, arguments);
  nlohmann::json out = Together(runs);
  out["version"] = Version();
  out["commit"] = Commit();
  out["scenario"] = scenario;
  out["profile"] = profile.name();
  out["set"] = chosen;
  out["parameters"] = parameters;
  out["given"] = arguments;
  out["arguments"] = complete.values();
  out["details"] = runs.front().result.details;
  if (std::any_of(runs.begin(), runs.end(), [](const auto& run) { return run.result.interrupted; }))
    out["interrupted"] = true;
  return out;
}

void PrintMetrics(const nlohmann::json& result) {
  const auto name_of_scenario = result["scenario"].get<std::string>();
  const sim::Scenario& scenario = sim::FindScenario(name_of_scenario);
  const nlohmann::json& metrics = result["metrics"];
  size_t width = 0;
  for (const auto& [name, value] : metrics.items()) width = std::max(width, name.size());
  const int column = static_cast<int>(width);
  const bool several = result.contains("statistics");
  if (several) {
    std::printf("  %-*s  %11s", column, "", "mean");
    for (const std::string& name : StatisticNames()) std::printf(" %11s", name.c_str());
    std::printf("\n");
  }
  for (const sim::MetricSpec& spec : scenario.metrics) {
    const char* name = spec.name.c_str();
    if (result["words"].contains(spec.name)) {
      std::printf("  %-*s  %s\n", column, name,
                  result["words"][spec.name].get_ref<const std::string&>().c_str());
    }
    if (!metrics.contains(spec.name)) continue;
    std::printf(several ? "  %-*s  %11.6g" : "  %-*s  %.6g", column, name,
                metrics[spec.name].get<double>());
    for (const std::string& statistic : StatisticNames()) {
      if (several) std::printf(" %11.6g", result["statistics"][name][statistic].get<double>());
    }
    std::printf("\n");
  }
}

void AddRepeatOption(CommandLine& command_line) {
  command_line.Options().add_options()(
      "repeat", po::value<std::string>()->default_value("1")->value_name("N"),
      "runs each with so many seeds, which follow from the parameter seed: means, medians and 95% "
      "intervals");
}

uint32_t GetRepeats(const CommandLine& command_line, const std::string& scenario) {
  const auto repeats = static_cast<uint32_t>(command_line.Number("repeat", 1, kMaxRepeats));
  if (repeats > 1 && sim::FindParameter(sim::FindScenario(scenario), "seed") == nullptr) {
    throw UsageError("option --repeat: nothing in " + scenario +
                     " is random: leave it out, every run gives the same");
  }
  return repeats;
}

uint64_t GetSeed(const std::string& scenario, const std::map<std::string, std::string>& arguments) {
  const sim::Scenario& found = sim::FindScenario(scenario);
  if (sim::FindParameter(found, "seed") == nullptr) return 0;
  return sim::ScenarioArguments(found.parameters, arguments).Count("seed");
}

std::map<std::string, std::string> WithSeed(std::map<std::string, std::string> arguments,
                                            const std::string& scenario, uint64_t seed) {
  if (sim::FindParameter(sim::FindScenario(scenario), "seed") != nullptr) {
    arguments["seed"] = std::to_string(seed);
  }
  return arguments;
}

void RequireMetric(const std::string& scenario, const std::string& metric) {
  const sim::MetricSpec* found = sim::FindMetric(sim::FindScenario(scenario), metric);
  if (found != nullptr && !found->is_text) return;
  throw UsageError("--plot \"" + metric + "\": " + scenario + " has no " +
                   (found == nullptr ? "metric" : "number") +
                   " of that name: qpip-sim list metrics " + scenario + " shows them");
}

void PrintWarnings(const std::vector<Warning>& warnings) {
  for (const Warning& warning : warnings) PrintErrorLine("qpip-sim: note", warning.text);
}

}  // namespace qpip::apps
