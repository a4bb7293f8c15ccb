// The management side of the ABI: the command ring and the event ring.
//
// Commands are answered by events, and connections report through events, so whoever waits for
// anything here does the same: read the progress word, check the condition, dispatch what has
// arrived, and sleep until the word changes. Events are dispatched strictly in ring order by one
// thread at a time, whichever is there; a command's `on_done` runs in that order too.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "host_lib/port/host_port.h"
#include "memory.h"
#include "nic_fw/abi/command.h"
#include "nic_fw/abi/completion.h"
#include "qpip/types.h"

namespace qpip::internal {

/// The moment `timeout` from now, on the platform's clock; UINT64_MAX: never.
uint64_t DeadlineNs(abi::HostPlatform& platform, Timeout timeout);

/// Thread-safe.
class CommandChannel {
 public:
  using EventHandler = std::function<void(const abi::Event&)>;

  /// `on_event` is called for every event that is no answer, in order, one at a time. It must not
  /// wait for anything. The event ring is sized so that `max_qps` queue pairs cannot overflow it.
  CommandChannel(abi::HostPort& port, uint32_t max_qps, EventHandler on_event);
  CommandChannel(const CommandChannel&) = delete;
  CommandChannel& operator=(const CommandChannel&) = delete;

  /// Where the rings are, for HostPort::Start.
  abi::RingSetup Setup() const;

  /// Sends a command (its id is filled in here) and waits for the answer. `on_done` sees the
  /// answer before any later event is dispatched and before this returns; it must not wait.
  abi::Event Execute(const abi::Command& command, const EventHandler& on_done = {});

  /// Dispatches the events that have arrived. Costs one cached load when there is none; leaves
  /// them to another thread that is dispatching.
  void DispatchIfAny() {
    if (EventWaiting()) TryDispatch();
  }

  /// Waits, running the core, until `condition()` or the deadline. Returns the condition.
  template <typename Condition>
  bool WaitUntil(Condition condition, uint64_t deadline_ns) {
    for (;;) {
      const uint32_t seen = Progress().load(std::memory_order_acquire);
      Dispatch();
      if (condition()) return true;
      if (deadline_ns != UINT64_MAX && port_.platform().NowNs() >= deadline_ns) return false;
      port_.DriveUntil(&progress_, seen, deadline_ns);
    }
  }

  /// The NIC has written an event. Callable with the core's lock held.
  void OnInterrupt() {
    interrupts_.fetch_add(1, std::memory_order_acq_rel);
    NotifyWaiters();
  }
  /// Makes every WaitUntil look at its condition again.
  void NotifyWaiters();

 private:
  struct Pending {
    const EventHandler* on_done;
    abi::Event answer;
    std::atomic<bool> done{false};
  };

  std::atomic_ref<uint32_t> Progress() { return std::atomic_ref<uint32_t>(progress_); }
  abi::Event& EventAt(uint32_t index) const {
    return reinterpret_cast<abi::Event*>(event_ring_.data())[index & ((1u << event_log2_) - 1)];
  }
  bool EventWaiting() const {
    const uint32_t index = event_consumer_.load(std::memory_order_acquire);
    const std::atomic_ref<uint32_t> valid(EventAt(index).valid);
    return valid.load(std::memory_order_acquire) == abi::CqeLap(index, event_log2_);
  }
  bool TryPost(const abi::Command& command, Pending* pending);
  void AnnounceAgain();
  void AnnounceLocked();
  void TryDispatch();
  void Dispatch();
  void DispatchLocked();
  void OnAnswer(const abi::Event& event);

  abi::HostPort& port_;
  EventHandler on_event_;
  uint32_t event_log2_;
  MappedMemory command_ring_;
  MappedMemory event_ring_;
  MappedMemory reassembly_pool_;  ///< empty where the NIC has no slots

  /// Guards the command ring; a slot is free when nobody waits for its last command's answer.
  std::mutex command_mutex_;
  uint32_t command_producer_ = 0;
  std::vector<std::atomic<Pending*>> pending_;

  std::mutex dispatch_mutex_;
  std::atomic<uint32_t> event_consumer_{0};  ///< written under dispatch_mutex_

  std::atomic<uint32_t> interrupts_{0};
  /// What `interrupts_` was when the commands were announced last; written under command_mutex_.
  std::atomic<uint32_t> announced_at_{0};
  alignas(64) uint32_t progress_ = 0;  ///< shared with the NIC's sleeping threads
};

}  // namespace qpip::internal
