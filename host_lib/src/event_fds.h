// Descriptors that become readable when the NIC has written an event.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace qpip::internal {

/// Thread-safe.
class EventFds {
 public:
  /// `fd`: an eventfd, its owner's until it is removed.
  void Add(int fd) {
    const std::lock_guard lock(mutex_);
    fds_.push_back(fd);
    any_.store(true, std::memory_order_release);
  }
  void Remove(int fd) {
    const std::lock_guard lock(mutex_);
    std::erase(fds_, fd);
    any_.store(!fds_.empty(), std::memory_order_release);
  }
  /// Callable with the core's lock held.
  void Signal() {
    if (!any_.load(std::memory_order_acquire)) return;
    const std::lock_guard lock(mutex_);
    const uint64_t one = 1;
    for (const int fd : fds_) {
      // Fails only when the counter is full, and then the descriptor is readable anyway.
      [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof one);
    }
  }

 private:
  std::atomic<bool> any_ = false;
  std::mutex mutex_;
  std::vector<int> fds_;
};

}  // namespace qpip::internal
