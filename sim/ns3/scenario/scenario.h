// Scenarios: what can be simulated by name (`qpip-sim run NAME`), with parameters and metrics.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
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
  std::string fallback;                   ///< value when not given
  std::string meaning;                    ///< one line, with the unit
  std::vector<std::string> choices = {};  ///< the words accepted; empty: a number
  double minimum = 0;                     ///< least number accepted
  double maximum = 0;                     ///< greatest number accepted
  bool whole = true;                      ///< no fractions
  bool of_bytes = false;                  ///< a size: K, M, G are powers of 1024
};
/// A word: one of the choices, which stand before the meaning.
ScenarioParameter OneOf(std::string name, std::string fallback, std::vector<std::string> choices,
                        const std::string& meaning = "");
/// A whole number.
ScenarioParameter Whole(std::string name, uint64_t fallback, uint64_t minimum, uint64_t maximum,
                        std::string meaning);
/// A whole number of bytes: 64K are 65536.
ScenarioParameter Bytes(std::string name, uint64_t fallback, uint64_t minimum, uint64_t maximum,
                        std::string meaning);
/// Any number.
ScenarioParameter Real(std::string name, std::string fallback, double minimum, double maximum,
                       std::string meaning);

/// The values of one run.
class ScenarioArguments {
 public:
  /// Throws ScenarioError for a name that `parameters` lacks, and for a value that its parameter
  /// does not accept.
  ScenarioArguments(const std::vector<ScenarioParameter>& parameters,
                    const std::map<std::string, std::string>& given);

  const std::string& Text(const std::string& name) const;
  /// Of a parameter that is a number.
  double Number(const std::string& name) const;
  /// Of a parameter that is a whole number.
  uint64_t Count(const std::string& name) const;

  /// All of them, defaults included; numbers without suffix.
  const std::map<std::string, std::string>& values() const { return values_; }

 private:
  std::map<std::string, std::string> values_;
};

/// A metric that runs of a scenario may have: it may depend on the arguments which.
struct MetricSpec {
  std::string name;
  std::string meaning;   ///< one line
  bool is_text = false;  ///< a word rather than a number
};
/// What the end of a metric's name says: "us", "MB/s", "share of time", "MB/CPU-s" or "".
std::string MetricUnit(const std::string& name);

/// What a run found. Metrics are flat, so that they can be the columns of a table; names end in
/// their unit. Everything is a function of profile, arguments and seed alone.
struct ScenarioResult {
  std::vector<std::pair<std::string, double>> metrics;
  std::vector<std::pair<std::string, std::string>> words;  ///< metrics that are no numbers
  nlohmann::json details = nlohmann::json::object();
  bool interrupted = false;      ///< of what was measured until then
  uint64_t window_start_ns = 0;  ///< what was measured, in virtual time; both 0: all of the run
  uint64_t window_end_ns = 0;

  void Add(const std::string& name, double value) { metrics.emplace_back(name, value); }
  void Say(const std::string& name, std::string word) { words.emplace_back(name, std::move(word)); }
  double Metric(const std::string& name) const;            ///< throws std::out_of_range
  const std::string& Word(const std::string& name) const;  ///< throws std::out_of_range
};

/// One scenario.
struct Scenario {
  std::string name;
  std::string summary;
  std::vector<ScenarioParameter> parameters;
  std::vector<MetricSpec> metrics;
  ScenarioResult (*run)(const Profile& profile, const ScenarioArguments& arguments) = nullptr;
};

/// All of them, in the order of `qpip-sim list scenarios`.
const std::vector<Scenario>& Scenarios();
/// Throws ScenarioError, naming those there are.
const Scenario& FindScenario(std::string_view name);
/// Runs one. Throws ScenarioError, ProfileError, or qpip::Error when a program in it fails.
ScenarioResult RunScenario(const std::string& name, const Profile& profile,
                           const std::map<std::string, std::string>& arguments);

/// Parameters that most scenarios have.
ScenarioParameter TopologyParameter();
ScenarioParameter SeedParameter();
/// The parameter of that name, or nullptr.
const ScenarioParameter* FindParameter(const Scenario& scenario, const std::string& name);
/// The metric of that name, or nullptr.
const MetricSpec* FindMetric(const Scenario& scenario, const std::string& name);
/// Those two and loss, behind the scenario's own.
std::vector<ScenarioParameter> WithCommonParameters(std::vector<ScenarioParameter> own);

}  // namespace qpip::sim
