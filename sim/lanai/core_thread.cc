// The core's own thread: runs the firmware when no application thread does, else ticks.

#include <sched.h>

#include <algorithm>

#include "sim/lanai/core.h"

namespace qpip::lanai {

namespace {

// Handlers at a time before an application thread gets a chance to take the lock.
constexpr uint32_t kAttendLimit = 256;

// The first tick comes soon, for applications that poll once and then wait for something else
// (epoll); a driver that keeps driving is disturbed a thousand times a second at most.
constexpr uint64_t kFirstTickNs = 50000;
constexpr uint64_t kLastTickNs = 1000000;
constexpr uint64_t kRestNs = 100000000;

// For so long a thread that has waited is expected to do so again.
constexpr uint64_t kPatienceNs = 10000000;

}  // namespace

void Core::ThreadMain() {
  while (!stopping_.load(std::memory_order_seq_cst)) {
    takeovers_.fetch_add(1, std::memory_order_relaxed);
    Attend();
    Standby();
  }
}

// Runs the firmware and sleeps for it, until an application thread takes over.
void Core::Attend() {
  while (!stopping_.load(std::memory_order_seq_cst)) {
    TellTroubles();
    // Whoever calls expects the core to be attended to when it is free again.
    const bool called = called_.exchange(false, std::memory_order_seq_cst);
    if (!(called ? LockSoon() : TryLock())) return;
    // Only a look: a runner's park is left as it is.
    if (ParkerOf(park_.load(std::memory_order_relaxed)) == Parker::kRunner) {
      Unlock();
      return;
    }
    Run(kAttendLimit, false);
    if (!idle_) {
      Unlock();
      sched_yield();
      continue;
    }
    if (in_wire_sleep_.load(std::memory_order_seq_cst)) {
      // A runner whose park was ended sleeps on in the wire; it is to sleep on its word instead.
      wire_->Wake();
      Unlock();
      return;
    }
    if (!Park(Parker::kCoreThread, nullptr, 0, UINT64_MAX)) return;
    Unlock();
  }
}

// Ticks as long as application threads drive, or one of them is parked as the runner.
void Core::Standby() {
  uint64_t interval_ns = kFirstTickNs;
  uint64_t silent_since_ns = 0;  // 0: somebody has driven at the last tick
  bool resting = false;          // since a runner is parked
  while (!stopping_.load(std::memory_order_seq_cst)) {
    if (called_.load(std::memory_order_seq_cst)) return;
    const uint32_t driven = driven_.load(std::memory_order_relaxed);
    const uint64_t park = park_.load(std::memory_order_relaxed);
    ticks_.fetch_add(1, std::memory_order_relaxed);
    TellTroubles();
    const bool waiters = waiters_.load(std::memory_order_relaxed) != 0;
    if (!waiters) interval_ns = std::max(interval_ns, std::min(LeastTickNs(), kRestNs));
    if (!SleepTick(interval_ns, resting)) {
      hurried_ticks_.fetch_add(1, std::memory_order_relaxed);
      interval_ns = waiters ? kFirstTickNs : kLastTickNs;
      resting = false;
      continue;
    }
    resting = false;
    const uint64_t park_now = park_.load(std::memory_order_seq_cst);
    const uint64_t now_ns = MonotonicNs();
    const bool waits = waits_.load(std::memory_order_relaxed);
    const uint64_t last_ns = waits && wait_habit_.steady() ? kRestNs : kLastTickNs;
    if (ParkerOf(park_now) == Parker::kRunner) {
      interval_ns = park_now == park ? std::min(interval_ns * 10, kRestNs) : last_ns;
      resting = interval_ns > last_ns;
      silent_since_ns = 0;
      continue;
    }
    if (driven_.load(std::memory_order_relaxed) != driven) {
      interval_ns = std::min(interval_ns * 2, last_ns);
      silent_since_ns = 0;
      continue;
    }
    if (silent_since_ns == 0) {
      silent_since_ns = now_ns;
      interval_ns = kFirstTickNs;
    }
    if (waiters || !waits || now_ns - silent_since_ns >= kPatienceNs + LeastTickNs() ||
        LookAround()) {
      return;
    }
    interval_ns = std::min(interval_ns * 2, kLastTickNs);
  }
}

// Runs the firmware if nobody else does. True when there was something to do.
bool Core::LookAround() {
  if (!TryLock()) return false;
  const bool parked = ParkerOf(park_.load(std::memory_order_relaxed)) != Parker::kNobody;
  const bool did = !parked && Run(kAttendLimit, false);
  if (did) wait_habit_.Missed();
  Unlock();
  return did;
}

// Sleeps one tick. Returns false when somebody has asked for an earlier one. `resting`: only as
// long as a runner is parked.
bool Core::SleepTick(uint64_t interval_ns, bool resting) {
  const uint32_t word = LoadWord(&tick_word_);
  const uint64_t until_ns = MonotonicNs() + interval_ns;
  next_tick_ns_.store(until_ns, std::memory_order_seq_cst);
  const bool runner_left =
      resting && ParkerOf(park_.load(std::memory_order_seq_cst)) != Parker::kRunner;
  if (!runner_left && !stopping_.load(std::memory_order_seq_cst) &&
      !untold_.load(std::memory_order_seq_cst) && !called_.load(std::memory_order_seq_cst)) {
    FutexWait(&tick_word_, word, until_ns);
  }
  next_tick_ns_.store(0, std::memory_order_seq_cst);
  const uint64_t now_ns = MonotonicNs();
  const uint64_t late_ns = late_ns_.load(std::memory_order_relaxed);
  late_ns_.store(std::max(late_ns - late_ns / 4, now_ns > until_ns ? now_ns - until_ns : 0),
                 std::memory_order_relaxed);
  return !runner_left && LoadWord(&tick_word_) == word;
}

}  // namespace qpip::lanai
