#include "apps/sim/sweep_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <optional>

#include "apps/common/command_line.h"
#include "apps/common/json_output.h"
#include "apps/sim/output_files.h"

namespace qpip::apps {
namespace {

namespace fs = std::filesystem;

fs::path PlanFile(const std::string& directory) { return fs::path(directory) / "plan.json"; }

std::string PlanText(const SweepPlan& plan, const Shard& shard) {
  nlohmann::json axes = nlohmann::json::array();
  for (const Axis& axis : plan.axes) axes.push_back({{"name", axis.name}, {"values", axis.values}});
  nlohmann::json out = {{"scenario", plan.scenario}, {"profile", plan.profile},
                        {"set", plan.settings},      {"arguments", plan.arguments},
                        {"repeat", plan.repeats},    {"axes", axes},
                        {"profiles", plan.profiles}};
  if (shard.count > 1) out["shard"] = shard.Text();
  return JsonText(out, 1) + "\n";
}

/// Whether some point of any sweep has a result in the directory.
bool HasResults(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fs::path(directory) / "points", error)) {
    if (entry.path().extension() == ".json") return true;
  }
  return false;
}

/// The file's bytes, or nothing when it cannot be read.
std::optional<std::string> ReadText(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

/// The point and its axes' values: "7 (link.mtu=1500, protocol.ack_every=2)".
std::string PointName(const SweepPlan& plan, uint64_t point) {
  const std::vector<std::string> values = PointValues(plan, point);
  std::string out = std::to_string(point) + " (";
  for (size_t i = 0; i < values.size(); ++i) {
    out += (i == 0 ? "" : ", ") + plan.axes[i].name + "=" + values[i];
  }
  return out + ")";
}

/// A point's place in one of the sources: its result, or why there is none.
struct Found {
  std::string text;
  bool failed = false;
};

/// What a point gave, from whoever has it: a result, or else a failure. Throws Failure when two
/// results disagree, or one is damaged.
std::optional<Found> FindPoint(const std::vector<ClaimedDirectory>& sources, uint64_t point) {
  std::optional<Found> found;
  const ClaimedDirectory* finder = nullptr;
  for (const ClaimedDirectory& source : sources) {
    const std::optional<std::string> result = ReadText(PointFile(source.path, point));
    const std::optional<std::string> failure =
        result ? std::nullopt : ReadText(FailedFile(source.path, point));
    if (!result && (!failure || found)) continue;
    const std::string& text = result ? *result : *failure;
    if (!nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false).is_object()) {
      throw Failure(
          (result ? PointFile(source.path, point) : FailedFile(source.path, point)).string() +
          " is damaged: remove it and run its sweep again");
    }
    if (found && !found->failed && found->text != text) {
      throw Failure(finder->path + " and " + source.path + " have different results of point " +
                    PointName(source.plan, point) +
                    ": they were not made by the same program and profile; remove one of them");
    }
    found = Found{text, !result};
    finder = &source;
  }
  return found;
}

/// Says which points are missing, and where they would have come from.
[[noreturn]] void FailForMissing(const std::vector<ClaimedDirectory>& sources,
                                 const std::vector<uint64_t>& missing) {
  constexpr size_t kNamed = 10;
  const SweepPlan& plan = sources.front().plan;
  std::string names;
  for (size_t i = 0; i < std::min(missing.size(), kNamed); ++i) {
    names += (i == 0 ? "" : ", ") + PointName(plan, missing[i]);
  }
  if (missing.size() > kNamed) {
    names += " and " + std::to_string(missing.size() - kNamed) + " more";
  }
  std::string owners;
  for (const ClaimedDirectory& source : sources) {
    if (std::none_of(missing.begin(), missing.end(),
                     [&](uint64_t point) { return source.shard.Has(point); })) {
      continue;
    }
    owners += (owners.empty() ? "" : ", ") + source.path;
  }
  throw Failure(std::to_string(missing.size()) + " of " + std::to_string(PointCount(plan)) +
                " points are missing: " + names + ": " +
                (owners.empty() ? "name the directories of their shards too"
                                : "the same command as before goes on in " + owners));
}

void RequireOnePlan(const std::vector<ClaimedDirectory>& sources) {
  for (const ClaimedDirectory& source : sources) {
    if (source.plan == sources.front().plan) continue;
    throw UsageError(sources.front().path + " and " + source.path +
                     " hold different sweeps, or their profiles had different numbers (see their "
                     "plan.json): name those of one");
  }
}

}  // namespace

