// qpip-sim occupancy: what the NICs of a scenario were busy with, and what a message waited for.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>

#include "apps/common/json_output.h"
#include "apps/sim/output_files.h"
#include "apps/sim/plot.h"
#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"
#include "sim/ns3/trace/trace_event.h"
#include "sim/ns3/trace/trace_json.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

constexpr uint64_t kPsPerUs = 1000000;

/// [start, end) in picoseconds: what the scenario measures, or what --from and --to say, and of
/// that what was recorded.
std::pair<uint64_t, uint64_t> GetSpan(const CommandLine& command_line,
                                      const sim::Recording& recording,
                                      const sim::ScenarioResult& result) {
  constexpr uint64_t kMaxUs = uint64_t{1} << 40;
  const uint64_t end_ps = recording.EndPs();
  uint64_t from = result.window_start_ns * 1000;
  uint64_t to = result.window_end_ns != 0 ? result.window_end_ns * 1000 : end_ps;
  if (command_line.Has("from")) from = command_line.Number("from", 0, kMaxUs) * kPsPerUs;
  if (command_line.Has("to")) to = command_line.Number("to", 0, kMaxUs) * kPsPerUs;
  const std::string end = std::to_string(end_ps / kPsPerUs) + " us";
  if (from >= to) throw UsageError("--from and --to leave nothing: the run lasted " + end);
  if (recording.truncated && from >= end_ps) {
    throw Failure("the recording was full at " + end +
                  ", before what is measured begins: shorten the run, or give --from and --to");
  }
  if (recording.truncated) to = std::min(to, end_ps);
  return {from, to};
}

nlohmann::json PathOf(const CommandLine& command_line, const sim::Recording& recording) {
  const size_t completions = sim::CountReceiveCompletions(recording);
  nlohmann::json out = {{"messages", completions}};
  if (completions == 0) return out;
  size_t number = completions / 2;
  if (command_line.Has("message")) {
    number = command_line.Number("message", 0, completions - 1);
  }
  const auto path = sim::MessagePath(recording, number);
  out["message"] = number;
  out["steps"] = sim::PathJson(path, path.empty() ? 0 : path.front().start_ps);
  return out;
}

void PrintOccupancy(const nlohmann::json& occupancy) {
  for (const auto& resource : occupancy["resources"]) {
    if (resource["busy_us"] == 0.0) continue;
    std::printf("host %d %-14s %6.2f%%\n", resource["host"].get<int>(),
                resource["resource"].get<std::string>().c_str(),
                100 * resource["utilisation"].get<double>());
    for (const auto& part : resource["parts"]) {
      std::printf("  %-34s %6.2f%% %12.1f us %9llu times\n",
                  part["label"].get<std::string>().c_str(), 100 * part["share"].get<double>(),
                  part["busy_us"].get<double>(), part["count"].get<unsigned long long>());
    }
  }
}

void PrintPath(const nlohmann::json& path) {
  if (!path.contains("steps")) {
    std::printf("no message was received\n");
    return;
  }
  std::printf("critical path of message %llu, from its work request to its completion:\n",
              path["message"].get<unsigned long long>());
  for (const auto& step : path["steps"]) {
    std::printf("  %10.3f us  %8.3f us  host %d %-13s %s\n", step["start_us"].get<double>(),
                step["end_us"].get<double>() - step["start_us"].get<double>(),
                step["host"].get<int>(), step["resource"].get<std::string>().c_str(),
                step["label"].get<std::string>().c_str());
  }
}

