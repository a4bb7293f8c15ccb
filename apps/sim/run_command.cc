#include <algorithm>
#include <cstdio>
#include <iostream>
#include <optional>

#include "apps/common/json_output.h"
#include "apps/sim/pcap_files.h"
#include "apps/sim/repeats.h"
#include "apps/sim/simulation_cost.h"
#include "apps/sim/simulations.h"
#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"

namespace qpip::apps {
namespace {

/// One run, in this process.
std::vector<RepeatedRun> RunOnce(const CommandLine& command_line, const std::string& scenario,
                                 const sim::Profile& profile,
                                 const std::map<std::string, std::string>& arguments) {
  const SimulationCost cost;
  std::optional<PcapFiles> pcap;
  if (command_line.Has("pcap")) pcap.emplace(command_line.String("pcap"));
  sim::ScenarioResult result = RunInterruptibly(scenario, profile, arguments);
  if (pcap) pcap->RequireWritten();
  std::fputs(cost.Text().c_str(), stderr);
  return {{GetSeed(scenario, arguments), std::move(result)}};
}

/// Several with seeds of their own, in child processes.
std::vector<RepeatedRun> RunSeeds(const CommandLine& command_line, const std::string& scenario,
                                  const sim::Profile& profile,
                                  const std::map<std::string, std::string>& arguments,
                                  uint32_t repeats) {
  Simulation run{scenario, command_line.String("profile"), {}, arguments};
  for (const auto& [name, value] : profile.values()) {
    if (value.profile == "set") run.set.emplace_back(name, value.value);
  }
  const auto jobs = static_cast<unsigned>(command_line.Number("jobs", 0, 1024));
  const std::vector<uint64_t> seeds = DerivedSeeds(GetSeed(scenario, arguments), repeats);
  const auto with = [&](uint64_t seed) {
    Simulation one = run;
    one.arguments = WithSeed(arguments, scenario, seed);
    return one;
  };
  Simulations simulations;
  for (const uint64_t seed : seeds) simulations.Want(with(seed));
  bool interrupted = false;
  try {
    simulations.RunAll(jobs);
  } catch (const Failure&) {
    const auto done = std::count_if(seeds.begin(), seeds.end(),
                                    [&](uint64_t seed) { return simulations.Ran(with(seed)); });
    if (!InterruptToken().requested() || done < 2) throw;
    interrupted = true;
    PrintErrorLine("qpip-sim", "interrupted: the numbers are of the " + std::to_string(done) +
                                   " seeds that had been run");
  }
  std::vector<RepeatedRun> out;
  for (const uint64_t seed : seeds) {
    if (interrupted && !simulations.Ran(with(seed))) continue;
    const SimulationOutcome& outcome = simulations.Get(with(seed));
    RepeatedRun one{seed, {}};
    one.result.metrics.assign(outcome.metrics.begin(), outcome.metrics.end());
    one.result.words.assign(outcome.words.begin(), outcome.words.end());
    one.result.details = outcome.details;
    one.result.interrupted = interrupted;
    out.push_back(std::move(one));
  }
  return out;
}

CommandLine RunCommandLine() {
  CommandLine command_line(
      {.name = "qpip-sim run",
       .summary = "runs one scenario in virtual time and prints what it measured",
       .usage = "  qpip-sim run SCENARIO [name=value ...] [options]\n",
       .notes = "The same profile, arguments and seed give the same result, byte for byte.\n"
                "Numbers take suffixes: K, M, G, T are powers of 1024 for sizes in bytes and of\n"
                "1000 for everything else; Ki, Mi, Gi, Ti powers of 1024 everywhere.\n"
                "What the simulation took of this machine goes to stderr.\n",
       .examples = "  qpip-sim run ping transport=udp\n"
                   "  qpip-sim run ttcp --set link.mtu=1500\n"
                   "  qpip-sim run ttcp bytes=10M --set link.bits_per_s=10G --json\n"
                   "  qpip-sim run ping --pcap ping\n"
                   "  qpip-sim run incast loss=0.001 --profile \\\n"
                   "      lanai9-hardware-checksum+modern-tcp --repeat 10\n"});
  AddProfileOptions(command_line);
  AddRepeatOption(command_line);
  command_line.Options().add_options()(
      "jobs,j", boost::program_options::value<std::string>()->default_value("0")->value_name("N"),
      "with --repeat: runs at a time; 0: one a processor")(
      "pcap", boost::program_options::value<std::string>()->value_name("PREFIX"),
      "writes every NIC's packets to PREFIX-N.pcap, of host N, with times in nanoseconds");
  command_line.Positional("scenario", -1);
  return command_line;
}

}  // namespace

int SimRun(int argc, const char* const* argv) {
  CommandLine command_line = RunCommandLine();
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const std::string& scenario = GetScenario(command_line).name;
  const sim::Profile profile = GetProfile(command_line);
  const auto arguments = GetArguments(command_line);
  RequireArguments(scenario, arguments);
  const uint32_t repeats = GetRepeats(command_line, scenario);
  if (repeats > 1 && command_line.Has("pcap")) {
    throw UsageError("--pcap is of one run: leave --repeat out, and give a seed");
  }
  const auto runs = repeats == 1 ? RunOnce(command_line, scenario, profile, arguments)
                                 : RunSeeds(command_line, scenario, profile, arguments, repeats);
  const nlohmann::json result = ResultJson(scenario, profile, arguments, runs);
  if (command_line.json()) {
    PrintJsonLine(result);
  } else {
    std::printf("%s with profile %s\n", scenario.c_str(), profile.name().c_str());
    PrintMetrics(result);
  }
  PrintWarnings(Warnings(result, static_cast<uint32_t>(runs.size())));
  return kExitOk;
}

}  // namespace qpip::apps
