// accept4, of which librdmacm's librspreload.so knows nothing: it stands before `accept` alone, and
// a listening socket of its is no socket of the kernel's.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

extern "C" int accept4(int listener, sockaddr* address, socklen_t* length, int flags) {
  static const auto kernels = reinterpret_cast<decltype(&accept4)>(dlsym(RTLD_NEXT, "accept4"));
  const int accepted = kernels(listener, address, length, flags);
  if (accepted >= 0 || errno != ENOTSOCK) return accepted;
  // librspreload's, and fcntl too, where it is loaded. Otherwise the error is told once more.
  const int socket = accept(listener, address, length);
  if (socket < 0) return socket;
  if ((flags & SOCK_NONBLOCK) != 0) fcntl(socket, F_SETFL, O_NONBLOCK);
  if ((flags & SOCK_CLOEXEC) != 0) fcntl(socket, F_SETFD, FD_CLOEXEC);
  return socket;
}
