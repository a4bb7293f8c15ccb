// Names, options, and how connections begin and end.
#include <netinet/in.h>
#include <sys/socket.h>

#include "preload/interpose/interpose.h"

using namespace qpip::preload;  // NOLINT: the C library's names are outside of it

extern "C" {

int socket(int family, int type, int protocol) noexcept {
  QPIP_REAL(socket);
  const int fd = real(family, type, protocol);
  constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  if (fd < 0 || !Outside() || (type & ~kFlags) != SOCK_STREAM ||
      (family != AF_INET && family != AF_INET6) || (protocol != 0 && protocol != IPPROTO_TCP)) {
    return fd;
  }
  Enter([&](Sockets& sockets) {
    sockets.OnSocket(fd, family, type);
    return 0L;
  });
  return fd;
}

int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  QPIP_REAL(bind);
  if (!Ours(fd)) return real(fd, address, length);
  const long result = Enter([&](Sockets& sockets) { return sockets.Bind(fd, address, length); });
  return result == kKernel ? real(fd, address, length) : Return<int>(result);
}

int listen(int fd, int backlog) noexcept {
  QPIP_REAL(listen);
  if (!Ours(fd)) return real(fd, backlog);
  const long result = Enter([&](Sockets& sockets) { return sockets.Listen(fd, backlog); });
  return result == kKernel ? real(fd, backlog) : Return<int>(result);
}

int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  QPIP_REAL(accept4);
  if (!Ours(fd)) return real(fd, address, length, flags);
  const long result =
      Enter([&](Sockets& sockets) { return sockets.Accept(fd, address, length, flags); });
  return result == kKernel ? real(fd, address, length, flags) : Return<int>(result);
}

int accept(int fd, sockaddr* address, socklen_t* length) {
  QPIP_REAL(accept);
  if (!Ours(fd)) return real(fd, address, length);
  const long result =
      Enter([&](Sockets& sockets) { return sockets.Accept(fd, address, length, 0); });
  return result == kKernel ? real(fd, address, length) : Return<int>(result);
}

int connect(int fd, const sockaddr* address, socklen_t length) {
  QPIP_REAL(connect);
  if (!Ours(fd)) return real(fd, address, length);
  const long result = Enter([&](Sockets& sockets) { return sockets.Connect(fd, address, length); });
  return result == kKernel ? real(fd, address, length) : Return<int>(result);
}

int getsockname(int fd, sockaddr* address, socklen_t* length) noexcept {
  QPIP_REAL(getsockname);
  if (!Ours(fd)) return real(fd, address, length);
  const long result =
      Enter([&](Sockets& sockets) { return sockets.GetName(fd, false, address, length); });
  return result == kKernel ? real(fd, address, length) : Return<int>(result);
}

int getpeername(int fd, sockaddr* address, socklen_t* length) noexcept {
  QPIP_REAL(getpeername);
  if (!Ours(fd)) return real(fd, address, length);
  const long result =
      Enter([&](Sockets& sockets) { return sockets.GetName(fd, true, address, length); });
  return result == kKernel ? real(fd, address, length) : Return<int>(result);
}

int shutdown(int fd, int how) noexcept {
  QPIP_REAL(shutdown);
  if (!Ours(fd)) return real(fd, how);
  const long result = Enter([&](Sockets& sockets) { return sockets.Shutdown(fd, how); });
  return result == kKernel ? real(fd, how) : Return<int>(result);
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t length) noexcept {
  QPIP_REAL(setsockopt);
  if (!Ours(fd)) return real(fd, level, name, value, length);
  const long result =
      Enter([&](Sockets& sockets) { return sockets.SetOption(fd, level, name, value, length); });
  return result == kKernel ? real(fd, level, name, value, length) : Return<int>(result);
}

int getsockopt(int fd, int level, int name, void* value, socklen_t* length) noexcept {
  QPIP_REAL(getsockopt);
  if (!Ours(fd)) return real(fd, level, name, value, length);
  const long result =
      Enter([&](Sockets& sockets) { return sockets.GetOption(fd, level, name, value, length); });
  return result == kKernel ? real(fd, level, name, value, length) : Return<int>(result);
}

}  // extern "C"
