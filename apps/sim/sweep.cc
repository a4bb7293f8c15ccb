#include "apps/sim/sweep.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "apps/common/command_line.h"
#include "apps/common/json_output.h"
#include "apps/common/statistics.h"
#include "apps/sim/children.h"
#include "apps/sim/output_files.h"
#include "apps/sim/study.h"
#include "sim/ns3/model/nic_model.h"

namespace qpip::apps {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxPoints = 1000000;

nlohmann::json PlanJson(const SweepPlan& plan) {
  nlohmann::json axes = nlohmann::json::array();
  for (const Axis& axis : plan.axes) axes.push_back({{"name", axis.name}, {"values", axis.values}});
  return {{"scenario", plan.scenario},
          {"profile", plan.profile},
          {"set", plan.settings},
          {"arguments", plan.arguments},
          {"axes", axes}};
}

fs::path PointFile(const std::string& directory, uint64_t point) {
  char name[32];
  std::snprintf(name, sizeof(name), "%06llu.json", static_cast<unsigned long long>(point));
  return fs::path(directory) / "points" / name;
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
    const bool of_scenario = std::any_of(
        scenario.parameters.begin(), scenario.parameters.end(),
        [&](const sim::ScenarioParameter& parameter) { return parameter.name == name; });
    if (of_scenario) {
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

/// In the child process: runs a point and leaves its result. Returns the exit status.
int RunPoint(const SweepPlan& plan, const std::string& directory, uint64_t point) {
  try {
    const Point made = MakePoint(plan, point);
    const sim::ScenarioResult result =
        sim::RunScenario(plan.scenario, made.profile, made.arguments);
    WriteWhole(PointFile(directory, point),
               JsonText(ResultJson(plan.scenario, made.profile, made.arguments, result), 1) + "\n");
    return kExitOk;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "qpip-sim sweep: point %llu: %s\n", static_cast<unsigned long long>(point),
                 OneLine(error.what()).c_str());
    return kExitFailed;
  }
}

/// A lock on a directory, of this process; nobody else's runs in it.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& directory)
      : fd_(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0 || flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
    close(fd_);
    throw Failure("another sweep is running in " + directory +
                  ": wait until it has ended, or give another directory with --out");
  }
  ~DirectoryLock() { Release(); }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  /// In a child process: the lock is its parent's, and must not outlive it.
  void Release() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

/// Makes the directory the sweep's own, or finds that it is.
void ClaimDirectory(const SweepPlan& plan, const std::string& directory) {
  const fs::path plan_file = fs::path(directory) / "plan.json";
  const std::string text = JsonText(PlanJson(plan), 1) + "\n";
  std::ifstream existing(plan_file);
  if (!existing) {
    WriteWhole(plan_file, text);
    return;
  }
  const std::string found((std::istreambuf_iterator<char>(existing)),
                          std::istreambuf_iterator<char>());
  if (found != text) {
    throw UsageError(directory +
                     " holds another sweep (its plan.json says which): give another "
                     "directory with --out, or remove this one");
  }
}

void RequireEachOnce(const Axis& axis, const std::string& text) {
  std::vector<std::string> values = axis.values;
  std::sort(values.begin(), values.end());
  const auto twice = std::adjacent_find(values.begin(), values.end());
  if (twice == values.end()) return;
  throw UsageError("--vary \"" + text + "\": the value " + *twice + " is there twice");
}

}  // namespace

Axis ParseAxis(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw UsageError("--vary \"" + text + "\": give name=1,2,4 or name=first:last:count");
  }
  Axis axis{text.substr(0, equals), {}};
  const std::string values = text.substr(equals + 1);
  double first = 0, last = 0;
  unsigned count = 0;
  char rest = 0;
  if (axis.name != "profile" &&
      std::sscanf(values.c_str(), "%lf:%lf:%u%c", &first, &last, &count, &rest) == 3) {
    if (count < 2 || count > 10000) {
      throw UsageError("--vary \"" + text + "\": the count must be from 2 to 10000");
    }
    for (unsigned i = 0; i < count; ++i) {
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
    axis.values.push_back(values.substr(at, comma - at));
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

void RunSweep(const SweepPlan& plan, const std::string& directory, uint32_t jobs) {
  RequireEachNameOnce(plan);
  const uint64_t count = PointCount(plan);
  try {
    // Every name and value is looked at before the first run.
    for (uint64_t point = 0; point < count; ++point) MakePoint(plan, point);
  } catch (const sim::ProfileError& error) {
    throw UsageError(error.what());
  } catch (const sim::ScenarioError& error) {
    throw UsageError(error.what());
  }
  MakeDirectory(fs::path(directory) / "points");
  DirectoryLock lock(directory);
  ClaimDirectory(plan, directory);
  Progress progress("points", count);
  Children children;
  uint64_t done = 0;
  bool failed = false;
  const auto reap = [&] {
    failed |= !children.WaitForOne().fine;
    progress.Update(++done);
  };
  try {
    for (uint64_t point = 0; point < count && !failed; ++point) {
      if (fs::exists(PointFile(directory, point))) {
        ++done;
        continue;
      }
      while (children.size() >= jobs) reap();
      children.Start(point, [&](int) {
        lock.Release();
        return RunPoint(plan, directory, point);
      });
    }
    while (children.size() != 0) reap();
  } catch (const Failure& failure) {
    // Those too that ended as the signal came.
    uint64_t kept = 0;
    for (uint64_t point = 0; point < count; ++point) {
      kept += fs::exists(PointFile(directory, point)) ? 1 : 0;
    }
    throw Failure(std::string(failure.what()) + ": the results of " + std::to_string(kept) +
                  " of " + std::to_string(count) + " points are kept: the same command goes on");
  }
  if (failed) throw Failure("a point of the sweep failed; the others' results are kept");
}

nlohmann::json CollectSweep(const SweepPlan& plan, const std::string& directory) {
  nlohmann::json points = nlohmann::json::array();
  const uint64_t count = PointCount(plan);
  for (uint64_t point = 0; point < count; ++point) {
    std::ifstream in(PointFile(directory, point));
    const nlohmann::json result = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (result.is_discarded()) {
      throw Failure(PointFile(directory, point).string() +
                    " is missing or damaged: remove it and run the sweep again");
    }
    nlohmann::json axes = nlohmann::json::object();
    const std::vector<std::string> values = PointValues(plan, point);
    for (size_t i = 0; i < values.size(); ++i) axes[plan.axes[i].name] = values[i];
    points.push_back({{"axes", axes}, {"metrics", result["metrics"]}});
  }
  return points;
}

std::string SweepCsv(const SweepPlan& plan, const nlohmann::json& points) {
  std::vector<std::string> columns;
  for (const Axis& axis : plan.axes) columns.push_back(axis.name);
  std::set<std::string> metrics;  // a point has some, another others
  nlohmann::json rows = nlohmann::json::array();
  for (const nlohmann::json& point : points) {
    nlohmann::json row = point["metrics"];
    for (const auto& [name, value] : row.items()) metrics.insert(name);
    for (const auto& [name, value] : point["axes"].items()) row[name] = value;
    rows.push_back(std::move(row));
  }
  columns.insert(columns.end(), metrics.begin(), metrics.end());
  return Csv(rows, columns);
}

}  // namespace qpip::apps
