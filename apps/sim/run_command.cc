#include <cstdio>
#include <iostream>

#include "apps/common/json_output.h"
#include "apps/sim/simulation_cost.h"
#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"

namespace qpip::apps {

int SimRun(int argc, const char* const* argv) {
  CommandLine command_line(
      {.name = "qpip-sim run",
       .summary = "runs one scenario in virtual time and prints what it measured",
       .usage = "  qpip-sim run SCENARIO [name=value ...] [options]\n",
       .notes = "The same profile, arguments and seed give the same result, byte for byte.\n"
                "What the simulation took of this machine goes to stderr.\n",
       .examples = "  qpip-sim run ping transport=udp\n"
                   "  qpip-sim run ttcp --set link.mtu=1500\n"
                   "  qpip-sim run ttcp --profile lanai9-firmware-checksum --json\n"});
  AddProfileOptions(command_line);
  command_line.Positional("scenario", -1);
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const std::vector<std::string> words = command_line.Strings("scenario");
  if (words.empty()) throw UsageError("name a scenario: qpip-sim list scenarios shows them");
  const sim::Profile profile = GetProfile(command_line);
  const auto arguments = GetArguments(command_line);
  const SimulationCost cost;
  const sim::ScenarioResult result = RunInterruptibly(words[0], profile, arguments);
  if (command_line.json()) {
    std::cout << JsonText(ResultJson(words[0], profile, arguments, result), 1) << '\n';
  } else {
    std::printf("%s with profile %s\n", words[0].c_str(), profile.name().c_str());
    PrintMetrics(result);
  }
  std::fputs(cost.Text().c_str(), stderr);
  return kExitOk;
}

}  // namespace qpip::apps
