// The sockets in each epoll set, and what they have to tell, known without asking the kernel.
//
// The kernel's sets hold the same sockets, but are told of changes only before somebody asks or
// sleeps there (Socket::Sync). What is found here is level, edge and mask as epoll(7) has them.
// Registrations with EPOLLONESHOT or EPOLLEXCLUSIVE are the kernel's alone to tell: it has to know
// that they were.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace qpip::preload {

class Socket;

/// All calls with the stack's lock.
class EpollSets {
 public:
  struct Set;
  /// A descriptor in a set. In the lists of its set and of its socket.
  struct Registration {
    /// The socket may have something new to tell: bytes, a connection or an end; room; for those
    /// with EPOLLET, told once.
    void Note(bool arrived, bool unblocked);

    Socket* socket = nullptr;
    Set* set = nullptr;
    int epoll = -1;
    int fd = -1;
    epoll_event event = {};
    bool edge = true;   ///< something has come that has not been told
    bool told = false;  ///< an edge was, by Tell, and nothing has come since: not for the kernel
    bool listed = false;
  };
  struct Set {
    std::unordered_map<int, Registration> all;  ///< by descriptor
    std::vector<Registration*> listed;          ///< may have something to tell
    unsigned turn = 0;
  };

  /// epoll_ctl(2) has put `fd` in, or has changed what is asked of it.
  void Put(Socket& socket, int epoll, int fd, const epoll_event& event);
  void Remove(int epoll, int fd);
  /// The descriptor is closed.
  void Remove(Socket& socket, int fd);
  void Close(int epoll);

  /// As epoll_wait(2) without waiting, of the sockets alone.
  int Tell(int epoll, std::span<epoll_event> out);
  /// Whether it is the turn of what else stands in the set, which a busy socket would starve.
  bool KernelsTurn(int epoll);

 private:
  static void Erase(Registration& registration);

  std::unordered_map<int, Set> sets_;
};

}  // namespace qpip::preload
