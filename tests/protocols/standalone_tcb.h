// A Tcb that has its tables beside it.
#pragma once

#include <cstdint>

#include "protocols/tcp/tcb.h"

namespace qpip::tcp {

/// May be copied and moved: the tables come along.
struct StandaloneTcb : Tcb {
  static constexpr uint32_t kRuns = 256;  // what a NIC on a host has

  StandaloneTcb() {
    rcv.held.ranges.Place(held_ranges, kRuns);
    sent.runs.Place(sent_runs, kRuns);
  }

  HeldRange held_ranges[kRuns];
  SentRun sent_runs[kRuns];
};

/// The same of a scoreboard alone.
struct StandaloneScoreboard : Scoreboard {
  static constexpr uint32_t kRuns = 32;

  StandaloneScoreboard() { runs.Place(storage, kRuns); }

  SentRun storage[kRuns];
};

/// And of what is held.
struct StandaloneReassembly : Reassembly {
  static constexpr uint32_t kRanges = 32;

  StandaloneReassembly() { ranges.Place(storage, kRanges); }

  HeldRange storage[kRanges];
};

}  // namespace qpip::tcp
