// The host's side of a simulated NIC: abi::HostPort in virtual time.
//
// The NIC's core runs by itself, as events. What the host's processor does costs virtual time: a
// post, a poll, an interrupt. A call that must not block (RingDoorbell, under host_lib's locks)
// only adds to the debt of the running context; the debt is let pass at its next call that may
// block, and everything in between (doorbells, NowNs) is stamped with it.
//
// Polling does not make an event a look: a context that polls in vain sleeps until the NIC writes
// to host memory, and returns at the next look after that; the time counts as busy.
#pragma once

#include <ns3/object.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "host_lib/port/host_port.h"
#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/nic_core.h"

namespace qpip::sim {

/// Processor time of a host, by what it was spent on, in picoseconds.
struct HostTotals {
  uint64_t post_ps = 0;       ///< PostSend and PostRecv
  uint64_t poll_ps = 0;       ///< Poll that found a completion
  uint64_t spin_ps = 0;       ///< Poll that found none
  uint64_t interrupt_ps = 0;  ///< interrupts and wake-ups
  uint64_t application_ps = 0;
  uint64_t posts = 0;
  uint64_t completions = 0;
  uint64_t interrupts = 0;
  /// Without fruitless polling, which takes whatever time is left.
  uint64_t WorkPs() const { return post_ps + poll_ps + interrupt_ps + application_ps; }
};

/// How a simulated NIC is configured beside its profile.
struct HostPortOptions {
  fw::NicConfig config;  ///< from NicModel::firmware, with address and table sizes
  std::string description;
  ns3::Ptr<ns3::Object> owner;  ///< of core, model and state: kept as long as the port
  /// How long one fruitless poll may look ahead. A look that finds nothing returns then at the
  /// latest; programs that poll several NICs from one fibre, or a clock, want it short.
  uint64_t poll_ahead_ns = 20000;
};

/// Counts outlive the port: they belong to the device.
struct HostState {
  HostTotals totals;
  NicCore* processor = nullptr;  ///< the core, when programs run on it
};

/// Makes the port of a core. `core`, `model` and `state` must outlive it. When the device has left
/// the simulation, objects can still be destroyed; whatever else waits throws Error ENODEV.
std::unique_ptr<abi::HostPort> MakeSimHostPort(NicCore& core, const NicModel& model,
                                               HostPortOptions options, HostState& state);

/// The running program's own time: virtual time plus what its processor has spent but not let pass.
uint64_t HostNowNs();

/// Spends processor time of the running program's host on something else than the NIC: a file
/// system, a checksum, a copy. May block.
void SpendHostTime(HostState& state, uint64_t ps);

}  // namespace qpip::sim
