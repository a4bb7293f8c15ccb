// Sleeping and waking: the two parked states of core.h.

#include <algorithm>

#include "sim/lanai/core.h"

namespace qpip::lanai {

namespace {

// Once nobody is parked, the core thread is to look within this time; sooner when threads sleep on
// their words and depend on it.
constexpr uint64_t kNearTickNs = 1000000;
constexpr uint64_t kNearTickWithWaitersNs = 50000;

}  // namespace

void Core::WakeParked() {
  // Only the first of several doorbells pays for the system call.
  if (asleep_.exchange(false, std::memory_order_seq_cst)) wire_->Wake();
}

// Lock held, by somebody who has left a park as it was. What is left over, or is to be told, is the
// sleeper's; so is a deadline that is earlier now.
void Core::WakeForWork(bool left) {
  if (ParkerOf(park_.load(std::memory_order_relaxed)) == Parker::kNobody) return;
  left = left || untold_.load(std::memory_order_seq_cst);
  if (left || firmware_.next_deadline(arena_) < park_deadline_ns_) WakeParked();
}

// The core thread is to take over now. The order "called_ written, next_tick_ns_ read" here, and
// the opposite one in SleepTick, see to it that one of the two notices the other.
void Core::CallThread() {
  calls_.fetch_add(1, std::memory_order_relaxed);
  called_.store(true, std::memory_order_seq_cst);
  if (next_tick_ns_.load(std::memory_order_seq_cst) == 0) return;  // it is awake
  std::atomic_ref<uint32_t>(tick_word_).fetch_add(1, std::memory_order_seq_cst);
  FutexWakeAll(&tick_word_);
}

// Lock held by a thread that is not the parked one. Ends the park: the wire takes the port for
// awake from now on, and the core thread goes to standby.
void Core::Unpark() {
  wire_->CancelSleep();
  const uint64_t park = park_.load(std::memory_order_relaxed);
  park_.store(park & ~kParkerMask, std::memory_order_seq_cst);
  const bool asleep = asleep_.exchange(false, std::memory_order_seq_cst);
  ++counts_.parks_ended_by_others;
  if (ParkerOf(park) == Parker::kCoreThread) {
    // One wake-up at the start of a period of polling; in standby it costs nothing more.
    if (asleep) wire_->Wake();
  } else {
    // The runner may sleep on: its word's change reaches it (WakeWord). What it attended to is the
    // core thread's again.
    EnsureTick();
  }
}

// Lock held by the parked thread itself.
void Core::EndOwnPark() {
  wire_->CancelSleep();
  park_.store(park_.load(std::memory_order_relaxed) & ~kParkerMask, std::memory_order_seq_cst);
}

// Lock held, nobody parked and nobody in Wire::Sleep. Sleeps until there is something to do, the
// deadline, or `*word` (may be null) differs from `expected`. Returns true with the lock held, or
// false, without the lock, when another thread has ended the park.
bool Core::Park(Parker parker, const uint32_t* word, uint32_t expected, uint64_t deadline_ns) {
  const uint64_t generation = (park_.load(std::memory_order_relaxed) | kParkerMask) + 1;
  const uint64_t mine = generation | static_cast<uint64_t>(parker);
  in_wire_sleep_.store(true, std::memory_order_seq_cst);
  runner_word_.exchange(word, std::memory_order_seq_cst);
  wire_->PrepareSleep();
  park_.store(mine, std::memory_order_seq_cst);
  asleep_.exchange(true, std::memory_order_seq_cst);

  // The last look: from here on whoever brings work also wakes this thread.
  Run(1, word != nullptr);
  const bool changed = word != nullptr && LoadWord(word) != expected;
  const bool tell =
      parker == Parker::kCoreThread && untold_.load(std::memory_order_seq_cst);  // its office
  const bool sleep = idle_ && !changed && !tell && !stopping_.load(std::memory_order_seq_cst);
  if (sleep) {
    if (parker == Parker::kRunner) {
      ++counts_.parks_runner;
    } else {
      ++counts_.parks_core_thread;
    }
    const uint64_t until_ns = park_deadline_ns_ = SleepDeadline(deadline_ns);
    Unlock();
    wire_->Sleep(until_ns);
  }
  runner_word_.store(nullptr, std::memory_order_seq_cst);
  asleep_.store(false, std::memory_order_seq_cst);
  in_wire_sleep_.store(false, std::memory_order_seq_cst);
  if (sleep) {
    Spinner spinner;
    while (!TryLock()) {
      // Who has the lock has ended this park, or is only looking (Attend).
      if (park_.load(std::memory_order_seq_cst) != mine) return false;
      spinner.Pause();
    }
    if (park_.load(std::memory_order_relaxed) != mine) {
      Unlock();
      return false;
    }
  }
  EndOwnPark();
  return true;
}

// Nobody is parked now. If the core thread believes that a runner sleeps and has gone to rest for
// long, it is made to tick soon. The order "park_ written, next_tick_ns_ read" here, and the
// opposite one in SleepTick, see to it that one of the two notices the other.
void Core::EnsureTick() {
  const uint64_t next_ns = next_tick_ns_.load(std::memory_order_seq_cst);
  if (next_ns == 0) return;  // it is awake
  const bool waiters = waiters_.load(std::memory_order_relaxed) != 0;
  const bool alone = polls_beside_sleeper_.load(std::memory_order_relaxed) != 0;
  // A thread is back before the tick that there is.
  if (!waiters && !alone && wait_habit_.steady()) return;
  const uint64_t soon_ns =
      MonotonicNs() + (waiters ? kNearTickWithWaitersNs : std::max(kNearTickNs, LeastTickNs()));
  if (next_ns <= soon_ns) return;
  next_tick_ns_.store(soon_ns, std::memory_order_relaxed);
  std::atomic_ref<uint32_t>(tick_word_).fetch_add(1, std::memory_order_seq_cst);
  FutexWakeAll(&tick_word_);
}

}  // namespace qpip::lanai
