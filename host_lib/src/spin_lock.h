// A lock for sections of a few dozen instructions on the data path.
//
// Uncontended it costs one atomic exchange and one store; std::mutex costs two read-modify-writes.
// It is never held across a call that may block, so that it also works for fibres on one thread.
#pragma once

#include <atomic>
#include <thread>

namespace qpip::internal {

class SpinLock {
 public:
  void lock() {
    while (locked_.exchange(true, std::memory_order_acquire)) Contend();
  }
  bool try_lock() { return !locked_.exchange(true, std::memory_order_acquire); }
  void unlock() { locked_.store(false, std::memory_order_release); }

 private:
  /// Spins briefly, then yields: with more threads than cores the holder may not be running.
  void Contend() const {
    constexpr int kSpins = 64;
    for (int i = 0; i < kSpins; ++i) {
      if (!locked_.load(std::memory_order_relaxed)) return;
    }
    std::this_thread::yield();
  }

  std::atomic<bool> locked_{false};
};

}  // namespace qpip::internal
