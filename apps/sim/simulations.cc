#include "apps/sim/simulations.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <thread>

#include "apps/common/command_line.h"
#include "apps/common/statistics.h"
#include "sim/ns3/scenario/scenario.h"

namespace qpip::apps {
namespace {

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.10g", value);
  return text;
}

nlohmann::json RunHere(const Simulation& simulation) {
  try {
    const sim::ScenarioResult result =
        sim::RunScenario(simulation.scenario, simulation.LoadProfile(), simulation.arguments);
    nlohmann::json metrics = nlohmann::json::object();
    for (const auto& [name, value] : result.metrics) metrics[name] = value;
    return {{"metrics", metrics}, {"details", result.details}};
  } catch (const std::exception& error) {
    return {{"error", error.what()}};
  }
}

/// A child process that runs one simulation and writes its result to a pipe.
struct Child {
  pid_t pid = -1;
  int pipe = -1;
  std::string command;
  std::string text;
};

void WriteAll(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = write(fd, text.data() + done, text.size() - done);
    if (wrote < 0 && errno != EINTR) return;
    if (wrote > 0) done += static_cast<size_t>(wrote);
  }
}

Child Fork(const Simulation& simulation) {
  int ends[2];
  if (pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid == 0) {
    close(ends[0]);
    WriteAll(ends[1], RunHere(simulation).dump());
    _exit(0);
  }
  close(ends[1]);
  return {pid, ends[0], simulation.Command(), {}};
}

SimulationOutcome Finish(const Child& child) {
  close(child.pipe);
  int status = 0;
  while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  SimulationOutcome outcome;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    outcome.error = "the simulation's process died";
    return outcome;
  }
  const nlohmann::json json = nlohmann::json::parse(child.text, nullptr, false);
  if (json.is_discarded()) {
    outcome.error = "the simulation's process gave no result";
  } else if (json.contains("error")) {
    outcome.error = json["error"].get<std::string>();
  } else {
    for (const auto& [name, value] : json["metrics"].items()) {
      if (value.is_number()) outcome.metrics[name] = value.get<double>();
    }
    outcome.details = json["details"];
  }
  return outcome;
}

/// Reads what has come; false at the end.
bool ReadSome(Child* child) {
  char buffer[65536];
  const ssize_t got = read(child->pipe, buffer, sizeof(buffer));
  if (got < 0) return errno == EINTR;
  child->text.append(buffer, static_cast<size_t>(got));
  return got != 0;
}

}  // namespace

std::string Simulation::Command() const {
  std::string out = "qpip-sim run " + scenario;
  for (const auto& [name, value] : arguments)
    out.append(" ").append(name).append("=").append(value);
  out += " --profile " + profile;
  for (const auto& [name, value] : set) {
    out.append(" --set ").append(name).append("=").append(Number(value));
  }
  return out;
}

sim::Profile Simulation::LoadProfile() const {
  sim::Profile out = sim::Profile::Load(profile);
  for (const auto& [name, value] : set) out.Set(name, value, "set for this run");
  return out;
}

void Simulations::Want(const Simulation& simulation) {
  const auto [entry, is_new] = outcomes_.try_emplace(simulation.Command());
  if (!is_new) return;
  entry->second.error = "the simulation was not run";
  waiting_.push_back(simulation);
}

void Simulations::RunAll(unsigned processes) {
  if (processes == 0) processes = std::max(std::thread::hardware_concurrency(), 1u);
  Progress progress("simulations", waiting_.size());
  std::vector<Child> children;
  size_t next = 0;
  uint64_t done = 0;
  while (next < waiting_.size() || !children.empty()) {
    while (next < waiting_.size() && children.size() < processes) {
      children.push_back(Fork(waiting_[next++]));
    }
    std::vector<pollfd> waits;
    for (const Child& child : children) waits.push_back({child.pipe, POLLIN, 0});
    if (poll(waits.data(), waits.size(), -1) < 0) continue;
    for (size_t i = children.size(); i-- > 0;) {
      if (waits[i].revents == 0 || ReadSome(&children[i])) continue;
      outcomes_[children[i].command] = Finish(children[i]);
      children.erase(children.begin() + static_cast<ptrdiff_t>(i));
      progress.Update(++done);
    }
  }
  waiting_.clear();
}

bool Simulations::Ran(const Simulation& simulation) const {
  const auto found = outcomes_.find(simulation.Command());
  return found != outcomes_.end() && found->second.error.empty();
}

const SimulationOutcome& Simulations::Get(const Simulation& simulation) const {
  const std::string command = simulation.Command();
  const auto found = outcomes_.find(command);
  if (found == outcomes_.end()) throw std::logic_error("not wanted: " + command);
  if (!found->second.error.empty()) {
    throw Failure(found->second.error + ": try " + command);
  }
  return found->second;
}

double Simulations::Metric(const Simulation& simulation, const std::string& metric) const {
  const SimulationOutcome& outcome = Get(simulation);
  const auto found = outcome.metrics.find(metric);
  if (found == outcome.metrics.end()) {
    throw Failure("no metric " + metric + ": try " + simulation.Command());
  }
  return found->second;
}

}  // namespace qpip::apps