DirectoryLock::DirectoryLock(const std::string& directory)
    : fd_(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (fd_ < 0 || flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  close(fd_);
  throw Failure("another sweep is running in " + directory +
                ": wait until it has ended, or give another directory with --out");
}

void DirectoryLock::Release() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

fs::path PointFile(const std::string& directory, uint64_t point) {
  char name[32];
  std::snprintf(name, sizeof(name), "%06llu.json", static_cast<unsigned long long>(point));
  return fs::path(directory) / "points" / name;
}

fs::path FailedFile(const std::string& directory, uint64_t point) {
  return PointFile(directory, point).replace_extension(".failed");
}

void ClaimDirectory(const SweepPlan& plan, const Shard& shard, const std::string& directory) {
  const std::string text = PlanText(plan, shard);
  const std::optional<std::string> found = ReadText(PlanFile(directory));
  if (!found || !HasResults(directory)) {
    for (const auto& entry : fs::directory_iterator(fs::path(directory) / "points")) {
      if (entry.path().extension() == ".failed") fs::remove(entry.path());
    }
    WriteWhole(PlanFile(directory), text);
  } else if (*found != text) {
    throw UsageError(
        directory +
        " holds another sweep, or another shard, or its profiles have other numbers now "
        "(plan.json has them all): give another directory with --out, or remove this "
        "one");
  }
}

ClaimedDirectory ReadDirectory(const std::string& path) {
  const std::optional<std::string> text = ReadText(PlanFile(path));
  if (!text) {
    throw UsageError("there is no sweep in " + path +
                     " (no plan.json): name directories that qpip-sim sweep --out has made");
  }
  try {
    const nlohmann::json json = nlohmann::json::parse(*text);
    ClaimedDirectory out{path, {}, {}};
    out.plan.scenario = json.at("scenario").get<std::string>();
    out.plan.profile = json.at("profile").get<std::string>();
    out.plan.settings = json.at("set").get<std::vector<std::string>>();
    out.plan.arguments = json.at("arguments").get<std::map<std::string, std::string>>();
    out.plan.repeats = json.at("repeat").get<uint32_t>();
    for (const nlohmann::json& axis : json.at("axes")) {
      out.plan.axes.push_back(
          {axis.at("name").get<std::string>(), axis.at("values").get<std::vector<std::string>>()});
      if (out.plan.axes.back().values.empty()) throw UsageError("an axis has no values");
    }
    out.plan.profiles = json.at("profiles").get<decltype(out.plan.profiles)>();
    if (json.contains("shard")) out.shard = ParseShard(json.at("shard").get<std::string>());
    PointCount(out.plan);  // is one that a sweep can have
    return out;
  } catch (const std::exception& error) {
    throw Failure(PlanFile(path).string() + " is damaged: " + OneLine(error.what()) +
                  ": remove the directory and run the sweep again");
  }
}

nlohmann::json CollectSweep(const SweepPlan& plan, const Shard& shard,
                            const std::string& directory) {
  nlohmann::json points = nlohmann::json::array();
  const uint64_t count = PointCount(plan);
  for (uint64_t point = 0; point < count; ++point) {
    if (!shard.Has(point)) continue;
    const bool failed = !fs::exists(PointFile(directory, point));
    std::ifstream in(failed ? FailedFile(directory, point) : PointFile(directory, point));
    nlohmann::json result = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (!result.is_object()) {
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

void MergeSweeps(const std::vector<ClaimedDirectory>& sources, const std::string& directory) {
  RequireOnePlan(sources);
  const SweepPlan& plan = sources.front().plan;
  const uint64_t count = PointCount(plan);
  std::vector<uint64_t> missing;
  for (uint64_t point = 0; point < count; ++point) {
    if (!FindPoint(sources, point)) missing.push_back(point);
  }
  if (!missing.empty()) FailForMissing(sources, missing);
  MakeDirectory(fs::path(directory) / "points");
  const DirectoryLock lock(directory);
  ClaimDirectory(plan, Shard{}, directory);
  for (uint64_t point = 0; point < count; ++point) {
    const std::optional<Found> found = FindPoint(sources, point);
    if (!found) FailForMissing(sources, {point});  // removed meanwhile
    const fs::path result = PointFile(directory, point);
    const fs::path failure = FailedFile(directory, point);
    if (const fs::path& file = found->failed ? failure : result; ReadText(file) != found->text) {
      WriteWhole(file, found->text);
    }
    fs::remove(found->failed ? result : failure);
  }
}

}  // namespace qpip::apps