nlohmann::json FlatParts(const nlohmann::json& occupancy) {
  nlohmann::json rows = nlohmann::json::array();
  for (const auto& resource : occupancy["resources"]) {
    for (const auto& part : resource["parts"]) {
      nlohmann::json row = part;
      row["host"] = resource["host"];
      row["resource"] = resource["resource"];
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

void AddOptions(CommandLine& command_line) {
  AddProfileOptions(command_line);
  command_line.Options().add_options()("timeline", po::value<std::string>()->value_name("FILE"),
                                       "writes a Trace Event file for https://ui.perfetto.dev")(
      "out", po::value<std::string>()->value_name("DIR"),
      "writes data and pictures there; made if missing")(
      "bins", po::value<std::string>()->default_value("100")->value_name("N"),
      "steps of the course over time")(
      "from", po::value<std::string>()->value_name("US"),
      "only from this virtual microsecond on; otherwise what the scenario measures")(
      "to", po::value<std::string>()->value_name("US"), "only up to this virtual microsecond")(
      "message", po::value<std::string>()->value_name("N"),
      "the received message whose critical path is shown; otherwise the middle one");
  command_line.Positional("scenario", -1);
}

[[noreturn]] void FailTimeline(const CommandLine& command_line, const std::string& what) {
  throw Failure("cannot write the timeline " + command_line.String("timeline") + ": " + what);
}

/// Before the run, which may take a while. Not open without --timeline.
std::ofstream OpenTimeline(const CommandLine& command_line) {
  std::ofstream out;
  if (!command_line.Has("timeline")) return out;
  out.open(command_line.String("timeline"));
  if (!out) {
    FailTimeline(command_line,
                 std::string(std::strerror(errno)) + ": name a file that can be written");
  }
  return out;
}

}  // namespace

int SimOccupancy(int argc, const char* const* argv) {
  CommandLine command_line(
      {.name = "qpip-sim occupancy",
       .summary = "runs a scenario and says what core, DMA engines and link were busy with",
       .usage = "  qpip-sim occupancy SCENARIO [name=value ...] [options]\n",
       .notes = "",
       .examples = "  qpip-sim occupancy ttcp --set link.mtu=1500\n"
                   "  qpip-sim occupancy ping --timeline ping.json --out results\n"});
  AddOptions(command_line);
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const std::string& scenario = GetScenario(command_line).name;
  const sim::Profile profile = GetProfile(command_line);
  const auto arguments = GetArguments(command_line);
  const auto bins = static_cast<uint32_t>(command_line.Number("bins", 1, 100000));
  sim::ScopedRecording recorder;
  std::ofstream timeline = OpenTimeline(command_line);
  if (command_line.Has("out")) MakeDirectory(command_line.String("out"));
  const sim::ScenarioResult result = RunInterruptibly(scenario, profile, arguments);
  const sim::Recording& recording = recorder.recording();
  const auto [from, to] = GetSpan(command_line, recording, result);
  nlohmann::json study =
      ResultJson(scenario, profile, arguments, {{GetSeed(scenario, arguments), result}});
  study["occupancy"] = sim::OccupancyJson(sim::ComputeOccupancy(recording, from, to, bins));
  study["path"] = PathOf(command_line, recording);
  study["truncated"] = recording.truncated;
  if (command_line.Has("timeline")) {
    sim::WriteTraceEvents(recording, timeline);
    timeline.close();
    if (!timeline) FailTimeline(command_line, "is the disk full?");
  }
  if (command_line.json()) {
    PrintJsonLine(study);
  } else {
    std::printf("%s with profile %s\n", scenario.c_str(), profile.name().c_str());
    PrintMetrics(study);
    PrintOccupancy(study["occupancy"]);
    PrintPath(study["path"]);
  }
  PrintWarnings(Warnings(study, 1));
  if (recording.truncated) {
    std::fprintf(
        stderr,
        "qpip-sim: the recording was full at %.0f us, and the shares are of what is in it: "
        "shorten the run\n",
        static_cast<double>(recording.EndPs()) / 1e6);
  }
  if (command_line.Has("out")) {
    const std::filesystem::path directory = command_line.String("out");
    WriteBoth(directory, "occupancy", study, FlatParts(study["occupancy"]),
              {"host", "resource", "label", "count", "busy_us", "share"});
    Plot({"occupancy", directory.string()}, study);
  }
  return kExitOk;
}

}  // namespace qpip::apps
