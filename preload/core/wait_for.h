// Sockets: a call that does not return before something is so.
#pragma once

#include "preload/core/restart.h"
#include "preload/core/sockets.h"

namespace qpip::preload {

/// Waits until `ready()`, which is asked with the lock, is true.
template <typename Ready>
class Until final : public Stack::Look {
 public:
  explicit Until(Ready& ready) : ready_(ready) {}
  int Own() override { return ready_() ? 1 : 0; }

 private:
  Ready& ready_;
};

// Without the lock, which `ready` is called with. 0; -EAGAIN at the time-out; -EINTR.
template <typename Ready>
long Sockets::WaitFor(int fd, short events, std::optional<std::chrono::nanoseconds> timeout,
                      Ready ready) {
  const Clock::time_point deadline = timeout ? Clock::now() + *timeout : kForEver;
  const pollfd own = {.fd = fd, .events = events, .revents = 0};
  Until until(ready);
  for (;;) {
    const int result = stack_->Wait({&own, 1}, deadline, nullptr, until);
    if (result > 0) return 0;
    if (result == 0) return -EAGAIN;
    // signal(7): calls with a time-out are never restarted.
    if (result != -EINTR || timeout || !HandlersRestart()) return result;
  }
}

}  // namespace qpip::preload
