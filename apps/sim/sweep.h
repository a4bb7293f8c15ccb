// A sweep: one scenario at every combination of some parameters' values, each in its own process.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sim/ns3/model/profile.h"

namespace qpip::apps {

/// One parameter and its values: of the scenario, of the profile, or "profile" itself.
struct Axis {
  std::string name;
  std::vector<std::string> values;
};

/// Parses "name=1,2,4" or "name=first:last:count" (evenly spaced). Throws UsageError.
Axis ParseAxis(const std::string& text);

/// The plan of a sweep.
struct SweepPlan {
  std::string scenario;
  std::string profile;                           ///< expression
  std::vector<std::string> settings;             ///< --set, in order
  std::map<std::string, std::string> arguments;  ///< of the scenario, fixed
  std::vector<Axis> axes;
};

/// The value of each axis at one point; the last axis varies fastest.
std::vector<std::string> PointValues(const SweepPlan& plan, uint64_t point);
uint64_t PointCount(const SweepPlan& plan);
/// Throws UsageError when a name is an axis and another axis, an argument or a setting.
void RequireEachNameOnce(const SweepPlan& plan);

/// Runs every point that `directory` has no result of yet, `jobs` at a time, and shows progress on
/// stderr when that is a terminal. A point's result appears whole or not at all, so an interrupted
/// sweep goes on where it was. One process a directory. Throws Failure when a point fails,
/// UsageError when the directory holds another sweep or the plan names what does not exist.
void RunSweep(const SweepPlan& plan, const std::string& directory, uint32_t jobs);

/// All points' results, in order: axes and metrics of each. Throws Failure when one is missing.
nlohmann::json CollectSweep(const SweepPlan& plan, const std::string& directory);
/// The same as comma-separated values: a column for every metric that some point has.
std::string SweepCsv(const SweepPlan& plan, const nlohmann::json& points);

}  // namespace qpip::apps
