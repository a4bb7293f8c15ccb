// Virtual time in nanoseconds, and events at absolute times.
#pragma once

#include <ns3/event-impl.h>
#include <ns3/nstime.h>
#include <ns3/ptr.h>
#include <ns3/simulator.h>

#include <boost/pool/singleton_pool.hpp>
#include <cstdint>
#include <utility>

// GCC says so by a macro, clang when asked.
#if defined(__SANITIZE_ADDRESS__)
#define QPIP_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QPIP_ADDRESS_SANITIZER 1
#endif
#endif

namespace qpip::sim {

/// The present, in whole nanoseconds: an event in a phase (below) belongs to its nanosecond.
inline uint64_t NowNs() { return static_cast<uint64_t>(ns3::Simulator::Now().GetNanoSeconds()); }

/// Rounds up: an event never comes before what it stands for.
inline uint64_t CeilNs(uint64_t ps) { return (ps + 999) / 1000; }

struct EventPoolTag {};

/// An event from a pool of its size, which gives out first what came back last and is in the cache.
/// Not thread-safe: a simulation runs on one thread.
template <typename Action>
class PooledEvent : public ns3::EventImpl {
 public:
  explicit PooledEvent(Action action) : action_(std::move(action)) {}

#ifndef QPIP_ADDRESS_SANITIZER  // a pool would hide the use of what was freed
  static void* operator new(size_t) { return Pool<sizeof(PooledEvent)>::malloc(); }
  static void operator delete(void* event) { Pool<sizeof(PooledEvent)>::free(event); }
#endif

 private:
  template <size_t bytes>
  using Pool = boost::singleton_pool<EventPoolTag, bytes, boost::default_user_allocator_new_delete,
                                     boost::details::pool::null_mutex>;
  void Notify() override { action_(); }
  Action action_;
};

/// Schedules `action` at an absolute time plus `phase` picoseconds (below 1000), now at the
/// earliest.
template <typename Action>
ns3::EventId SchedulePhase(uint64_t at_ns, uint32_t phase, Action action) {
  const ns3::Time now = ns3::Simulator::Now();
  const ns3::Time at = ns3::NanoSeconds(at_ns) + ns3::PicoSeconds(phase);
  return ns3::Simulator::Schedule(
      at > now ? at - now : ns3::Time(),
      ns3::Ptr<ns3::EventImpl>(new PooledEvent<Action>(std::move(action)), false));
}

/// Schedules `action` at an absolute time, now at the earliest.
template <typename Action>
ns3::EventId ScheduleAt(uint64_t at_ns, Action action) {
  return SchedulePhase(at_ns, 0, std::move(action));
}

}  // namespace qpip::sim
