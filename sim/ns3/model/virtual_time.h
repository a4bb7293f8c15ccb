// Virtual time in nanoseconds, and events at absolute times.
#pragma once

#include <ns3/nstime.h>
#include <ns3/simulator.h>

#include <cstdint>
#include <utility>

namespace qpip::sim {

inline uint64_t NowNs() { return static_cast<uint64_t>(ns3::Simulator::Now().GetNanoSeconds()); }

/// Rounds up: an event never comes before what it stands for.
inline uint64_t CeilNs(uint64_t ps) { return (ps + 999) / 1000; }

/// Schedules `action` at an absolute time, now at the earliest.
template <typename Action>
ns3::EventId ScheduleAt(uint64_t at_ns, Action action) {
  const uint64_t now = NowNs();
  const uint64_t delay = at_ns > now ? at_ns - now : 0;
  return ns3::Simulator::Schedule(ns3::NanoSeconds(delay), std::move(action));
}

}  // namespace qpip::sim
