// ibv_get_async_event: what befalls a queue pair or a device by itself.
#pragma once

#include <infiniband/verbs.h>

#include <deque>
#include <mutex>

namespace qpip::verbs {

/// Thread-safe. A counting eventfd, one count an event that waits: so blocking reads, O_NONBLOCK,
/// poll and epoll work on fd() as on a kernel's.
class AsyncEvents {
 public:
  AsyncEvents();
  ~AsyncEvents();
  AsyncEvents(const AsyncEvents&) = delete;
  AsyncEvents& operator=(const AsyncEvents&) = delete;

  int fd() const { return fd_; }  ///< -1: there were no descriptors left
  void Raise(const ibv_async_event& event);
  /// Waits for one, unless fd() has O_NONBLOCK. A cancellation point. Returns 0, or -1 and errno.
  int Get(ibv_async_event* event);
  /// Takes out what has not been got yet of an object that goes: by its address, whichever of the
  /// union's members it is. Returns how many were got, which the program owes acknowledgements for.
  uint32_t Forget(const void* object);

 private:
  int fd_;
  std::mutex mutex_;
  std::deque<ibv_async_event> waiting_;
  std::deque<std::pair<const void*, uint32_t>> given_;  ///< object, events got
};

}  // namespace qpip::verbs
