// Application threads that wait: they run the core as long as they can, and sleep as its runner.

#include <sched.h>

#include <algorithm>

#include "sim/lanai/core.h"

namespace qpip::lanai {

namespace {

// Handlers at a time before the word is looked at again.
constexpr uint32_t kWaitLimit = 64;

}  // namespace

/// A call of DriveUntil.
struct Core::Waiting {
  const uint32_t* word;
  uint32_t expected;
  uint64_t deadline_ns;
  uint64_t spin_until_ns;
  bool decided = false;         ///< since there was last something to do: whether to spin
  bool spinning = false;        ///< it does
  bool slept = false;           ///< as the runner, or gave way
  bool contended = false;       ///< others have work for this processor
  bool gave_way = false;        ///< since there was last something to do
  uint64_t away_ns = 0;         ///< for how long, when that is not yet thought about
  uint32_t turns = 0;           ///< that others of the fabric had meanwhile
  bool sleeper_called = false;  ///< a thread still in Wire::Sleep was told to get up
  Spinner spinner;

  bool Over() const { return LoadWord(word) != expected; }
};

bool Core::DriveBeforeSleep() {
  waits_.store(true, std::memory_order_relaxed);
  wait_habit_.Returned();
  return DriveOnce(/*until_notification=*/true);
}

void Core::DriveUntil(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) {
  if (LoadWord(word) != expected) return;
  waits_.store(true, std::memory_order_relaxed);
  wait_habit_.Returned();
  in_drive_until_.fetch_add(1, std::memory_order_seq_cst);
  Waiting waiting{.word = word,
                  .expected = expected,
                  .deadline_ns = deadline_ns,
                  .spin_until_ns = MonotonicNs() + options_.spin_ns,
                  .spinner = {}};
  while (!waiting.Over() && !stopping_.load(std::memory_order_seq_cst)) {
    // A runner that is parked attends to everything; two would wake each other up.
    Round round = Round::kWaitOnWord;
    if (ParkerOf(park_.load(std::memory_order_seq_cst)) != Parker::kRunner) {
      round = TryToRun(waiting);
    }
    if (round == Round::kDone) break;
    if (round == Round::kWaitOnWord) {
      WaitOnWord(waiting);
      if (MonotonicNs() >= deadline_ns) break;
    }
  }
  // Hand over: other threads may depend on what this one attended to.
  EnsureTick();
  in_drive_until_.fetch_sub(1, std::memory_order_seq_cst);
  wait_habit_.Left(waiting.slept);
}

// One pause of a thread that spins. What it finds out is for its next turn with the lock.
void Core::Pause(Waiting& waiting) {
  if (!waiting.spinner.Pause()) return;
  waiting.contended = true;
  waiting.spin_until_ns = 0;
}

// Lets others have the processor. Where the wire does not know who they are, nobody else's work is
// known from what this thread waits for: it had better sleep.
void Core::GiveWay(Waiting& waiting) {
  const std::optional<wire::Turn> before = wire_->TakeTurn();
  if (!before) return;
  const uint64_t left_ns = MonotonicNs();
  sched_yield();
  const std::optional<wire::Turn> after = wire_->TakeTurn();
  if (!after || after->processor != before->processor) return;
  waiting.away_ns = MonotonicNs() - left_ns;
  waiting.turns = after->number - before->number - 1;
}

// One round of driving, spinning or sleeping as the runner.
Core::Round Core::TryToRun(Waiting& waiting) {
  if (!TryLock()) {
    if (MonotonicNs() >= std::min(waiting.spin_until_ns, waiting.deadline_ns)) {
      return Round::kWaitOnWord;
    }
    Pause(waiting);
    return Round::kAgain;
  }
  if (!running_) {
    Unlock();
    return Round::kDone;
  }
  const bool did = DriveLocked(true);
  const bool idle = idle_;
  const uint64_t now_ns = now_ns_;
  if (waiting.contended) spin_habit_.Contended(now_ns);
  if (waiting.away_ns != 0) {
    give_way_habit_.Back(now_ns, waiting.away_ns, waiting.turns);
    waiting.away_ns = 0;
  }
  if (did || !idle) {
    waiting.gave_way = false;
    // What came while somebody else had the processor was not spun for.
    if (waiting.spinning && !waiting.contended && waiting.Over()) spin_habit_.Paid();
    // Should another thread take the lock: it is worth the same patience.
    waiting.spin_until_ns = waiting.contended ? now_ns : now_ns + options_.spin_ns;
    waiting.decided = waiting.spinning = waiting.contended = false;
    Unlock();
    return Round::kAgain;
  }
  if (now_ns >= waiting.deadline_ns) {
    Unlock();
    return Round::kDone;
  }
  if (!waiting.decided) {
    waiting.decided = true;
    const uint64_t budget_ns = spin_habit_.Budget(now_ns, options_.spin_ns);
    waiting.spinning = budget_ns != 0;
    waiting.spin_until_ns = now_ns + budget_ns;
  }
  waiting.contended = false;
  // Whoever slept before this thread came has to leave the wire first, or both would wake for
  // every frame. It takes a scheduler's delay; meanwhile this thread drives on.
  const bool occupied = in_wire_sleep_.load(std::memory_order_seq_cst);
  if (now_ns < waiting.spin_until_ns || occupied) {
    if (occupied && now_ns >= waiting.spin_until_ns && !waiting.sleeper_called) {
      waiting.sleeper_called = true;
      wire_->Wake();
    }
    Unlock();
    if (occupied) {
      waiting.spinner.Pause();  // who has the processor may be the one who is to leave the wire
    } else {
      Pause(waiting);
    }
    return Round::kAgain;
  }
  if (!waiting.gave_way && options_.spin_ns != 0 && give_way_habit_.Pays(now_ns)) {
    waiting.gave_way = waiting.slept = true;
    Unlock();
    GiveWay(waiting);
    return Round::kAgain;
  }
  waiting.gave_way = false;
  waiting.slept = true;
  if (!Park(Parker::kRunner, waiting.word, waiting.expected, waiting.deadline_ns)) {
    return Round::kWaitOnWord;  // another thread drives; the core thread follows it
  }
  Run(kWaitLimit, true);
  spin_habit_.Slept(waiting.spinning, now_ns_ - now_ns);
  waiting.spin_until_ns = now_ns_ + options_.spin_ns;
  waiting.decided = waiting.spinning = waiting.sleeper_called = false;
  Unlock();
  return Round::kAgain;
}

void Core::WaitOnWord(const Waiting& waiting) {
  {
    std::lock_guard lock(waiting_words_mutex_);
    waiting_words_.push_back(waiting.word);
  }
  waiters_.fetch_add(1, std::memory_order_seq_cst);
  if (!stopping_.load(std::memory_order_seq_cst)) {
    SleepOnWord(waiting.word, waiting.expected, waiting.deadline_ns);
  }
  waiters_.fetch_sub(1, std::memory_order_seq_cst);
  std::lock_guard lock(waiting_words_mutex_);
  waiting_words_.erase(std::find(waiting_words_.begin(), waiting_words_.end(), waiting.word));
}

void Core::SleepOnWord(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) {
  SleepersOn(word).fetch_add(1, std::memory_order_seq_cst);
  if (LoadWord(word) == expected) FutexWait(word, expected, deadline_ns);
  SleepersOn(word).fetch_sub(1, std::memory_order_seq_cst);
}

void Core::WakeWord(const uint32_t* word) {
  // Read-modify-write, though nothing is modified: it orders the caller's change of the word, which
  // may be a plain store, before both loads. The sleepers do the opposite.
  if (SleepersOn(word).fetch_add(0, std::memory_order_seq_cst) != 0) FutexWakeAll(word);
  if (runner_word_.load(std::memory_order_seq_cst) == word) wire_->Wake();
}

}  // namespace qpip::lanai
