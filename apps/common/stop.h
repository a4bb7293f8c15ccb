// A request to stop, that sleeping threads notice.
#pragma once

#include <atomic>
#include <chrono>

namespace qpip::apps {

/// How often a wait that no descriptor ends looks whether it is to stop: at once, to a user.
inline constexpr std::chrono::nanoseconds kStopCheck = std::chrono::milliseconds(20);

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
/// `token` must outlive the process's signals: call once, from main.
void StopOnSignals(StopToken& token);

/// SIGPIPE and SIGXFSZ are ignored: a closed pipe and a file that may not grow (`ulimit -f`) are
/// error codes then, EPIPE and EFBIG, for the one that writes to deal with.
void IgnoreErrorSignals();

}  // namespace qpip::apps
