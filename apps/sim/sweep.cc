#include "apps/sim/sweep.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "apps/common/command_line.h"
#include "apps/sim/study.h"

namespace qpip::apps {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxPoints = 1000000;
constexpr auto kQuietFor = std::chrono::seconds(2);

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

/// Writes a file so that it is there whole or not at all, also after a power cut.
void WriteWhole(const fs::path& path, const std::string& text) {
  const fs::path draft = path.string() + ".new";
  FILE* file = std::fopen(draft.c_str(), "w");
  const bool written = file != nullptr &&
                       std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
                       std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  const int error = errno;
  if (file != nullptr) std::fclose(file);
  if (!written) {
    throw Failure("cannot write " + path.string() + ": " + std::strerror(error));
  }
  fs::rename(draft, path);
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
  return out;
}

/// In the child process: runs a point and leaves its result. Returns the exit status.
int RunPoint(const SweepPlan& plan, const std::string& directory, uint64_t point) {
  try {
    const Point made = MakePoint(plan, point);
    const sim::ScenarioResult result =
        sim::RunScenario(plan.scenario, made.profile, made.arguments);
    WriteWhole(PointFile(directory, point),
               ResultJson(plan.scenario, made.profile, made.arguments, result).dump(1) + "\n");
    return kExitOk;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "qpip-sim sweep: point %llu: %s\n", static_cast<unsigned long long>(point),
                 OneLine(error.what()).c_str());
    return kExitFailed;
  }
}

class Progress {
 public:
  explicit Progress(uint64_t total) : total_(total), terminal_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (shown_) std::fprintf(stderr, "\r\x1b[K");
  }
  void Show(uint64_t done) {
    const auto elapsed = std::chrono::steady_clock::now() - start_;
    if (!terminal_ || elapsed < kQuietFor) return;
    constexpr uint64_t kWidth = 40;
    const uint64_t filled = done * kWidth / total_;
    std::fprintf(stderr, "\r[%s%s] %llu of %llu points", std::string(filled, '#').c_str(),
                 std::string(kWidth - filled, ' ').c_str(), static_cast<unsigned long long>(done),
                 static_cast<unsigned long long>(total_));
    shown_ = true;
  }

 private:
  const uint64_t total_;
  const bool terminal_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

/// Makes the directory the sweep's own, or finds that it is.
void ClaimDirectory(const SweepPlan& plan, const std::string& directory) {
  const fs::path plan_file = fs::path(directory) / "plan.json";
  std::error_code error;
  fs::create_directories(fs::path(directory) / "points", error);
  if (error) throw Failure("cannot make the directory " + directory + ": " + error.message());
  const std::string text = PlanJson(plan).dump(1) + "\n";
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
    return axis;
  }
  for (size_t at = 0; at <= values.size();) {
    const size_t comma = std::min(values.find(',', at), values.size());
    if (comma == at) throw UsageError("--vary \"" + text + "\": a value is empty");
    axis.values.push_back(values.substr(at, comma - at));
    at = comma + 1;
  }
  return axis;
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
  const uint64_t count = PointCount(plan);
  try {
    // Every name and value is looked at before the first run.
    for (uint64_t point = 0; point < count; ++point) MakePoint(plan, point);
  } catch (const sim::ProfileError& error) {
    throw UsageError(error.what());
  } catch (const sim::ScenarioError& error) {
    throw UsageError(error.what());
  }
  ClaimDirectory(plan, directory);
  Progress progress(count);
  std::set<pid_t> running;
  uint64_t done = 0;
  bool failed = false;
  const auto reap = [&] {
    int status = 0;
    const pid_t child = wait(&status);
    if (child < 0) throw Failure(std::string("cannot wait for a point: ") + std::strerror(errno));
    running.erase(child);
    failed |= !WIFEXITED(status) || WEXITSTATUS(status) != kExitOk;
    progress.Show(++done);
  };
  for (uint64_t point = 0; point < count && !failed; ++point) {
    if (fs::exists(PointFile(directory, point))) {
      ++done;
      continue;
    }
    while (running.size() >= jobs) reap();
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child < 0) throw Failure(std::string("cannot start a process: ") + std::strerror(errno));
    if (child == 0) _exit(RunPoint(plan, directory, point));
    running.insert(child);
  }
  while (!running.empty()) reap();
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
  std::string out;
  const auto cell = [&out](const std::string& text) {
    if (!out.empty() && out.back() != '\n') out += ',';
    out += text;
  };
  for (const Axis& axis : plan.axes) cell(axis.name);
  for (const auto& [name, value] : points.at(0)["metrics"].items()) cell(name);
  out += '\n';
  for (const nlohmann::json& point : points) {
    for (const Axis& axis : plan.axes) cell(point["axes"][axis.name].get<std::string>());
    for (const auto& [name, value] : point["metrics"].items()) cell(value.dump());
    out += '\n';
  }
  return out;
}

}  // namespace qpip::apps
