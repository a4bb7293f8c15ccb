// The scenarios there are, one source each.
#pragma once

#include "sim/ns3/scenario/scenario.h"
#include "sim/ns3/world/stop.h"
#include "sim/ns3/world/world.h"

namespace qpip::sim {

Scenario PingScenario();       ///< ping.cc: round trips (paper Figure 3)
Scenario TtcpScenario();       ///< ttcp.cc: bulk transfer (paper Figure 4)
Scenario NbdScenario();        ///< nbd.cc: network block device (paper Figure 7)
Scenario IncastScenario();     ///< incast.cc: many to one
Scenario AllToAllScenario();   ///< all_to_all.cc: everybody to many
Scenario MixedScenario();      ///< mixed.cc: bulk, round trips and datagrams side by side
Scenario StagesScenario();     ///< stages.cc: stage costs (paper Tables 2 and 3)
Scenario MessageScenario();    ///< message.cc: one message's critical path
Scenario RdmaWriteScenario();  ///< rdma.cc: Writes of one host to another
Scenario RdmaReadScenario();   ///< rdma.cc: Reads likewise
Scenario RdmaSendScenario();   ///< rdma.cc: Sends likewise

// --- Shared by them

inline constexpr uint16_t kTtcpPort = 5001;

/// Topology, loss and seed of the arguments.
WorldOptions CommonOptions(const ScenarioArguments& arguments);
/// Throws what a post has returned, unless that is 0.
void RequirePosted(int error);
/// Throws Error EINTR when the run shall end: before there was anything to measure.
void RequireNotStopped();
/// Processor time that the programs of a host have worked, and its core when the profile says that
/// the core is one of the host's processors; in picoseconds.
uint64_t HostWorkPs(const Host& host, const CoreTotals& core, const HostTotals& programs);

/// Adds NAME_p50_us, _p90_us, _p99_us and _max_us. Sorts the samples; adds nothing without any.
void AddPercentiles(const std::string& name, std::vector<float>* samples_us,
                    ScenarioResult* result);
void AddPercentiles(const std::string& name, std::vector<double>* samples_us,
                    ScenarioResult* result);
/// Those metrics; `what` are the samples.
std::vector<MetricSpec> PercentileMetrics(const std::string& name, const std::string& what);
void Append(std::vector<MetricSpec>* to, const std::vector<MetricSpec>& more);

}  // namespace qpip::sim
