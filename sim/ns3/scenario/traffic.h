// Bulk traffic between many hosts: any set of flows, each a TCP queue pair of its own.
//
// One program a host serves all its flows from one completion queue: it offers a queue pair for
// each flow that comes in, connects those that go out, waits until all hosts have done so, and then
// keeps `depth` messages of each flow under way.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "sim/ns3/scenario/barrier.h"
#include "sim/ns3/scenario/scenarios.h"
#include "sim/ns3/scenario/window.h"

namespace qpip::sim {

/// From one host to another, by index in the World.
struct Flow {
  uint32_t source = 0;
  uint32_t destination = 0;
};

struct TrafficOptions {
  uint32_t message_bytes = 65536;
  uint32_t messages = 1;  ///< of each flow
  uint32_t depth = 1;     ///< messages of a flow outstanding, and receives posted
  /// One host in so many checks every byte it receives, and what is sent to it has content; all
  /// else is phantom memory. 0: nobody checks.
  uint32_t check_every = 0;
};

class HostProgram;

/// Declare after the World it uses.
class Traffic {
 public:
  Traffic(World& world, std::vector<Flow> flows, const TrafficOptions& options);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  /// Enlarges the tables of a World's NICs so that such flows find room.
  static void Fit(const std::vector<Flow>& flows, const TrafficOptions& options,
                  WorldOptions* world);

  /// Starts the programs; World::Run runs them.
  void Start();
  /// Programs besides may wait here until every flow is connected; Start counts them in.
  void ExpectPartners(uint32_t partners) { partners_ = partners; }
  Barrier& connected() { return *connected_; }
  /// Whether every message has been acknowledged.
  bool done() const { return unfinished_ == 0; }

  /// After World::Run: throughput, fairness, latency, and in the details each flow; and what NICs
  /// and fabric did from the moment all flows were connected until all messages were acknowledged.
  void AddMetrics(ScenarioResult* result);

 private:
  friend class HostProgram;
  struct FlowTimes {
    uint64_t end_ns = 0;    ///< last message acknowledged; 0: not yet
    uint32_t messages = 0;  ///< acknowledged
  };

  /// Whether a host checks what it receives.
  bool Checks(uint32_t host) const {
    return options_.check_every != 0 && host % options_.check_every == 0;
  }

  World& world_;
  const std::vector<Flow> flows_;
  const TrafficOptions options_;
  std::vector<FlowTimes> times_;  ///< by flow
  std::vector<float> latencies_us_;
  std::vector<std::unique_ptr<HostProgram>> programs_;
  std::unique_ptr<Barrier> listening_;
  std::unique_ptr<Barrier> connected_;
  uint32_t partners_ = 0;
  uint64_t unfinished_ = 0;
  MeasuredWindow window_;
  uint64_t bytes_verified_ = 0;
};

/// A whole scenario: builds a World large enough, lets the flows run, and says what there was to
/// see.
ScenarioResult RunTraffic(const Profile& profile, WorldOptions world_options,
                          const std::vector<Flow>& flows, const TrafficOptions& options);

/// What Traffic::AddMetrics adds.
std::vector<MetricSpec> TrafficMetrics();
/// Parameters that scenarios of this traffic share, and their values.
std::vector<ScenarioParameter> TrafficParameters(std::vector<ScenarioParameter> own);
TrafficOptions TrafficArguments(const ScenarioArguments& arguments);

}  // namespace qpip::sim
