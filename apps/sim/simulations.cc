#include "apps/sim/simulations.h"

#include <cstdio>
#include <thread>

#include "apps/common/command_line.h"
#include "apps/common/json_output.h"
#include "apps/common/statistics.h"
#include "apps/sim/children.h"
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
    nlohmann::json words = nlohmann::json::object();
    for (const auto& [name, word] : result.words) words[name] = word;
    return {{"metrics", metrics}, {"words", words}, {"details", result.details}};
  } catch (const std::exception& error) {
    return {{"error", error.what()}};
  }
}

SimulationOutcome Outcome(const EndedChild& child) {
  SimulationOutcome outcome;
  if (!child.fine) {
    outcome.error = "the simulation's process died";
    return outcome;
  }
  const nlohmann::json json = nlohmann::json::parse(child.output, nullptr, false);
  if (json.is_discarded()) {
    outcome.error = "the simulation's process gave no result";
  } else if (json.contains("error")) {
    outcome.error = json["error"].get<std::string>();
  } else {
    for (const auto& [name, value] : json["metrics"].items()) {
      if (value.is_number()) outcome.metrics[name] = value.get<double>();
    }
    for (const auto& [name, word] : json["words"].items()) outcome.words[name] = word;
    outcome.details = json["details"];
  }
  return outcome;
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
  Children children;
  size_t next = 0;
  uint64_t done = 0;
  while (next < waiting_.size() || children.size() != 0) {
    while (next < waiting_.size() && children.size() < processes) {
      children.Start(next, [this, next](int output) {
        WriteAll(output, JsonText(RunHere(waiting_[next])));
        return kExitOk;
      });
      ++next;
    }
    const EndedChild ended = children.WaitForOne();
    outcomes_[waiting_[ended.number].Command()] = Outcome(ended);
    progress.Update(++done);
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
