// A recording as a Trace Event file, which Perfetto (https://ui.perfetto.dev) and chrome://tracing
// open: a process for every NIC; in it a track for each FSM of the core, each DMA engine, each
// direction of the link, and for connections' state changes.
#pragma once

#include <ostream>

#include "sim/ns3/trace/recording.h"

namespace qpip::sim {

/// Writes the JSON text. Times are virtual, from the start of the simulation.
void WriteTraceEvents(const Recording& recording, std::ostream& out);

}  // namespace qpip::sim
