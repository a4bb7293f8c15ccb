// What a simulation takes of this machine: events, wall time, memory.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "sim/ns3/world/world.h"

namespace qpip::apps {

/// Adds up every World of the process while it lives. One at a time.
class SimulationCost : private sim::WorldWatcher {
 public:
  SimulationCost();
  ~SimulationCost() override;
  SimulationCost(const SimulationCost&) = delete;
  SimulationCost& operator=(const SimulationCost&) = delete;

  /// One line: events and their rate, packets (data and acknowledgements) and the wall time of one,
  /// resident bytes a NIC. Empty when there was no World.
  std::string Text() const;

 private:
  void OnBuilt(sim::World& world) override;
  void OnEnd(sim::World& world) override;

  sim::WorldWatcher* const before_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const uint64_t resident_at_start_;
  uint64_t events_ = 0;
  uint64_t packets_ = 0;
  uint64_t most_nics_ = 0;
};

}  // namespace qpip::apps
