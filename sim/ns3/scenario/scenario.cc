#include "sim/ns3/scenario/scenario.h"

#include <charconv>

#include "sim/ns3/scenario/scenarios.h"

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

}  // namespace

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
}

const std::string& ScenarioArguments::Text(const std::string& name) const {
  return values_.at(name);
}

const std::string& ScenarioArguments::Choice(const std::string& name,
                                             const std::vector<std::string>& known) const {
  const std::string& text = Text(name);
  std::string list;
  for (const std::string& one : known) {
    if (one == text) return text;
    list += (list.empty() ? "" : ", ") + one;
  }
  throw ScenarioError(name + " is \"" + text + "\"; accepted: " + list);
}

double ScenarioArguments::Number(const std::string& name, double minimum, double maximum) const {
  const std::string& text = Text(name);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= minimum) ||
      !(value <= maximum)) {
    throw ScenarioError(name + " is \"" + text + "\"; accepted: a number from " + Short(minimum) +
                        " to " + Short(maximum));
  }
  return value;
}

uint64_t ScenarioArguments::Count(const std::string& name, uint64_t minimum,
                                  uint64_t maximum) const {
  const double value = Number(name, static_cast<double>(minimum), static_cast<double>(maximum));
  if (value != static_cast<double>(static_cast<uint64_t>(value))) {
    throw ScenarioError(name + " is \"" + Text(name) + "\"; accepted: a whole number");
  }
  return static_cast<uint64_t>(value);
}

double ScenarioResult::Metric(const std::string& name) const {
  for (const auto& [known, value] : metrics) {
    if (known == name) return value;
  }
  throw std::out_of_range("no metric " + name);
}

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> scenarios = {
      PingScenario(), TtcpScenario(),   StagesScenario(),   MessageScenario(),
      NbdScenario(),  IncastScenario(), AllToAllScenario(), MixedScenario()};
  return scenarios;
}

const Scenario& FindScenario(const std::string& name) {
  std::string known;
  for (const Scenario& scenario : Scenarios()) {
    if (scenario.name == name) return scenario;
    known.append(known.empty() ? "" : ", ").append(scenario.name);
  }
  throw ScenarioError("there is no scenario \"" + name + "\"; there are " + known);
}

ScenarioResult RunScenario(const std::string& name, const Profile& profile,
                           const std::map<std::string, std::string>& arguments) {
  const Scenario& scenario = FindScenario(name);
  profile.RequireComplete();
  try {
    return scenario.run(profile, ScenarioArguments(scenario.parameters, arguments));
  } catch (const std::invalid_argument& error) {  // an impossible World
    throw ScenarioError(error.what());
  }
}

std::vector<ScenarioParameter> WithCommonParameters(std::vector<ScenarioParameter> own) {
  own.push_back({"topology", "switch", "cable, switch or fat-tree"});
  own.push_back({"loss", "0", "probability that a frame is lost"});
  own.push_back({"seed", "1", "of everything random"});
  return own;
}

}  // namespace qpip::sim
