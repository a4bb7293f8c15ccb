// Descriptors: closed, duplicated, made not to block.
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>

#include "preload/interpose/interpose.h"

using namespace qpip::preload;  // NOLINT: the C library's names are outside of it

namespace {

void Forget(int fd) {
  if (!Outside()) return;
  if (g_sockets->Watches(fd)) {
    Enter([&](Sockets& sockets) {
      sockets.OnCloseEpoll(fd);
      return 0L;
    });
  }
  if (!g_sockets->Has(fd)) return;
  Enter([&](Sockets& sockets) {
    sockets.OnClose(fd);
    return 0L;
  });
}

void Note(int fd, int copy) {
  if (copy < 0 || !Ours(fd)) return;
  Enter([&](Sockets& sockets) {
    sockets.OnDuplicate(fd, copy);
    return 0L;
  });
}

int Control(int fd, int command, void* argument, int (*real)(int fd, int command, ...)) {
  if (!Outside() || !g_sockets->Has(fd)) return real(fd, command, argument);
  const int result = real(fd, command, argument);
  if (result < 0) return result;
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) Note(fd, result);
  if (command == F_SETFL) {
    const bool nonblocking = (reinterpret_cast<intptr_t>(argument) & O_NONBLOCK) != 0;
    Enter([&](Sockets& sockets) {
      sockets.OnNonblocking(fd, nonblocking);
      return 0L;
    });
  }
  return result;
}

}  // namespace

extern "C" {

int close(int fd) {
  QPIP_REAL(close);
  Forget(fd);
  return real(fd);
}

int dup(int fd) noexcept {
  QPIP_REAL(dup);
  const int copy = real(fd);
  Note(fd, copy);
  return copy;
}

int dup2(int fd, int copy) noexcept {
  QPIP_REAL(dup2);
  if (fd != copy && fcntl(fd, F_GETFD) >= 0) Forget(copy);
  const int result = real(fd, copy);
  if (fd != copy) Note(fd, result);
  return result;
}

int dup3(int fd, int copy, int flags) noexcept {
  QPIP_REAL(dup3);
  if (fd != copy && fcntl(fd, F_GETFD) >= 0) Forget(copy);
  const int result = real(fd, copy, flags);
  Note(fd, result);
  return result;
}

int fcntl(int fd, int command, ...) {
  QPIP_REAL(fcntl);
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  return Control(fd, command, argument, real);
}

int fcntl64(int fd, int command, ...) {
  QPIP_REAL(fcntl64);
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  return Control(fd, command, argument, real);
}

int ioctl(int fd, unsigned long request, ...) noexcept {
  QPIP_REAL(ioctl);
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  if (!Ours(fd)) return real(fd, request, argument);
  if (request == FIONREAD || request == SIOCOUTQ) {
    const long result = Enter([&](Sockets& sockets) {
      return request == FIONREAD ? sockets.Available(fd) : sockets.Unsent(fd);
    });
    if (result == kKernel) return real(fd, request, argument);
    if (result < 0) return Return<int>(result);
    *static_cast<int*>(argument) = static_cast<int>(result);
    return 0;
  }
  const int result = real(fd, request, argument);
  if (result == 0 && request == FIONBIO) {
    Enter([&](Sockets& sockets) {
      sockets.OnNonblocking(fd, *static_cast<const int*>(argument) != 0);
      return 0L;
    });
  }
  return result;
}

int close_range(unsigned first, unsigned last, int flags) noexcept {
  QPIP_REAL(close_range);
  if ((flags & CLOSE_RANGE_CLOEXEC) == 0 && Outside()) {
    const unsigned end = std::min<unsigned>(last, Sockets::kMaxFd - 1);
    for (unsigned fd = first; fd <= end; ++fd) Forget(static_cast<int>(fd));
  }
  return real(first, last, flags);
}

void closefrom(int first) noexcept {
  close_range(static_cast<unsigned>(std::max(first, 0)), ~0u, 0);
}

}  // extern "C"
