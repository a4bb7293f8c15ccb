// rsockets: the system's own, which calls the other functions of librdmacm and libibverbs by their
// names, and so finds these (decision 0059).
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <rdma/rsocket.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace {

// Whose identifiers begin as CmId does.
constexpr const char* kKnownFile = "librdmacm.so.1.3.44.0";
constexpr const char* kPlaces[] = {"/usr/lib/x86_64-linux-gnu/librdmacm.so.1",
                                   "/usr/lib/aarch64-linux-gnu/librdmacm.so.1",
                                   "/usr/lib64/librdmacm.so.1", "/usr/lib/librdmacm.so.1"};

void* OpenSystems() {
  for (const char* place : kPlaces) {
    char real[PATH_MAX];
    if (realpath(place, real) == nullptr) continue;
    if (std::strstr(real, kKnownFile) == nullptr) {
      std::fprintf(stderr, "librdmacm (QPIP): rsockets need %s; %s is another version\n",
                   kKnownFile, real);
      return nullptr;
    }
    return dlopen(place, RTLD_NOW | RTLD_LOCAL);
  }
  std::fprintf(stderr, "librdmacm (QPIP): rsockets need the system's %s (librdmacm1)\n",
               kKnownFile);
  return nullptr;
}

// The system's function of that name; nullptr, errno EOPNOTSUPP.
void* Find(const char* name) {
  static void* const library = OpenSystems();
  void* function = library == nullptr ? nullptr : dlsym(library, name);
  if (function == nullptr) errno = EOPNOTSUPP;
  return function;
}

}  // namespace

// Its own function of this name with these arguments.
#define QPIP_FORWARD(name, ...)                                                \
  static const auto function = reinterpret_cast<decltype(&name)>(Find(#name)); \
  if (function == nullptr) return -1;                                          \
  return function(__VA_ARGS__)

extern "C" {

// The system's knows the type alone, without flags, with which many programs create sockets.
int rsocket(int domain, int type, int protocol) {
  constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  const auto create = [&]() -> int { QPIP_FORWARD(rsocket, domain, type & ~kFlags, protocol); };
  const int socket = create();
  if (socket >= 0 && (type & SOCK_NONBLOCK) != 0) rfcntl(socket, F_SETFL, long{O_NONBLOCK});
  return socket;
}
int rbind(int socket, const sockaddr* address, socklen_t length) {
  QPIP_FORWARD(rbind, socket, address, length);
}
int rlisten(int socket, int backlog) { QPIP_FORWARD(rlisten, socket, backlog); }
int raccept(int socket, sockaddr* address, socklen_t* length) {
  QPIP_FORWARD(raccept, socket, address, length);
}
int rconnect(int socket, const sockaddr* address, socklen_t length) {
  QPIP_FORWARD(rconnect, socket, address, length);
}
int rshutdown(int socket, int how) { QPIP_FORWARD(rshutdown, socket, how); }
int rclose(int socket) { QPIP_FORWARD(rclose, socket); }
ssize_t rrecv(int socket, void* data, size_t length, int flags) {
  QPIP_FORWARD(rrecv, socket, data, length, flags);
}
ssize_t rrecvfrom(int socket, void* data, size_t length, int flags, sockaddr* from,
                  socklen_t* from_length) {
  QPIP_FORWARD(rrecvfrom, socket, data, length, flags, from, from_length);
}
ssize_t rrecvmsg(int socket, msghdr* message, int flags) {
  QPIP_FORWARD(rrecvmsg, socket, message, flags);
}
ssize_t rsend(int socket, const void* data, size_t length, int flags) {
  QPIP_FORWARD(rsend, socket, data, length, flags);
}
ssize_t rsendto(int socket, const void* data, size_t length, int flags, const sockaddr* to,
                socklen_t to_length) {
  QPIP_FORWARD(rsendto, socket, data, length, flags, to, to_length);
}
ssize_t rsendmsg(int socket, const msghdr* message, int flags) {
  QPIP_FORWARD(rsendmsg, socket, message, flags);
}
ssize_t rread(int socket, void* data, size_t count) { QPIP_FORWARD(rread, socket, data, count); }
ssize_t rreadv(int socket, const iovec* list, int count) {
  QPIP_FORWARD(rreadv, socket, list, count);
}
ssize_t rwrite(int socket, const void* data, size_t count) {
  QPIP_FORWARD(rwrite, socket, data, count);
}
ssize_t rwritev(int socket, const iovec* list, int count) {
  QPIP_FORWARD(rwritev, socket, list, count);
}
int rpoll(pollfd* fds, nfds_t count, int timeout) { QPIP_FORWARD(rpoll, fds, count, timeout); }
int rselect(int count, fd_set* reads, fd_set* writes, fd_set* exceptions, timeval* timeout) {
  QPIP_FORWARD(rselect, count, reads, writes, exceptions, timeout);
}
int rgetpeername(int socket, sockaddr* address, socklen_t* length) {
  QPIP_FORWARD(rgetpeername, socket, address, length);
}
int rgetsockname(int socket, sockaddr* address, socklen_t* length) {
  QPIP_FORWARD(rgetsockname, socket, address, length);
}
int rsetsockopt(int socket, int level, int name, const void* value, socklen_t length) {
  // A port is one listener's here, and who asks for this has one.
  if (level == SOL_SOCKET && name == SO_REUSEPORT) return 0;
  QPIP_FORWARD(rsetsockopt, socket, level, name, value, length);
}
int rgetsockopt(int socket, int level, int name, void* value, socklen_t* length) {
  QPIP_FORWARD(rgetsockopt, socket, level, name, value, length);
}
int rfcntl(int socket, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  QPIP_FORWARD(rfcntl, socket, command, argument);
}
off_t riomap(int socket, void* data, size_t length, int protection, int flags, off_t offset) {
  QPIP_FORWARD(riomap, socket, data, length, protection, flags, offset);
}
int riounmap(int socket, void* data, size_t length) {
  QPIP_FORWARD(riounmap, socket, data, length);
}
size_t riowrite(int socket, const void* data, size_t count, off_t offset, int flags) {
  QPIP_FORWARD(riowrite, socket, data, count, offset, flags);
}

}  // extern "C"
