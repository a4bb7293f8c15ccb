// Sleeping on a 32-bit word of this process, and giving way while spinning.
#pragma once

#include <cstdint>

namespace qpip::lanai {

/// Blocks while `*word == expected`, until FutexWakeAll(word), a signal, or `deadline_ns`
/// (CLOCK_MONOTONIC; UINT64_MAX: none). Thread-safe.
void FutexWait(const uint32_t* word, uint32_t expected, uint64_t deadline_ns);

/// Wakes every thread in FutexWait on `word`. Thread-safe.
void FutexWakeAll(const uint32_t* word);

/// Load-acquire of a word that others change.
uint32_t LoadWord(const uint32_t* word);

/// One pause of a spinning thread: tells the processor, and every few calls the scheduler, since
/// spinning with more spinners than cores keeps out the very thread that is waited for.
class Spinner {
 public:
  /// Returns true when others kept the processor for long: who waits had better sleep.
  bool Pause();

 private:
  uint32_t rounds_ = 0;
};

}  // namespace qpip::lanai
