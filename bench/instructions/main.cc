// instructions: how many instructions messages take, which no other load on the machine changes.
//
// Runs itself under callgrind, each scenario in a process of its own, and takes what the thread
// that posts and polls has retired between the scenario's marks.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/common/command_line.h"
#include "bench/instructions/scenarios.h"

namespace qpip::instructions {
namespace {

using apps::CommandLine;
using apps::Failure;
using apps::UsageError;
using nlohmann::json;

class Directory {
 public:
  Directory() {
    std::string name =
        (std::filesystem::temp_directory_path() / "qpip-instructions.XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw Failure("a temporary directory: " + name);
    path_ = name;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Runs a command with its output kept to itself; throws Failure with the end of it.
void Run(const std::vector<std::string>& command, const std::filesystem::path& output) {
  const pid_t child = fork();
  if (child < 0) throw Failure("cannot start a process");
  if (child == 0) {
    std::vector<char*> arguments;
    for (const std::string& argument : command) {
      arguments.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments.push_back(nullptr);
    if (std::freopen(output.c_str(), "w", stderr) == nullptr) _exit(126);
    execvp(arguments[0], arguments.data());
    _exit(errno == ENOENT ? 127 : 126);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
    throw Failure("there is no valgrind: apt-get install valgrind");
  }
  std::ifstream file(output);
  throw Failure("valgrind failed: " + std::string(std::istreambuf_iterator<char>(file), {}));
}

/// The instructions of callgrind's files, of which each thread has one.
uint64_t Total(const std::filesystem::path& directory) {
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream file(entry.path());
    constexpr std::string_view kTotals = "totals: ";
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(kTotals)) total += std::stoull(line.substr(kTotals.size()));
    }
  }
  return total;
}

double Count(const Scenario& scenario) {
  const Directory directory;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  Run({"valgrind", "--tool=callgrind", "--collect-atstart=no",
       "--callgrind-out-file=" + (directory.path() / "callgrind").string(), self, "--inside",
       std::string(scenario.name)},
      directory.path() / "said");
  return static_cast<double>(Total(directory.path())) / scenario.times;
}

const Scenario& Find(const std::string& name) {
  const auto all = Scenarios();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Scenario& scenario) { return scenario.name == name; });
  if (found == all.end()) throw UsageError("no scenario: " + name);
  return *found;
}

/// Counts of before.
class Expected {
 public:
  explicit Expected(const std::string& path) : path_(path) {
    std::ifstream file(path);
    if (!file) throw Failure(path + ": cannot be read");
    try {
      counts_ = json::parse(file);
    } catch (const json::exception& error) {
      throw Failure(path + ": " + error.what());
    }
  }
  /// By how many percent a count is another one than before.
  double Change(const Scenario& scenario, double count) const {
    const std::string name(scenario.name);
    if (!counts_.contains(name)) throw Failure(path_ + ": says nothing of " + name);
    return 100 * (count / counts_[name].get<double>() - 1);
  }
  void Complain(const Scenario& scenario, double count) const {
    std::cerr << scenario.name << ": " << count << " instructions, " << path_ << " says "
              << counts_[std::string(scenario.name)] << ": " << std::showpos
              << std::lround(Change(scenario, count)) << std::noshowpos
              << "%. If it is meant to be so, keep the file true: qpip-instructions --json\n";
  }

 private:
  const std::string path_;
  json counts_;
};

/// Counts until it is as before, three times at the most. Returns the nearest.
double CountAsBefore(const Scenario& scenario, const Expected& expected) {
  double nearest = Count(scenario);
  const auto change = [&](double count) { return std::abs(expected.Change(scenario, count)); };
  for (int more = 2; more > 0 && change(nearest) > scenario.tolerance; --more) {
    const double count = Count(scenario);
    if (change(count) < change(nearest)) nearest = count;
  }
  return nearest;
}

int Main(int argc, char** argv) {
  CommandLine line({
      .name = "qpip-instructions",
      .summary = "Counts the instructions of messages on two NICs in one process, by callgrind.",
      .usage = "[SCENARIO...]",
      .notes = "What only threads beside the one that posts and polls do is not counted.\n"
               "With --check, status 1 when a count has changed by more than it does by itself, "
               "to less or to more: the file is to be kept true.",
      .examples = "  qpip-instructions\n  qpip-instructions round_trip_1 --json\n",
  });
  line.Options().add_options()("check", boost::program_options::value<std::string>(),
                               "compares with a file of counts, as --json prints them")(
      "inside", "runs a scenario here, to be counted");
  line.Positional("scenario", -1);
  if (!line.Parse(argc, argv)) return apps::kExitOk;
  std::vector<std::string> names;
  if (line.Has("scenario")) names = line.Strings("scenario");
  if (line.Flag("inside")) {
    for (const std::string& name : names) Find(name).run(Find(name).times);
    return apps::kExitOk;
  }
  if (names.empty()) {
    for (const Scenario& scenario : Scenarios()) names.emplace_back(scenario.name);
  }
  std::optional<Expected> expected;
  if (line.Has("check")) expected.emplace(line.String("check"));
  json counts = json::object();
  bool as_before = true;
  for (const std::string& name : names) {
    const Scenario& scenario = Find(name);
    const double count =
        std::round(expected ? CountAsBefore(scenario, *expected) : Count(scenario));
    counts[name] = count;
    if (!line.json()) {
      std::printf("%8.0f  %s\n", count, std::string(scenario.what).c_str());
      std::fflush(stdout);
    }
    if (expected && std::abs(expected->Change(scenario, count)) > scenario.tolerance) {
      expected->Complain(scenario, count);
      as_before = false;
    }
  }
  if (line.json()) std::cout << counts.dump(2) << "\n";
  return as_before ? apps::kExitOk : apps::kExitFailed;
}

}  // namespace
}  // namespace qpip::instructions

int main(int argc, char** argv) {
  return qpip::apps::RunCommand("qpip-instructions",
                                [=] { return qpip::instructions::Main(argc, argv); });
}
