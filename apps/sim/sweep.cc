#include "apps/sim/sweep.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
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
#include "apps/sim/repeats.h"
#include "apps/sim/study.h"
#include "sim/ns3/model/nic_model.h"
#include "sim/ns3/model/number.h"
#include "sim/ns3/model/parameter.h"

namespace qpip::apps {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxPoints = 1000000;

nlohmann::json PlanJson(const SweepPlan& plan) {
  nlohmann::json axes = nlohmann::json::array();
  for (const Axis& axis : plan.axes) axes.push_back({{"name", axis.name}, {"values", axis.values}});
  return {{"scenario", plan.scenario},   {"profile", plan.profile}, {"set", plan.settings},
          {"arguments", plan.arguments}, {"repeat", plan.repeats},  {"axes", axes}};
}

fs::path PointFile(const std::string& directory, uint64_t point) {
  char name[32];
  std::snprintf(name, sizeof(name), "%06llu.json", static_cast<unsigned long long>(point));
  return fs::path(directory) / "points" / name;
}

/// In the place of a result: why there is none.
fs::path FailedFile(const std::string& directory, uint64_t point) {
  return PointFile(directory, point).replace_extension(".failed");
}

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

/// Whether some point of any sweep has a result in the directory.
bool HasResults(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fs::path(directory) / "points", error)) {
    if (entry.path().extension() == ".json") return true;
  }
  return false;
}

/// Makes the directory the sweep's own, or finds that it is. A plan that has brought nothing yet
/// makes room for another.
void ClaimDirectory(const SweepPlan& plan, const std::string& directory) {
  const fs::path plan_file = fs::path(directory) / "plan.json";
  const std::string text = JsonText(PlanJson(plan), 1) + "\n";
  std::ifstream existing(plan_file);
  if (!existing || !HasResults(directory)) {
    for (const auto& entry : fs::directory_iterator(fs::path(directory) / "points")) {
      if (entry.path().extension() == ".failed") fs::remove(entry.path());
    }
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

}  // namespace

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
  const auto reap = [&] {
    const EndedChild ended = children.WaitForOne();
    if (!ended.fine && !fs::exists(FailedFile(directory, ended.number))) {
      RecordFailure(directory, ended.number, "the simulation's process died");
    }
    progress.Update(++done);
  };
  try {
    for (uint64_t point = 0; point < count; ++point) {
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
}

nlohmann::json CollectSweep(const SweepPlan& plan, const std::string& directory) {
  nlohmann::json points = nlohmann::json::array();
  const uint64_t count = PointCount(plan);
  for (uint64_t point = 0; point < count; ++point) {
    const bool failed = fs::exists(FailedFile(directory, point));
    std::ifstream in(failed ? FailedFile(directory, point) : PointFile(directory, point));
    nlohmann::json result = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (result.is_discarded()) {
      throw Failure(PointFile(directory, point).string() +
                    " is missing or damaged: remove it and run the sweep again");
    }
    nlohmann::json axes = nlohmann::json::object();
    const std::vector<std::string> values = PointValues(plan, point);
    for (size_t i = 0; i < values.size(); ++i) axes[plan.axes[i].name] = values[i];
    result["axes"] = std::move(axes);
    // What the points' own files have for whoever wants it.
    for (const char* name : {"details", "runs", "scenario", "version"}) result.erase(name);
    points.push_back(std::move(result));
  }
  return points;
}

std::string SweepCsv(const SweepPlan& plan, const nlohmann::json& points) {
  std::vector<std::string> columns;
  for (const Axis& axis : plan.axes) columns.push_back(axis.name);
  std::set<std::string> words, metrics;  // a point has some, another others
  std::set<std::string> spread;          // that not all seeds agree on, somewhere
  nlohmann::json rows = nlohmann::json::array();
  const nlohmann::json none = nlohmann::json::object();
  const auto part = [&none](const nlohmann::json& point,
                            const char* name) -> const nlohmann::json& {
    return point.contains(name) ? point[name] : none;
  };
  for (const nlohmann::json& point : points) {
    nlohmann::json row = part(point, "metrics");
    for (const auto& [name, value] : row.items()) metrics.insert(name);
    for (const auto& [name, word] : part(point, "words").items()) {
      words.insert(name);
      row[name] = word;
    }
    for (const auto& [name, statistics] : part(point, "statistics").items()) {
      if (statistics["min"] != statistics["max"]) spread.insert(name);
      for (const auto& [which, value] : statistics.items()) row[name + "_" + which] = value;
    }
    for (const auto& [name, value] : point["axes"].items()) row[name] = value;
    if (point.contains("error")) row["error"] = point["error"];
    rows.push_back(std::move(row));
  }
  columns.insert(columns.end(), words.begin(), words.end());
  for (const std::string& name : metrics) {
    columns.push_back(name);
    if (spread.count(name) == 0) continue;
    for (const std::string& which : StatisticNames()) columns.push_back(name + "_" + which);
  }
  columns.push_back("error");
  return Csv(rows, columns);
}

uint64_t CountFailed(const nlohmann::json& points) {
  return static_cast<uint64_t>(std::count_if(
      points.begin(), points.end(), [](const auto& point) { return point.contains("error"); }));
}

void PrintSweepWarnings(const SweepPlan& plan, const nlohmann::json& points) {
  struct Seen {
    std::string where;
    std::string text;
    uint64_t points = 0;
  };
  std::map<Warning::Kind, Seen> kinds;
  std::set<std::string> commits;
  for (const nlohmann::json& point : points) {
    if (point.contains("error")) continue;
    commits.insert(point["commit"].get<std::string>());
    for (const Warning& warning : Warnings(point, plan.repeats)) {
      Seen& seen = kinds[warning.kind];
      if (seen.points++ != 0) continue;
      seen.text = warning.text;
      for (const auto& [name, value] : point["axes"].items()) {
        seen.where += (seen.where.empty() ? "" : ", ") + name + "=" + value.get<std::string>();
      }
    }
  }
  for (const auto& [kind, seen] : kinds) {
    const std::string others =
        seen.points == 1 ? "" : " (and at " + std::to_string(seen.points - 1) + " more points)";
    PrintErrorLine("qpip-sim: note", "at " + seen.where + others + ": " + seen.text);
  }
  if (commits.size() > 1) {
    PrintErrorLine("qpip-sim: note",
                   "the points' results are of several versions of QPIP (\"commit\" in points/): "
                   "sweep again in another directory before comparing them");
  }
}

}  // namespace qpip::apps
