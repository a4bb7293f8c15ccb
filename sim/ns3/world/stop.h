// A request from outside (Ctrl-C, say) that the running World's programs end early.
#pragma once

namespace qpip::sim {

/// Asked at every look of every program: must be fast and must not throw.
using StopQuery = bool (*)();

/// Programs stop as soon as `query` answers true. nullptr: nobody asks. Returns the one before. Of
/// the process, as the simulation is; not thread-safe.
StopQuery SetStopQuery(StopQuery query);
/// Whether the programs shall end with what they have.
bool StopRequested();

}  // namespace qpip::sim
