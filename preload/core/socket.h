// One open socket: what the kernel calls an open file description. Several descriptors may name it.
#pragma once

#include <sys/epoll.h>

#include <memory>
#include <optional>
#include <vector>

#include "preload/core/acceptor.h"
#include "preload/core/connection.h"
#include "preload/core/options.h"
#include "preload/core/readiness.h"
#include "qpip/types.h"

namespace qpip::preload {

/// Data of Sockets, whose lock it needs.
class Socket {
 public:
  enum class Kind {
    kKernel,     ///< the kernel's still: neither bound nor connected
    kQueuePair,  ///< bound, listening, connecting or connected through the NIC
    kInherited,  ///< a child's copy of what its parent's NIC has
  };
  /// A descriptor in an epoll set.
  struct Registration {
    int epoll;
    int fd;
    epoll_event event;
  };

  explicit Socket(int its_family) : family(its_family), options(its_family) {}

  /// Has the kernel's descriptor say what is.
  void Sync();
  /// May be waited for so that an edge is told once.
  void NoteEvents(uint32_t events) { edge = edge || (events & EPOLLET) != 0; }

  const int family;
  Kind kind = Kind::kKernel;
  bool nonblocking = false;
  bool edge = false;  ///< in an epoll set with EPOLLET
  bool listening_shut = false;
  std::vector<int> fds;  ///< the program's numbers for it
  Options options;
  std::vector<Registration> registrations;
  std::optional<Endpoint> bound;
  std::optional<Endpoint> local;  ///< since a fork
  std::optional<Endpoint> peer;   ///< since a fork
  std::unique_ptr<Readiness> readiness;
  std::unique_ptr<Acceptor> acceptor;
  std::unique_ptr<Connection> connection;
};

}  // namespace qpip::preload
