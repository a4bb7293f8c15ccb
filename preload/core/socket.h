// One open socket: what the kernel calls an open file description. Several descriptors may name it.
#pragma once

#include <sys/epoll.h>

#include <memory>
#include <optional>
#include <vector>

#include "preload/core/acceptor.h"
#include "preload/core/connection.h"
#include "preload/core/epoll_sets.h"
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

  explicit Socket(int its_family) : family(its_family), options(its_family) {}

  /// What poll is to tell of a socket on a queue pair.
  Readiness::Level Level() const;
  /// The same as poll(2)'s and epoll(7)'s events; none of a socket that is not on a queue pair.
  uint32_t Events() const;
  /// Tells the epoll sets that it stands in of what has come since.
  void Note();
  /// Has the kernel's descriptor say what is.
  void Sync();
  /// May be waited for so that an edge is told once.
  void NoteEvents(uint32_t events) { edge = edge || (events & EPOLLET) != 0; }

  const int family;
  Kind kind = Kind::kKernel;
  bool nonblocking = false;
  bool edge = false;  ///< in an epoll set with EPOLLET
  bool listening_shut = false;
  bool changed = false;   ///< in Stack's list of those that Note is due for
  bool unsynced = false;  ///< in Stack's list of those that Sync is due for
  bool again_in = false;  ///< edges that the kernel's descriptor has not told
  bool again_out = false;
  std::vector<int> fds;  ///< the program's numbers for it
  Options options;
  std::vector<EpollSets::Registration*> registrations;  ///< EpollSets's
  std::optional<Endpoint> bound;
  std::optional<Endpoint> local;  ///< since a fork
  std::optional<Endpoint> peer;   ///< since a fork
  std::unique_ptr<Readiness> readiness;
  std::unique_ptr<Acceptor> acceptor;
  std::unique_ptr<Connection> connection;
};

}  // namespace qpip::preload
