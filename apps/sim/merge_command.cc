#include <string>
#include <vector>

#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"
#include "apps/sim/sweep_directory.h"
#include "apps/sim/sweep_results.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

CommandLine MergeCommandLine() {
  CommandLine command_line(
      {.name = "qpip-sim merge",
       .summary = "joins the shards of a sweep",
       .usage = "  qpip-sim merge DIR... --out DIR [--plot METRIC]\n",
       .notes =
           "Each DIR is what a \"qpip-sim sweep --shard I/N --out DIR\" has filled, or a sweep "
           "that was\n"
           "interrupted. The files in --out are those of one run of the whole sweep, byte for "
           "byte.\n"
           "Points that nobody has are named.\n",
       .examples = "  qpip-sim sweep ttcp --vary link.mtu=1500:9000:60 --shard 1/2 --out /tmp/s1\n"
                   "  qpip-sim sweep ttcp --vary link.mtu=1500:9000:60 --shard 2/2 --out /tmp/s2\n"
                   "  qpip-sim merge /tmp/s1 /tmp/s2 --out /tmp/mtu --plot throughput_MB_per_s\n"});
  command_line.Options().add_options()("out,o", po::value<std::string>()->value_name("DIR"),
                                       "where results go; made if missing");
  AddPlotOption(command_line);
  command_line.Positional("directories", -1);
  return command_line;
}

}  // namespace

int SimMerge(int argc, const char* const* argv) {
  CommandLine command_line = MergeCommandLine();
  if (!command_line.Parse(argc, argv)) return kExitOk;
  std::vector<ClaimedDirectory> sources;
  for (const std::string& path : command_line.Strings("directories")) {
    sources.push_back(ReadDirectory(path));
  }
  if (sources.empty()) throw UsageError("name the directories of a sweep's shards");
  if (!command_line.Has("out")) throw UsageError("say where the results go: --out DIR");
  const std::string directory = command_line.String("out");
  for (const std::string& metric : command_line.Strings("plot")) {
    RequireMetric(sources.front().plan.scenario, metric);
  }
  MergeSweeps(sources, directory);
  PublishSweep(sources.front().plan, directory, command_line,
               "run the shards again, which tries them again, and merge then");
  return kExitOk;
}

}  // namespace qpip::apps
