// One scenario with several seeds: which, and what their results say together.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sim/ns3/scenario/scenario.h"

namespace qpip::apps {

inline constexpr uint32_t kMaxRepeats = 10000;

/// The seeds of `count` runs: `seed` itself, then others that follow from it. Always the same, none
/// twice, each below 2^53.
std::vector<uint64_t> DerivedSeeds(uint64_t seed, uint32_t count);

/// What some values of one metric say of it.
struct Estimate {
  double mean = 0;
  double median = 0;
  double ci95_low = 0;  ///< of the mean, 95%, by Student's t; the mean itself with one value
  double ci95_high = 0;
  double min = 0;
  double max = 0;
};
/// `values` must not be empty.
Estimate Summarise(std::vector<double> values);

/// One run, as the results carry it.
struct RepeatedRun {
  uint64_t seed = 0;
  sim::ScenarioResult result;
};

/// Together: "metrics" (means), "words" (the most frequent, with how often), and, when there are
/// several, "statistics" ({metric: {median, ci95_low, ci95_high, min, max}}) and "runs" ([{seed,
/// metrics, words}]). A metric that not all runs have is of those that have it.
nlohmann::json Together(const std::vector<RepeatedRun>& runs);

/// The parts of Estimate that follow a metric's name in a table: "median", "ci95_low", ...
const std::vector<std::string>& StatisticNames();

/// What a reader of results must know.
struct Warning {
  enum class Kind : uint8_t {
    kTcpWithoutReassembly,  ///< frames were lost on a TCP that is not made for it
    kOneSeed,               ///< frames were lost at random, and there is one seed
    kWideInterval,          ///< the seeds leave much open
  };
  Kind kind;
  std::string text;  ///< a sentence
};
/// Those of one result: metrics, parameters and what else ResultJson (study.h) gives.
std::vector<Warning> Warnings(const nlohmann::json& result, uint32_t repeats);

}  // namespace qpip::apps
