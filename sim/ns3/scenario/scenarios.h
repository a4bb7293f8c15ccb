// The scenarios there are, one source each.
#pragma once

#include "sim/ns3/scenario/scenario.h"
#include "sim/ns3/world/stop.h"
#include "sim/ns3/world/world.h"

namespace qpip::sim {

Scenario PingScenario();      ///< ping.cc: round trips (paper Figure 3)
Scenario TtcpScenario();      ///< ttcp.cc: bulk transfer (paper Figure 4)
Scenario NbdScenario();       ///< nbd.cc: network block device (paper Figure 7)
Scenario IncastScenario();    ///< incast.cc: many to one
Scenario AllToAllScenario();  ///< all_to_all.cc: everybody to many
Scenario MixedScenario();     ///< mixed.cc: bulk, round trips and datagrams side by side
Scenario StagesScenario();    ///< stages.cc: stage costs (paper Tables 2 and 3)
Scenario MessageScenario();   ///< message.cc: one message's critical path

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
/// Adds utilisation of NIC resources and host processor over [start, end), prefixed by `who`.
void AddUtilisation(ScenarioResult* result, const std::string& who, const Host& host,
                    const CoreTotals& before, const HostTotals& host_before, uint64_t start_ns,
                    uint64_t end_ns);

}  // namespace qpip::sim
