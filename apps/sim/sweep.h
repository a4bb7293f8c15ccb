// A sweep: one scenario at every combination of some parameters' values, each in its own process.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sim/ns3/model/profile.h"
#include "sim/ns3/scenario/scenario.h"

namespace qpip::apps {

/// One parameter and its values: of the scenario, of the profile, or "profile" itself.
struct Axis {
  std::string name;
  std::vector<std::string> values;

  friend bool operator==(const Axis&, const Axis&) = default;
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
  /// Of each profile that is named, the numbers that it stood for when the sweep began: a file may
  /// be changed since, or be another one elsewhere.
  std::map<std::string, std::map<std::string, double>> profiles = {};

  friend bool operator==(const SweepPlan&, const SweepPlan&) = default;
};

/// A part of a sweep's points: every `count`-th, from the `index`-th on. By default all.
struct Shard {
  uint64_t index = 1;  ///< 1 to count
  uint64_t count = 1;

  bool Has(uint64_t point) const { return point % count == index - 1; }
  std::string Text() const;  ///< "2/7"
};
/// Parses "2/7". Throws UsageError.
Shard ParseShard(const std::string& text);

/// The value of each axis at one point; the last axis varies fastest.
std::vector<std::string> PointValues(const SweepPlan& plan, uint64_t point);
uint64_t PointCount(const SweepPlan& plan);
/// Throws UsageError when a name is an axis and another axis, an argument or a setting.
void RequireEachNameOnce(const SweepPlan& plan);

/// Runs every point of the shard that `directory` has no result of yet, `jobs` at a time, and shows
/// progress on stderr when that is a terminal. A point's result appears whole or not at all, so an
/// interrupted sweep goes on where it was. One process a directory. A point that fails leaves what
/// was wrong in its place and is run again by the next sweep there; the others run. Throws
/// UsageError when the directory holds results of another sweep or the plan names what does not
/// exist, which leaves the directory as it was.
void RunSweep(const SweepPlan& plan, const Shard& shard, const std::string& directory,
              uint32_t jobs);

}  // namespace qpip::apps
