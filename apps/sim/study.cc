#include "apps/sim/study.h"

#include <algorithm>
#include <cstdio>
#include <set>

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
                          const sim::ScenarioResult& result) {
  nlohmann::json chosen = nlohmann::json::object();
  for (const auto& [name, value] : profile.values()) {
    if (value.profile == "set") chosen[name] = value.value;
  }
  nlohmann::json metrics = nlohmann::json::object();
  for (const auto& [name, value] : result.metrics) metrics[name] = value;
  nlohmann::json out = {{"scenario", scenario}, {"profile", profile.name()},
                        {"set", chosen},        {"arguments", arguments},
                        {"metrics", metrics},   {"details", result.details}};
  if (result.interrupted) out["interrupted"] = true;
  return out;
}

void PrintMetrics(const sim::ScenarioResult& result) {
  size_t width = 0;
  for (const auto& [name, value] : result.metrics) width = std::max(width, name.size());
  for (const auto& [name, value] : result.metrics) {
    std::printf("  %-*s  %.6g\n", static_cast<int>(width), name.c_str(), value);
  }
}

}  // namespace qpip::apps
