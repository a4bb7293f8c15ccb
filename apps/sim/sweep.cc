#include "apps/sim/sweep.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include "apps/common/command_line.h"
#include "apps/common/json_output.h"
#include "apps/common/statistics.h"
#include "apps/sim/children.h"
#include "apps/sim/output_files.h"
#include "apps/sim/repeats.h"
#include "apps/sim/study.h"
#include "apps/sim/sweep_directory.h"
#include "sim/ns3/model/nic_model.h"
#include "sim/ns3/model/number.h"
#include "sim/ns3/model/parameter.h"

namespace qpip::apps {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxPoints = 1000000;

void RecordFailure(const std::string& directory, uint64_t point, const std::string& what) {
  WriteWhole(FailedFile(directory, point), JsonText({{"error", what}}, 1) + "\n");
}

/// What one point runs: profile and arguments with the axes' values put in.
struct Point {
  sim::Profile profile;
  std::map<std::string, std::string> arguments;
};

Point MakePoint(const SweepPlan& plan, uint64_t point) {
  const std::vector<std::string> values = PointValues(plan, point);
  std::string expression = plan.profile;
  for (size_t i = 0; i < values.size(); ++i) {
    if (plan.axes[i].name == "profile") expression = values[i];
  }
  const sim::Scenario& scenario = sim::FindScenario(plan.scenario);
  Point out{sim::Profile::Load(expression), plan.arguments};
  for (const std::string& setting : plan.settings) out.profile.Set(setting);
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string& name = plan.axes[i].name;
    if (name == "profile") continue;
    if (sim::FindParameter(scenario, name) != nullptr) {
      out.arguments[name] = values[i];
    } else {
      out.profile.Set(name + "=" + values[i]);
    }
  }
  out.profile.RequireComplete();
  const sim::NicModel model(out.profile);                                    // is possible
  const sim::ScenarioArguments checked(scenario.parameters, out.arguments);  // so are these
  return out;
}

/// What SweepPlan::profiles is to be.
std::map<std::string, std::map<std::string, double>> ProfilesOf(const SweepPlan& plan) {
  std::map<std::string, std::map<std::string, double>> out;
  const auto add = [&](const std::string& expression) {
    const sim::Profile profile = sim::Profile::Load(expression);
    for (const auto& [name, value] : profile.values()) {
      out[expression][name] = value.value;
    }
  };
  bool varied = false;
  for (const Axis& axis : plan.axes) {
    if (axis.name != "profile") continue;
    varied = true;
    for (const std::string& expression : axis.values) add(expression);
  }
  if (!varied) add(plan.profile);
  return out;
}

std::string Seed(uint64_t first, size_t index) {
  return "seed " + std::to_string(DerivedSeeds(first, static_cast<uint32_t>(index + 1)).back());
}

/// In the child process: runs a point and leaves its result. Returns the exit status.
int RunPoint(const SweepPlan& plan, const std::string& directory, uint64_t point) {
  std::vector<RepeatedRun> runs;
  try {
    const Point made = MakePoint(plan, point);
    const uint64_t seed = GetSeed(plan.scenario, made.arguments);
    try {
      for (const uint64_t one : DerivedSeeds(seed, plan.repeats)) {
        runs.push_back({one, sim::RunScenario(plan.scenario, made.profile,
                                              WithSeed(made.arguments, plan.scenario, one))});
      }
    } catch (const std::exception& error) {
      const std::string which = plan.repeats == 1 ? "" : Seed(seed, runs.size()) + ": ";
      RecordFailure(directory, point, OneLine(which + error.what()));
      return kExitFailed;
    }
    WriteWhole(PointFile(directory, point),
               JsonText(ResultJson(plan.scenario, made.profile, made.arguments, runs), 1) + "\n");
    std::error_code gone;
    fs::remove(FailedFile(directory, point), gone);
    return kExitOk;
  } catch (const std::exception& error) {  // of the disk
    PrintErrorLine("qpip-sim", error.what());
    return kExitFailed;
  }
}

void RequireEachOnce(const Axis& axis, const std::string& text) {
  std::vector<std::string> values = axis.values;
  std::sort(values.begin(), values.end());
  const auto twice = std::adjacent_find(values.begin(), values.end());
  if (twice == values.end()) return;
  throw UsageError("--vary \"" + text + "\": the value " + *twice + " is there twice");
}

/// Sizes have suffixes of their own (sim/ns3/model/number.h).
bool IsOfBytes(const sim::Scenario& scenario, const std::string& name) {
  if (const auto* parameter = sim::FindParameter(scenario, name)) return parameter->of_bytes;
  const sim::ParameterSpec* spec = sim::FindParameter(name);
  return spec != nullptr && spec->unit == "B";
}

/// Of first:last:count. False when the text is no such range.
bool ParseRange(const std::string& text, bool of_bytes, double* first, double* last,
                double* count) {
  const size_t colon = text.find(':');
  const size_t second = text.find(':', colon + 1);
  if (colon == std::string::npos || second == std::string::npos) return false;
  *first = sim::ParseNumber(text.substr(0, colon), of_bytes);
  *last = sim::ParseNumber(text.substr(colon + 1, second - colon - 1), of_bytes);
  *count = sim::ParseNumber(text.substr(second + 1), false);
  return !std::isnan(*first) && !std::isnan(*last) && !std::isnan(*count);
}

/// A number with a suffix as one without; everything else as it is.
std::string PlainValue(const std::string& text, bool of_bytes) {
  const double value = sim::ParseNumber(text, of_bytes);
  return std::isfinite(value) && std::isalpha(static_cast<unsigned char>(text.back())) != 0
             ? sim::PlainNumber(value)
             : text;
}

