#include <algorithm>
#include <cstdio>
#include <iostream>
#include <thread>

#include "apps/common/json_output.h"
#include "apps/common/version.h"
#include "apps/sim/output_files.h"
#include "apps/sim/plot.h"
#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"
#include "apps/sim/sweep.h"
#include "sim/ns3/model/parameter.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

CommandLine MakeCommandLine() {
  CommandLine command_line(
      {.name = "qpip-sim sweep",
       .summary = "runs a scenario at every combination of some parameters' values",
       .usage =
           "  qpip-sim sweep SCENARIO [name=value ...] --vary name=1,2,4 --out DIR [options]\n",
       .notes =
           "--vary names a parameter of the scenario, of the profile (link.mtu), or \"profile\"\n"
           "itself; several make a grid. DIR receives sweep.json, sweep.csv and, with --plot, a\n"
           "picture: the first axis is x, every combination of the others a line, with the 95%\n"
           "interval of --repeat. Interrupted, the same command goes on where it was. A point\n"
           "that fails is recorded (column error), the others run, and the exit status is 1.\n",
       .examples = "  qpip-sim sweep ttcp --vary link.mtu=1500,9000,16456 --out /tmp/mtu\n"
                   "  qpip-sim sweep ttcp --vary core.multiply_cycles=0:200:9 --vary "
                   "protocol.ack_every=1,2,4 \\\n"
                   "      --set link.mtu=1500 --out /tmp/multiplier --plot throughput_MB_per_s\n"});
  AddProfileOptions(command_line);
  AddRepeatOption(command_line);
  command_line.Options().add_options()(
      "vary,v", po::value<std::vector<std::string>>()->value_name("NAME=VALUES"),
      "an axis: values separated by commas, or first:last:count; repeatable")(
      "out,o", po::value<std::string>()->value_name("DIR"), "where results go; made if missing")(
      "jobs,j", po::value<std::string>()->value_name("N"),
      "points at a time (default: one a processor)")(
      "plot", po::value<std::vector<std::string>>()->value_name("METRIC"),
      "draws a metric as PNG and SVG; repeatable");
  command_line.Positional("scenario", -1);
  return command_line;
}

SweepPlan MakePlan(const CommandLine& command_line) {
  const sim::Scenario& scenario = GetScenario(command_line);
  SweepPlan plan;
  plan.scenario = scenario.name;
  plan.repeats = GetRepeats(command_line, plan.scenario);
  plan.profile = command_line.String("profile");
  plan.settings = command_line.Strings("set");
  plan.arguments = GetArguments(command_line);
  for (const std::string& text : command_line.Strings("vary")) {
    plan.axes.push_back(ParseAxis(text, scenario));
  }
  for (const Axis& axis : plan.axes) {
    if (axis.name == "profile" && command_line.Given("profile")) {
      throw UsageError("--vary \"profile\": profile is given twice: leave --profile out");
    }
  }
  if (plan.axes.empty()) throw UsageError("nothing is varied: give --vary name=1,2,4");
  if (!command_line.Has("out")) throw UsageError("say where the results go: --out DIR");
  for (const std::string& metric : command_line.Strings("plot")) {
    RequireMetric(plan.scenario, metric);
  }
  return plan;
}

bool HasMetric(const nlohmann::json& points, const std::string& metric) {
  return std::any_of(points.begin(), points.end(), [&](const nlohmann::json& point) {
    return point.contains("metrics") && point["metrics"].contains(metric);
  });
}

nlohmann::json SweepJson(const SweepPlan& plan, const nlohmann::json& points,
                         const std::vector<std::string>& metrics) {
  std::vector<std::string> axes;
  nlohmann::json units = nlohmann::json::object();
  for (const Axis& axis : plan.axes) {
    axes.push_back(axis.name);
    const auto* scenario_parameter =
        sim::FindParameter(sim::FindScenario(plan.scenario), axis.name);
    const sim::ParameterSpec* spec = sim::FindParameter(axis.name);
    if (scenario_parameter != nullptr) {
      units[axis.name] = scenario_parameter->of_bytes ? "B" : "";
    } else {
      units[axis.name] = spec != nullptr ? spec->unit : "";
    }
  }
  for (const std::string& metric : metrics) units[metric] = sim::MetricUnit(metric);
  const sim::ScenarioArguments complete(sim::FindScenario(plan.scenario).parameters,
                                        plan.arguments);
  return {{"version", Version()},
          {"commit", Commit()},
          {"scenario", plan.scenario},
          {"profile", plan.profile},
          {"set", plan.settings},
          {"given", plan.arguments},
          {"arguments", complete.values()},
          {"repeat", plan.repeats},
          {"axes", axes},
          {"units", units},
          {"plot", metrics},
          {"points", points}};
}

[[noreturn]] void FailSweep(const nlohmann::json& points, uint64_t failed,
                            const std::string& directory) {
  const auto first = std::find_if(points.begin(), points.end(),
                                  [](const auto& point) { return point.contains("error"); });
  throw Failure(std::to_string(failed) + " of " + std::to_string(points.size()) +
                " points failed, the first: " + (*first)["error"].get<std::string>() +
                ": the column error of " + directory +
                "/sweep.csv has all; the same command tries them again");
}

}  // namespace

int SimSweep(int argc, const char* const* argv) {
  CommandLine command_line = MakeCommandLine();
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const SweepPlan plan = MakePlan(command_line);
  const std::string directory = command_line.String("out");
  const auto jobs = static_cast<uint32_t>(command_line.Has("jobs")
                                              ? command_line.Number("jobs", 1, 1024)
                                              : std::max(1u, std::thread::hardware_concurrency()));
  RunSweep(plan, directory, jobs);
  const nlohmann::json points = CollectSweep(plan, directory);
  const std::vector<std::string> metrics = command_line.Strings("plot");
  const nlohmann::json all = SweepJson(plan, points, metrics);
  WriteFile(directory + "/sweep.json", JsonText(all, 1) + "\n");
  WriteFile(directory + "/sweep.csv", SweepCsv(plan, points));
  PrintSweepWarnings(plan, points);
  const uint64_t failed = CountFailed(points);
  if (failed == points.size()) FailSweep(points, failed, directory);
  for (const std::string& metric : metrics) {
    if (HasMetric(points, metric)) continue;
    throw UsageError("--plot \"" + metric + "\": no point has this metric: " + directory +
                     "/sweep.csv has all that there are");
  }
  if (!metrics.empty()) Plot({"sweep", directory}, all);
  if (command_line.json()) {
    PrintJsonLine(all);
  } else {
    std::printf("%s", SweepCsv(plan, points).c_str());
    std::fprintf(stderr, "results: %s/sweep.csv, sweep.json%s\n", directory.c_str(),
                 metrics.empty() ? "" : ", and a picture a metric (.png, .svg)");
  }
  if (failed != 0) FailSweep(points, failed, directory);
  return kExitOk;
}

}  // namespace qpip::apps
