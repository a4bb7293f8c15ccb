#include <algorithm>
#include <thread>

#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"
#include "apps/sim/sweep.h"
#include "apps/sim/sweep_results.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

CommandLine SweepCommandLine() {
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
           "that fails is recorded (column error), the others run, and the exit status is 1.\n"
           "With --shard several processes or machines share a sweep, each in a directory of its\n"
           "own, and qpip-sim merge joins them.\n",
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
      "shard", po::value<std::string>()->value_name("I/N"),
      "only every N-th point, from the I-th on (1 to N)");
  AddPlotOption(command_line);
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

}  // namespace

int SimSweep(int argc, const char* const* argv) {
  CommandLine command_line = SweepCommandLine();
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const SweepPlan plan = MakePlan(command_line);
  Shard shard;
  if (command_line.Has("shard")) shard = ParseShard(command_line.String("shard"));
  if (shard.count > 1 && command_line.Has("plot")) {
    throw UsageError("--plot: a shard has a part of the points: qpip-sim merge --plot draws");
  }
  const std::string directory = command_line.String("out");
  const auto jobs = static_cast<uint32_t>(command_line.Has("jobs")
                                              ? command_line.Number("jobs", 1, 1024)
                                              : std::max(1u, std::thread::hardware_concurrency()));
  RunSweep(plan, shard, directory, jobs);
  if (shard.count == 1) {
    PublishSweep(plan, directory, command_line, kSweepAgain);
  } else {
    PrintShard(plan, shard, directory, command_line.json());
  }
  return kExitOk;
}

}  // namespace qpip::apps
