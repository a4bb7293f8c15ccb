// Memory for payload that does not fit a connection's own area, bounded over all connections.
#pragma once

#include <cstddef>
#include <mutex>

namespace qpip::nbd {

/// Counts bytes, allocates none. Thread-safe.
class MemoryBudget {
 public:
  explicit MemoryBudget(size_t bytes) : left_(bytes) {}

  /// Whoever is refused asks again later: all of a request's memory is taken at once, so one that
  /// has it goes on to its end and gives it back.
  bool TryTake(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  void Put(size_t bytes) {
    const std::lock_guard lock(mutex_);
    left_ += bytes;
  }

 private:
  std::mutex mutex_;
  size_t left_;
};

}  // namespace qpip::nbd
