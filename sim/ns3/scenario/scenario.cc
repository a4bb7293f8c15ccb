#include "sim/ns3/scenario/scenario.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/ns3/model/number.h"
#include "sim/ns3/scenario/scenarios.h"
#include "sim/ns3/world/stop.h"

namespace qpip::sim {
namespace {

std::string Short(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

std::string UnknownParameter(const std::string& name,
                             const std::vector<ScenarioParameter>& parameters) {
  std::string text = "the scenario has no parameter \"" + name + "\"; it has ";
  const char* separator = "";
  for (const ScenarioParameter& parameter : parameters) {
    text.append(separator).append(parameter.name);
    separator = ", ";
  }
  return text;
}

std::string Listed(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list.append(list.empty() ? "" : ", ").append(word);
  return list;
}

/// The value as it is kept: checked, a number without suffix.
std::string CheckedValue(const ScenarioParameter& parameter, const std::string& text) {
  const std::string is = parameter.name + " is \"" + text + "\"; accepted: ";
  if (!parameter.choices.empty()) {
    const auto& known = parameter.choices;
    if (std::find(known.begin(), known.end(), text) != known.end()) return text;
    throw ScenarioError(is + Listed(known));
  }
  const double value = ParseNumber(text, parameter.of_bytes);
  if (!(value >= parameter.minimum && value <= parameter.maximum) ||
      (parameter.whole && value != std::floor(value))) {
    throw ScenarioError(is + (parameter.whole ? "a whole number from " : "a number from ") +
                        Short(parameter.minimum) + " to " + Short(parameter.maximum));
  }
  return PlainNumber(value);
}

}  // namespace

ScenarioParameter OneOf(std::string name, std::string fallback, std::vector<std::string> choices,
                        const std::string& meaning) {
  std::string text = Listed(choices);
  if (const size_t comma = text.rfind(", "); comma != std::string::npos) {
    text.replace(comma, 2, " or ");
  }
  return {std::move(name), std::move(fallback), text + (meaning.empty() ? "" : ": " + meaning),
          std::move(choices)};
}

ScenarioParameter Whole(std::string name, uint64_t fallback, uint64_t minimum, uint64_t maximum,
                        std::string meaning) {
  return {std::move(name), std::to_string(fallback),     std::move(meaning),
          /*choices=*/{},  static_cast<double>(minimum), static_cast<double>(maximum),
          /*whole=*/true};
}

ScenarioParameter Bytes(std::string name, uint64_t fallback, uint64_t minimum, uint64_t maximum,
                        std::string meaning) {
  ScenarioParameter out = Whole(std::move(name), fallback, minimum, maximum, std::move(meaning));
  out.of_bytes = true;
  return out;
}

ScenarioParameter Real(std::string name, std::string fallback, double minimum, double maximum,
                       std::string meaning) {
  return {std::move(name), std::move(fallback), std::move(meaning), /*choices=*/{}, minimum,
          maximum,         /*whole=*/false};
}

ScenarioArguments::ScenarioArguments(const std::vector<ScenarioParameter>& parameters,
                                     const std::map<std::string, std::string>& given) {
  for (const ScenarioParameter& parameter : parameters)
    values_[parameter.name] = parameter.fallback;
  for (const auto& [name, value] : given) {
    const auto found = values_.find(name);
    if (found == values_.end()) {
      throw ScenarioError(UnknownParameter(name, parameters));
    }
    found->second = value;
  }
  for (const ScenarioParameter& parameter : parameters) {
    std::string& value = values_.at(parameter.name);
    value = CheckedValue(parameter, value);
  }
}

const std::string& ScenarioArguments::Text(const std::string& name) const {
  return values_.at(name);
}

double ScenarioArguments::Number(const std::string& name) const {
  return ParseNumber(Text(name), false);
}

uint64_t ScenarioArguments::Count(const std::string& name) const {
  return static_cast<uint64_t>(Number(name));
}

double ScenarioResult::Metric(const std::string& name) const {
  for (const auto& [known, value] : metrics) {
    if (known == name) return value;
  }
  throw std::out_of_range("no metric " + name);
}

const std::string& ScenarioResult::Word(const std::string& name) const {
  for (const auto& [known, word] : words) {
    if (known == name) return word;
  }
  throw std::out_of_range("no metric " + name);
}

std::string MetricUnit(const std::string& name) {
  static constexpr std::pair<std::string_view, const char*> kUnits[] = {
      {"_MB_per_s", "MB/s"},
      {"_MB_per_cpu_s", "MB/CPU-s"},
      {"_us", "us"},
      {"_us_per_message", "us"},
      {"us_per_message", "us"},
      {"_utilisation", "share of time"},
      {"bytes_verified", "B"},
      {"bytes", "B"}};
  for (const auto& [ending, unit] : kUnits) {
    if (name.ends_with(ending)) return unit;
  }
  return "";
}

const ScenarioParameter* FindParameter(const Scenario& scenario, const std::string& name) {
  const auto found = std::find_if(scenario.parameters.begin(), scenario.parameters.end(),
                                  [&](const auto& one) { return one.name == name; });
  return found == scenario.parameters.end() ? nullptr : &*found;
}

const MetricSpec* FindMetric(const Scenario& scenario, const std::string& name) {
  const auto found = std::find_if(scenario.metrics.begin(), scenario.metrics.end(),
                                  [&](const auto& one) { return one.name == name; });
  return found == scenario.metrics.end() ? nullptr : &*found;
}

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> scenarios = {
      PingScenario(),      TtcpScenario(),     StagesScenario(),   MessageScenario(),
      NbdScenario(),       IncastScenario(),   AllToAllScenario(), MixedScenario(),
      RdmaWriteScenario(), RdmaReadScenario(), RdmaSendScenario()};
  return scenarios;
}

const Scenario& FindScenario(std::string_view name) {
  std::string known;
  for (const Scenario& scenario : Scenarios()) {
    if (scenario.name == name) return scenario;
    known.append(known.empty() ? "" : ", ").append(scenario.name);
  }
  throw ScenarioError("there is no scenario \"" + std::string(name) + "\"; there are " + known);
}

ScenarioResult RunScenario(const std::string& name, const Profile& profile,
                           const std::map<std::string, std::string>& arguments) {
  const Scenario& scenario = FindScenario(name);
  profile.RequireComplete();
  try {
    ScenarioResult result =
        scenario.run(profile, ScenarioArguments(scenario.parameters, arguments));
    result.interrupted = StopRequested();
    return result;
  } catch (const std::invalid_argument& error) {  // an impossible World
    throw ScenarioError(error.what());
  }
}

ScenarioParameter TopologyParameter() {
  return OneOf("topology", "switch", {"cable", "pairs", "switch", "fat-tree"});
}

ScenarioParameter SeedParameter() {
  return Whole("seed", 1, 0, uint64_t{1} << 53, "of everything random");
}

std::vector<ScenarioParameter> WithCommonParameters(std::vector<ScenarioParameter> own) {
  own.push_back(TopologyParameter());
  own.push_back(
      Real("loss", "0", 0, 0.9,
           "probability that a frame is lost; the delta modern-tcp has a TCP that is made for it"));
  own.push_back(SeedParameter());
  return own;
}

}  // namespace qpip::sim
