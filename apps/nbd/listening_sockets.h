// Kernel sockets that conventional NBD clients connect to.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/nbd/local_socket.h"
#include "apps/nbd/prefix.h"

namespace qpip::nbd {

/// A connection that was taken, and who is at its other end.
struct AcceptedSocket {
  FileDescriptor socket;  ///< empty: none was waiting
  std::string peer;       ///< "[::1]:4711", "a local program"
  ClientAddress address = std::nullopt;
};

/// A stream socket that listens.
class ListeningSocket {
 public:
  virtual ~ListeningSocket() = default;
  virtual int fd() const = 0;
  /// Never waits. Throws Lack, and the connection goes on waiting; apps::Failure.
  virtual AcceptedSocket Accept() = 0;
  /// As NBD's URIs name it: "nbd://[::1]:10809", "nbd+unix:///?socket=/tmp/s".
  virtual std::string uri() const = 0;
  /// Of a Unix socket; empty: it is none.
  virtual std::string path() const { return {}; }
};

/// Listens at `where`: "unix:PATH", a path with a slash in it, "ADDRESS", "[ADDRESS]:PORT",
/// "ADDRESS:PORT" (numbers, no names). Throws apps::UsageError, apps::Failure.
std::unique_ptr<ListeningSocket> Listen(const std::string& where, uint16_t default_port);

/// The sockets that systemd has opened for this process (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS),
/// whose variables are removed. Throws apps::Failure: one of them is no listening stream socket.
std::vector<std::unique_ptr<ListeningSocket>> ActivatedSockets();

}  // namespace qpip::nbd
