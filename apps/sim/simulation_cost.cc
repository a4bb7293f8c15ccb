#include "apps/sim/simulation_cost.h"

#include <ns3/simulator.h>
#include <sys/resource.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>

namespace qpip::apps {
namespace {

/// The most that this process has had in memory so far.
uint64_t MostResidentBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

SimulationCost::SimulationCost()
    : before_(sim::SetWorldWatcher(this)), resident_at_start_(MostResidentBytes()) {}

SimulationCost::~SimulationCost() { sim::SetWorldWatcher(before_); }

void SimulationCost::OnBuilt(sim::World& world) {
  most_nics_ = std::max<uint64_t>(most_nics_, world.hosts().size());
}

void SimulationCost::OnEnd(sim::World& world) {
  events_ += ns3::Simulator::GetEventCount();
  for (sim::Host& host : world.hosts()) packets_ += host.device->link()->frames;
}

std::string SimulationCost::Text() const {
  if (most_nics_ == 0) return {};
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const auto resident = static_cast<double>(MostResidentBytes() - resident_at_start_);
  const auto events = static_cast<double>(events_);
  const auto packets = static_cast<double>(packets_);
  char text[256];
  std::snprintf(text, sizeof(text),
                "simulated %" PRIu64 " events and %" PRIu64
                " packets in %.2f s: %.0f events/s, %.2f us a packet, %.0f kB a NIC\n",
                events_, packets_, seconds, events / seconds,
                packets == 0 ? 0 : seconds * 1e6 / packets,
                resident / static_cast<double>(most_nics_) / 1000);
  return text;
}

}  // namespace qpip::apps
