// Scenarios: what can be simulated by name (`qpip-sim run NAME`), with parameters and metrics.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/ns3/model/profile.h"

namespace qpip::sim {

/// A bad name or value; the message says what is accepted.
class ScenarioError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A parameter of a scenario, beside those of the profile.
struct ScenarioParameter {
  std::string name;
  std::string fallback;  ///< value when not given
  std::string meaning;   ///< one line, with the unit
};

/// The values of one run.
class ScenarioArguments {
 public:
  /// Throws ScenarioError for a name that `parameters` lacks.
  ScenarioArguments(const std::vector<ScenarioParameter>& parameters,
                    const std::map<std::string, std::string>& given);

  const std::string& Text(const std::string& name) const;
  /// The value, which must be one of those. Throws ScenarioError, naming them.
  const std::string& Choice(const std::string& name, const std::vector<std::string>& known) const;
  /// Throw ScenarioError when the value is no number in the range.
  double Number(const std::string& name, double minimum, double maximum) const;
  uint64_t Count(const std::string& name, uint64_t minimum, uint64_t maximum) const;

  const std::map<std::string, std::string>& values() const { return values_; }

 private:
  std::map<std::string, std::string> values_;
};

/// What a run found. Metrics are flat, so that they can be the columns of a table; names end in
/// their unit. Everything is a function of profile, arguments and seed alone.
struct ScenarioResult {
  std::vector<std::pair<std::string, double>> metrics;
  nlohmann::json details = nlohmann::json::object();

  void Add(const std::string& name, double value) { metrics.emplace_back(name, value); }
  double Metric(const std::string& name) const;  ///< throws std::out_of_range
};

/// One scenario.
struct Scenario {
  std::string name;
  std::string summary;
  std::vector<ScenarioParameter> parameters;
  ScenarioResult (*run)(const Profile& profile, const ScenarioArguments& arguments) = nullptr;
};

/// All of them, in the order of `qpip-sim list scenarios`.
const std::vector<Scenario>& Scenarios();
/// Throws ScenarioError, naming those there are.
const Scenario& FindScenario(const std::string& name);
/// Runs one. Throws ScenarioError, ProfileError, or qpip::Error when a program in it fails.
ScenarioResult RunScenario(const std::string& name, const Profile& profile,
                           const std::map<std::string, std::string>& arguments);

/// Parameters that most scenarios have: topology, loss, seed.
std::vector<ScenarioParameter> WithCommonParameters(std::vector<ScenarioParameter> own);

}  // namespace qpip::sim
