// Writing to a file without being killed by a limit on its size.
#pragma once

#include <signal.h>

namespace qpip::wire {

/// A write beyond the process's limit on file sizes (RLIMIT_FSIZE, `ulimit -f`) fails with EFBIG
/// and raises SIGXFSZ, which ends a process that does not expect it. While this exists the signal
/// does not reach the thread, so that the error code is all there is; what the process does with
/// the signal elsewhere is left alone.
class NoFileSizeSignal {
 public:
  NoFileSizeSignal() {
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGXFSZ);
    sigset_t pending;
    sigpending(&pending);
    pending_before_ = sigismember(&pending, SIGXFSZ) == 1;
    pthread_sigmask(SIG_BLOCK, &signal_, &before_);
  }
  ~NoFileSizeSignal() {
    // The kernel sends it to the thread that writes: take back what this thread's writes raised.
    const timespec at_once = {};
    while (!pending_before_ && sigtimedwait(&signal_, nullptr, &at_once) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoFileSizeSignal(const NoFileSizeSignal&) = delete;
  NoFileSizeSignal& operator=(const NoFileSizeSignal&) = delete;

 private:
  sigset_t signal_;
  sigset_t before_;
  bool pending_before_ = false;
};

}  // namespace qpip::wire
