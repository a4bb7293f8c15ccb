#include "sim/wire/udp_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "sim/wire/udp_errors.h"

namespace qpip::wire {
namespace {

/// Wanted socket buffers. A receiver that is away for a while loses what does not fit.
constexpr int kSocketBufferBytes = 8 << 20;

std::string WhereText(const std::string& host, uint16_t port) {
  const bool literal6 = host.find(':') != std::string::npos;
  return (literal6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

void SetBuffer(int socket, int option, int force_option) {
  // More than the system's limit needs a privilege; without it the limit is what there is.
  if (::setsockopt(socket, SOL_SOCKET, force_option, &kSocketBufferBytes,
                   sizeof kSocketBufferBytes) != 0) {
    ::setsockopt(socket, SOL_SOCKET, option, &kSocketBufferBytes, sizeof kSocketBufferBytes);
  }
}

}  // namespace

Descriptor OpenUdpSocket(const std::string& host, uint16_t port, SocketAddress* local) {
  constexpr int kType = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  *local = ResolveSocketAddress(host, port, AF_UNSPEC);
  Descriptor made(::socket(local->base.sa_family, kType, IPPROTO_UDP));
  if (!made.valid() && errno == EAFNOSUPPORT && host.empty()) {
    *local = ResolveSocketAddress("0.0.0.0", port, AF_INET);
    made = Descriptor(::socket(AF_INET, kType, IPPROTO_UDP));
  }
  if (!made.valid()) {
    throw std::system_error(errno, std::generic_category(),
                            "udp wire: cannot make a socket for " + WhereText(host, port));
  }
  if (local->base.sa_family == AF_INET6) {
    const int off = 0;
    ::setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  SetBuffer(made.get(), SO_RCVBUF, SO_RCVBUFFORCE);
  SetBuffer(made.get(), SO_SNDBUF, SO_SNDBUFFORCE);
  AskForErrors(made.get(), local->base.sa_family);
  if (::bind(made.get(), &local->base, local->length()) != 0) {
    const int error = errno;
    const char* advice =
        error == EADDRINUSE      ? "; another process has that port: choose another, or "
                                   "0 for any free one"
        : error == EADDRNOTAVAIL ? "; give an address of this machine, or none for all of them"
                                 : "";
    throw std::runtime_error("udp wire: cannot bind " + WhereText(host, port) + ": " +
                             std::strerror(error) + advice);
  }
  socklen_t length = sizeof local->v6;
  ::getsockname(made.get(), &local->base, &length);
  return made;
}

}  // namespace qpip::wire
