// A sweep: one scenario at every combination of some parameters' values, each in its own process.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sim/ns3/model/profile.h"
#include "sim/ns3/scenario/scenario.h"

namespace qpip::apps {

/// One parameter and its values: of the scenario, of the profile, or "profile" itself.
struct Axis {
  std::string name;
  std::vector<std::string> values;
};

/// Parses "name=1,2,4" or "name=first:last:count" (evenly spaced); suffixes are worked out. Throws
/// UsageError, also for the seed, which is no axis.
Axis ParseAxis(const std::string& text, const sim::Scenario& scenario);

/// The plan of a sweep.
struct SweepPlan {
  std::string scenario;
  std::string profile;                           ///< expression
  std::vector<std::string> settings;             ///< --set, in order
  std::map<std::string, std::string> arguments;  ///< of the scenario, fixed
  std::vector<Axis> axes;
  uint32_t repeats = 1;  ///< seeds a point
};

/// The value of each axis at one point; the last axis varies fastest.
std::vector<std::string> PointValues(const SweepPlan& plan, uint64_t point);
uint64_t PointCount(const SweepPlan& plan);
/// Throws UsageError when a name is an axis and another axis, an argument or a setting.
void RequireEachNameOnce(const SweepPlan& plan);

/// Runs every point that `directory` has no result of yet, `jobs` at a time, and shows progress on
/// stderr when that is a terminal. A point's result appears whole or not at all, so an interrupted
/// sweep goes on where it was. One process a directory. A point that fails leaves what was wrong in
/// its place and is run again by the next sweep there; the others run. Throws UsageError when the
/// directory holds results of another sweep or the plan names what does not exist, which leaves the
/// directory as it was.
void RunSweep(const SweepPlan& plan, const std::string& directory, uint32_t jobs);

/// All points' results, in order: axes, metrics and what ResultJson has besides, without details;
/// or "error". Throws Failure when one is missing.
nlohmann::json CollectSweep(const SweepPlan& plan, const std::string& directory);
/// The same as comma-separated values: a column for every metric that some point has, followed by
/// its statistics when the seeds of some point differ in it; "error" is the last.
std::string SweepCsv(const SweepPlan& plan, const nlohmann::json& points);
/// How many have failed.
uint64_t CountFailed(const nlohmann::json& points);
/// The points' warnings, the first of each kind with how many points it concerns; and that results
/// of several commits are among them.
void PrintSweepWarnings(const SweepPlan& plan, const nlohmann::json& points);

}  // namespace qpip::apps
