// A counting eventfd (EFD_SEMAPHORE) as programs use it: they may set O_NONBLOCK, poll it, and be
// cancelled in it.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace qpip::verbs {

/// One more. Never blocks in practice: the counter has 64 bits.
inline void PostTo(int fd) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof one);
}

/// Takes one, waiting for it unless the descriptor has O_NONBLOCK. Returns 0, or -1 and errno
/// (EAGAIN, EINTR). Where events are also forgotten (TryTakeFrom), both with the lock of what is
/// counted, when that tells that there is one: then neither blocks. See AwaitOne.
inline int TakeFrom(int fd) {
  uint64_t count;
  return read(fd, &count, sizeof count) == sizeof count ? 0 : -1;
}

/// Takes one if there is one, whether or not the descriptor has O_NONBLOCK.
inline bool TryTakeFrom(int fd) {
  pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&ready, 1, 0) == 1 && TakeFrom(fd) == 0;
}

/// A thread's own fault, for which many a program has a handler; nobody interrupts by it.
inline bool IsFault(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
         signal == SIGTRAP || signal == SIGABRT;
}

/// Whether a signal may have been meant to interrupt: the program has a handler without SA_RESTART.
/// Programs wait in read(2) on hardware, which goes on behind other handlers; poll(2) never does.
inline bool SignalsInterrupt() {
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    if (IsFault(signal)) continue;
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) != 0) continue;  // the C library's own
    const bool handled = (action.sa_flags & SA_SIGINFO) != 0 ||
                         (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
    if (handled && (action.sa_flags & SA_RESTART) == 0) return true;
  }
  return false;
}

/// Waits until `fd` is readable. Returns 0, or -1 and errno (EINTR, where a handler is to
/// interrupt). A cancellation point.
inline int AwaitReadable(int fd) {
  pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
  while (poll(&ready, 1, -1) < 0) {
    if (errno != EINTR) return -1;
    if (SignalsInterrupt()) {
      errno = EINTR;
      return -1;
    }
  }
  return 0;
}

/// Waits until there is one, unless the descriptor has O_NONBLOCK; without the lock. Returns 0, or
/// -1 and errno (EAGAIN, EINTR). A cancellation point.
inline int AwaitOne(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -1;
  if ((flags & O_NONBLOCK) != 0) {
    errno = EAGAIN;
    return -1;
  }
  return AwaitReadable(fd);
}

}  // namespace qpip::verbs
