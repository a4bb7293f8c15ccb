// Many simulations, each run once, several at a time.
//
// ns-3's simulator is global to a process, so that each simulation gets a child process. A result
// is a function of the run alone: neither their order nor the number of processes changes anything.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sim/ns3/model/profile.h"

namespace qpip::apps {

/// One run of a scenario.
struct Simulation {
  std::string scenario;
  std::string profile;                              ///< expression, see Profile::Load
  std::vector<std::pair<std::string, double>> set;  ///< parameters with another value
  std::map<std::string, std::string> arguments;     ///< of the scenario

  /// The command that repeats it; also its identity.
  std::string Command() const;
  /// The profile with the values set. Throws ProfileError.
  sim::Profile LoadProfile() const;
};

/// What came of one.
struct SimulationOutcome {
  std::map<std::string, double> metrics;
  std::map<std::string, std::string> words;  ///< metrics that are no numbers
  nlohmann::json details;
  std::string error;  ///< empty: it ran
};

/// A book of simulations: note what is wanted, run everything, read.
class Simulations {
 public:
  /// Notes one; twice the same is one.
  void Want(const Simulation& simulation);
  /// Runs what was not run yet, `processes` at a time (0: one a processor).
  void RunAll(unsigned processes);
  /// Of one that ran. Throws Failure with its command when it failed.
  const SimulationOutcome& Get(const Simulation& simulation) const;
  /// A metric of one that ran. Throws Failure when it failed or has no such metric.
  double Metric(const Simulation& simulation, const std::string& metric) const;
  /// Whether it ran without error.
  bool Ran(const Simulation& simulation) const;
  size_t size() const { return outcomes_.size(); }

 private:
  std::map<std::string, SimulationOutcome> outcomes_;  ///< by command
  std::vector<Simulation> waiting_;
};

}  // namespace qpip::apps
