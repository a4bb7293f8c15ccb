// A request to stop, that sleeping threads notice.
#pragma once

#include <atomic>

namespace qpip::apps {

/// Set once, by any thread or a signal handler; seen as a flag and as a readable descriptor.
class StopToken {
 public:
  StopToken();  ///< Throws std::system_error.
  ~StopToken();
  StopToken(const StopToken&) = delete;
  StopToken& operator=(const StopToken&) = delete;

  /// Thread-safe and async-signal-safe.
  void Request() noexcept;
  bool requested() const noexcept { return requested_.load(std::memory_order_acquire); }
  /// For poll: readable, for all, once requested.
  int fd() const noexcept { return fd_; }

 private:
  std::atomic<bool> requested_ = false;
  int fd_;
};

/// SIGINT and SIGTERM request `token` to stop; another one, over a second later, ends the
/// process at once.
/// SIGPIPE is ignored, so that a closed peer is an error code. `token` must outlive the process's
/// signals: call once, from main.
void StopOnSignals(StopToken& token);

}  // namespace qpip::apps
