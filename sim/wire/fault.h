// The fault decorator with a clock of one's own, for tests and simulations.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "sim/wire/wire.h"

namespace qpip::wire {

/// Nanoseconds on the time line of Housekeeping and Sleep. Called by whoever calls the wire.
using WireClock = std::function<uint64_t()>;

/// DecorateFault, but delays, holding back and flapping follow `clock` rather than CLOCK_MONOTONIC.
/// Which frames are hit depends on `options.seed` and the sequence of Send calls only (link flaps
/// excepted, which depend on the time).
std::unique_ptr<Wire> DecorateFaultWithClock(std::unique_ptr<Wire> inner,
                                             const FaultOptions& options, WireClock clock);

}  // namespace qpip::wire
