#include <algorithm>
#include <cstdio>
#include <iostream>
#include <thread>

#include "apps/common/json_output.h"
#include "apps/sim/output_files.h"
#include "apps/sim/plot.h"
#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"
#include "apps/sim/sweep.h"

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
           "picture: the first axis is x, every combination of the others a line. Interrupted, "
           "the\n"
           "same command goes on where it was.\n",
       .examples = "  qpip-sim sweep ttcp --vary link.mtu=1500,9000,16456 --out /tmp/mtu\n"
                   "  qpip-sim sweep ttcp --vary core.multiply_cycles=0:200:9 --vary "
                   "protocol.ack_every=1,2,4 \\\n"
                   "      --set link.mtu=1500 --out /tmp/multiplier --plot throughput_MB_per_s\n"});
  AddProfileOptions(command_line);
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
  const std::vector<std::string> words = command_line.Strings("scenario");
  if (words.empty()) throw UsageError("name a scenario: qpip-sim list scenarios shows them");
  SweepPlan plan;
  plan.scenario = words[0];
  plan.profile = command_line.String("profile");
  plan.settings = command_line.Strings("set");
  plan.arguments = GetArguments(command_line);
  for (const std::string& text : command_line.Strings("vary")) {
    plan.axes.push_back(ParseAxis(text));
  }
  for (const Axis& axis : plan.axes) {
    if (axis.name == "profile" && command_line.Given("profile")) {
      throw UsageError("--vary \"profile\": profile is given twice: leave --profile out");
    }
  }
  if (plan.axes.empty()) throw UsageError("nothing is varied: give --vary name=1,2,4");
  if (!command_line.Has("out")) throw UsageError("say where the results go: --out DIR");
  return plan;
}

bool HasMetric(const nlohmann::json& points, const std::string& metric) {
  return std::any_of(points.begin(), points.end(), [&](const nlohmann::json& point) {
    return point["metrics"].contains(metric);
  });
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
  for (const std::string& metric : metrics) {
    if (!HasMetric(points, metric)) {
      throw UsageError("the scenario has no metric \"" + metric +
                       "\" to plot; sweep.csv's header "
                       "names them");
    }
  }
  std::vector<std::string> axes;
  for (const Axis& axis : plan.axes) axes.push_back(axis.name);
  const nlohmann::json all = {{"scenario", plan.scenario},
                              {"profile", plan.profile},
                              {"set", plan.settings},
                              {"arguments", plan.arguments},
                              {"axes", axes},
                              {"plot", metrics},
                              {"points", points}};
  WriteFile(directory + "/sweep.json", JsonText(all, 1) + "\n");
  WriteFile(directory + "/sweep.csv", SweepCsv(plan, points));
  if (!metrics.empty()) Plot({"sweep", directory}, all);
  if (command_line.json()) {
    std::cout << JsonText(all, 1) << '\n';
  } else {
    std::printf("%s", SweepCsv(plan, points).c_str());
    std::fprintf(stderr, "results: %s/sweep.csv, sweep.json%s\n", directory.c_str(),
                 metrics.empty() ? "" : ", and a picture a metric (.png, .svg)");
  }
  return kExitOk;
}

}  // namespace qpip::apps
