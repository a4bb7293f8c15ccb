#include <cstdio>
#include <iostream>

#include "apps/common/json_output.h"
#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"
#include "sim/ns3/model/parameter.h"

namespace qpip::apps {
namespace {

nlohmann::json ScenariosJson() {
  nlohmann::json out = nlohmann::json::array();
  for (const sim::Scenario& scenario : sim::Scenarios()) {
    nlohmann::json parameters = nlohmann::json::array();
    for (const sim::ScenarioParameter& parameter : scenario.parameters) {
      parameters.push_back({{"name", parameter.name},
                            {"default", parameter.fallback},
                            {"meaning", parameter.meaning}});
    }
    out.push_back(
        {{"name", scenario.name}, {"summary", scenario.summary}, {"parameters", parameters}});
  }
  return out;
}

nlohmann::json ProfilesJson() {
  nlohmann::json out = nlohmann::json::array();
  for (const sim::BuiltInProfile& built_in : sim::BuiltInProfiles()) {
    out.push_back(
        {{"name", built_in.name}, {"summary", sim::Profile::Load(built_in.name).summary()}});
  }
  return out;
}

nlohmann::json ParametersJson() {
  nlohmann::json out = nlohmann::json::array();
  for (const sim::ParameterSpec& spec : sim::ParameterSpecs()) {
    out.push_back({{"name", spec.name},
                   {"unit", spec.unit},
                   {"min", spec.minimum},
                   {"max", spec.maximum},
                   {"required", spec.required},
                   {"meaning", spec.meaning}});
  }
  return out;
}

nlohmann::json MetricsJson(const sim::Scenario& scenario) {
  nlohmann::json out = nlohmann::json::array();
  for (const sim::MetricSpec& metric : scenario.metrics) {
    out.push_back({{"name", metric.name},
                   {"unit", metric.is_text ? "a word" : sim::MetricUnit(metric.name)},
                   {"meaning", metric.meaning}});
  }
  return out;
}

void PrintScenarios() {
  for (const sim::Scenario& scenario : sim::Scenarios()) {
    std::printf("%s: %s\n", scenario.name.c_str(), scenario.summary.c_str());
    for (const sim::ScenarioParameter& parameter : scenario.parameters) {
      const std::string assignment = parameter.name + "=" + parameter.fallback;
      std::printf("    %-24s  %s\n", assignment.c_str(), parameter.meaning.c_str());
    }
  }
}

void PrintNamed(const nlohmann::json& rows, const char* text, const char* unit) {
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row["name"].get<std::string>().size());
  for (const auto& row : rows) {
    const std::string name = unit != nullptr ? row[unit].get<std::string>() : "";
    const std::string in = name.empty() ? "" : " [" + name + "]";
    std::printf("%-*s  %s%s\n", static_cast<int>(width), row["name"].get<std::string>().c_str(),
                row[text].get<std::string>().c_str(), in.c_str());
  }
}

const sim::Scenario& ScenarioOf(const std::vector<std::string>& words) {
  if (words.size() < 2) {
    throw UsageError("say whose metrics: qpip-sim list metrics SCENARIO");
  }
  try {
    return sim::FindScenario(words[1]);
  } catch (const sim::ScenarioError& error) {
    throw UsageError(error.what());
  }
}

}  // namespace

int SimList(int argc, const char* const* argv) {
  CommandLine command_line({.name = "qpip-sim list",
                            .summary = "shows what there is: scenarios, profiles, parameters, "
                                       "metrics",
                            .usage = "  qpip-sim list scenarios|profiles|parameters\n"
                                     "  qpip-sim list metrics SCENARIO\n",
                            .notes = "",
                            .examples = "  qpip-sim list scenarios\n"
                                        "  qpip-sim list metrics ttcp\n"});
  command_line.Positional("what", 2);
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const std::vector<std::string> words = command_line.Strings("what");
  const std::string what = words.empty() ? "" : words[0];
  if (words.size() > 1 && what != "metrics") {
    throw UsageError("\"" + words[1] + "\" is one argument too many: see qpip-sim list --help");
  }
  if (what == "metrics") {
    const nlohmann::json rows = MetricsJson(ScenarioOf(words));
    if (command_line.json()) {
      PrintJsonLine(rows);
    } else {
      PrintNamed(rows, "meaning", "unit");
    }
  } else if (what == "scenarios") {
    if (command_line.json()) {
      PrintJsonLine(ScenariosJson());
    } else {
      PrintScenarios();
    }
  } else if (what == "profiles" || what == "parameters") {
    const bool profiles = what == "profiles";
    const nlohmann::json rows = profiles ? ProfilesJson() : ParametersJson();
    if (command_line.json()) {
      PrintJsonLine(rows);
    } else {
      PrintNamed(rows, profiles ? "summary" : "meaning", profiles ? nullptr : "unit");
    }
  } else {
    throw UsageError("say what to list: scenarios, profiles, parameters or metrics");
  }
  return kExitOk;
}

}  // namespace qpip::apps