/// One of the numbers of "2/7": digits only.
uint64_t ParseShardNumber(const std::string& text, const std::string& all) {
  if (!text.empty() && text.size() <= 7 &&
      text.find_first_not_of("0123456789") == std::string::npos) {
    return std::stoull(text);
  }
  throw UsageError("--shard \"" + all + "\": give I/N, as 2/7: the second of seven");
}

}  // namespace

std::string Shard::Text() const { return std::to_string(index) + "/" + std::to_string(count); }

Shard ParseShard(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) return {ParseShardNumber("", text), 1};
  const Shard shard{ParseShardNumber(text.substr(0, slash), text),
                    ParseShardNumber(text.substr(slash + 1), text)};
  if (shard.count >= 1 && shard.count <= kMaxPoints && shard.index >= 1 &&
      shard.index <= shard.count) {
    return shard;
  }
  throw UsageError("--shard \"" + text + "\": I is from 1 to N, N from 1 to " +
                   std::to_string(kMaxPoints));
}

Axis ParseAxis(const std::string& text, const sim::Scenario& scenario) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw UsageError("--vary \"" + text + "\": give name=1,2,4 or name=first:last:count");
  }
  Axis axis{text.substr(0, equals), {}};
  if (axis.name == "seed") {
    throw UsageError("--vary \"" + text +
                     "\": the seed is no axis: give --repeat N for means and intervals over seeds");
  }
  const std::string values = text.substr(equals + 1);
  const bool of_bytes = IsOfBytes(scenario, axis.name);
  double first = 0, last = 0, count = 0;
  if (axis.name != "profile" && ParseRange(values, of_bytes, &first, &last, &count)) {
    if (!(count >= 2 && count <= 10000) || count != std::floor(count)) {
      throw UsageError("--vary \"" + text + "\": the count must be from 2 to 10000");
    }
    for (double i = 0; i < count; ++i) {
      char value[32];
      std::snprintf(value, sizeof(value), "%.10g", first + (last - first) * i / (count - 1));
      axis.values.push_back(value);
    }
    RequireEachOnce(axis, text);
    return axis;
  }
  for (size_t at = 0; at <= values.size();) {
    const size_t comma = std::min(values.find(',', at), values.size());
    if (comma == at) throw UsageError("--vary \"" + text + "\": a value is empty");
    const std::string value = values.substr(at, comma - at);
    axis.values.push_back(axis.name == "profile" ? value : PlainValue(value, of_bytes));
    at = comma + 1;
  }
  RequireEachOnce(axis, text);
  return axis;
}

void RequireEachNameOnce(const SweepPlan& plan) {
  RequireSetOnce(plan.settings);
  std::set<std::string> names;
  for (const auto& [name, value] : plan.arguments) names.insert(name);
  for (const std::string& setting : plan.settings)
    names.insert(setting.substr(0, setting.find('=')));
  for (const Axis& axis : plan.axes) {
    if (names.insert(axis.name).second) continue;
    throw UsageError("--vary \"" + axis.name + "\": " + axis.name +
                     " is given twice: give it once, as an axis or a fixed value");
  }
}

uint64_t PointCount(const SweepPlan& plan) {
  uint64_t count = 1;
  for (const Axis& axis : plan.axes) {
    count *= axis.values.size();
    if (count > kMaxPoints) throw UsageError("the sweep has over a million points");
  }
  return count;
}

std::vector<std::string> PointValues(const SweepPlan& plan, uint64_t point) {
  std::vector<std::string> values(plan.axes.size());
  for (size_t i = plan.axes.size(); i-- > 0;) {
    const Axis& axis = plan.axes[i];
    values[i] = axis.values[point % axis.values.size()];
    point /= axis.values.size();
  }
  return values;
}

void RunSweep(const SweepPlan& plan, const Shard& shard, const std::string& directory,
              uint32_t jobs) {
  RequireEachNameOnce(plan);
  const uint64_t count = PointCount(plan);
  SweepPlan claimed = plan;
  try {
    // Every name and value is looked at before the first run.
    for (uint64_t point = 0; point < count; ++point) MakePoint(plan, point);
    claimed.profiles = ProfilesOf(plan);
  } catch (const sim::ProfileError& error) {
    throw UsageError(error.what());
  } catch (const sim::ScenarioError& error) {
    throw UsageError(error.what());
  }
  MakeDirectory(fs::path(directory) / "points");
  DirectoryLock lock(directory);
  ClaimDirectory(claimed, shard, directory);
  std::vector<uint64_t> points;
  for (uint64_t point = 0; point < count; ++point) {
    if (shard.Has(point)) points.push_back(point);
  }
  const auto is_done = [&](uint64_t point) { return fs::exists(PointFile(directory, point)); };
  auto done = static_cast<uint64_t>(std::count_if(points.begin(), points.end(), is_done));
  Progress progress("points", points.size(), done);
  Children children;
  const auto reap = [&] {
    const EndedChild ended = children.WaitForOne();
    if (!ended.fine && !is_done(ended.number) && !fs::exists(FailedFile(directory, ended.number))) {
      RecordFailure(directory, ended.number, "the simulation's process died");
    }
    progress.Update(++done);
  };
  try {
    for (const uint64_t point : points) {
      if (is_done(point)) continue;
      while (children.size() >= jobs) reap();
      children.Start(point, [&](int) {
        lock.Release();
        return RunPoint(plan, directory, point);
      });
    }
    while (children.size() != 0) reap();
  } catch (const Failure& failure) {
    // Those too that ended as the signal came.
    const auto kept = std::count_if(points.begin(), points.end(), is_done);
    throw Failure(std::string(failure.what()) + ": the results of " + std::to_string(kept) +
                  " of " + std::to_string(points.size()) +
                  " points are kept: the same command goes on");
  }
}

}  // namespace qpip::apps
