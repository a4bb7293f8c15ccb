// qpip-sim: the NIC in virtual time.
#include <cstdio>
#include <cstring>
#include <string>

#include "apps/common/command_line.h"
#include "apps/common/version.h"
#include "apps/sim/subcommands.h"

namespace qpip::apps {
namespace {

struct Subcommand {
  const char* name;
  const char* summary;
  int (*run)(int argc, const char* const* argv);
};
constexpr Subcommand kSubcommands[] = {
    {"run", "one scenario, with one seed or several", SimRun},
    {"sweep", "a scenario over a grid of parameters, in parallel, resumable", SimSweep},
    {"merge", "the shards of a sweep, joined", SimMerge},
    {"occupancy", "what NICs are busy with, critical paths, timelines", SimOccupancy},
    {"paper", "the paper's tables and figures, simulated and compared", SimPaper},
    {"list", "the scenarios, profiles, parameters and metrics there are", SimList},
    {"show", "every number of a profile and its source", SimShow},
};

/// The man page of the command as a whole; each subcommand has its own.
void PrintMan() {
  std::printf(
      ".TH \"qpip\\-sim\" 1 \"\" \"QPIP %s\" \"QPIP\"\n.SH NAME\nqpip\\-sim \\- queue pairs, "
      "firmware and "
      "NIC in virtual time\n.SH SYNOPSIS\n.B qpip\\-sim\nSUBCOMMAND [arguments]\n.SH SUBCOMMANDS\n",
      Version());
  for (const Subcommand& subcommand : kSubcommands) {
    std::printf(".TP\n.B %s\n%s; see qpip\\-sim\\-%s(1)\n", subcommand.name, subcommand.summary,
                subcommand.name);
  }
  std::printf(".SH EXIT STATUS\n0 fine, 1 failed, 2 bad usage.\n");
}

void PrintHelp() {
  std::printf(
      "qpip-sim: queue pairs, firmware and NIC in virtual time, every cycle accounted\n\n"
      "Usage:\n  qpip-sim SUBCOMMAND [arguments]\n\nSubcommands:\n");
  for (const Subcommand& subcommand : kSubcommands) {
    std::printf("  %-10s %s\n", subcommand.name, subcommand.summary);
  }
  std::printf(
      "\nqpip-sim SUBCOMMAND --help says more, qpip-sim --version which this is.\n"
      "Exit status: 0 fine, 1 failed, 2 bad usage.\n");
}

int Main(int argc, const char* const* argv) {
  if (argc < 2) throw UsageError("name a subcommand: qpip-sim --help shows them");
  const std::string name = argv[1];
  if (name == "--help" || name == "-h") {
    PrintHelp();
    return kExitOk;
  }
  if (name == "--man") {
    PrintMan();
    return kExitOk;
  }
  if (name == "--complete") {
    for (const Subcommand& subcommand : kSubcommands) std::printf("%s\n", subcommand.name);
    return kExitOk;
  }
  if (name == "--version") {
    std::printf("qpip-sim (QPIP) %s\n", Version());
    return kExitOk;
  }
  std::string known;
  for (const Subcommand& subcommand : kSubcommands) {
    if (name == subcommand.name) return subcommand.run(argc - 1, argv + 1);
    known += std::string(known.empty() ? "" : ", ") + subcommand.name;
  }
  throw UsageError("there is no subcommand \"" + name + "\"; there are " + known);
}

}  // namespace
}  // namespace qpip::apps

int main(int argc, char** argv) {
  return qpip::apps::RunCommand("qpip-sim", [&] { return qpip::apps::Main(argc, argv); });
}
