// A file descriptor that closes itself, and sleeping on one.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <utility>

namespace qpip::wire {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Wire::PrepareSleep, Sleep and Wake for a wire whose frames come from a descriptor. Readiness of
/// a descriptor is a level, so a frame that comes between PrepareSleep and Sleep ends the sleep;
/// so does a wake-up, which stays in the eventfd until the next PrepareSleep.
class DescriptorSleep {
 public:
  /// Throws std::system_error.
  DescriptorSleep();

  /// Forgets earlier wake-ups. While nobody is in Sleep, as wire.h's PrepareSleep.
  void Prepare();
  /// Sleeps until `fd` is ready for `events` (as poll's), a wake-up or the deadline
  /// (CLOCK_MONOTONIC). Returns poll's revents for `fd`. A negative `fd` is left out.
  int Sleep(int fd, int events, uint64_t deadline_ns);
  /// Any thread.
  void Wake();
  uint64_t sleeps() const { return sleeps_.load(std::memory_order_relaxed); }

 private:
  Descriptor event_;
  /// There may be something in it. A wake-up that is not in there yet when it is looked at is found
  /// when it ends the next sleep.
  std::atomic<bool> rung_{false};
  std::atomic<uint64_t> sleeps_{0};
};

}  // namespace qpip::wire
