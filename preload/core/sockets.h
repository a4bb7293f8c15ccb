// The program's sockets by descriptor, and the calls of the C library on them. What
// preload/interpose hands on to, and what tests call.
//
// Results are as the system calls' own: what is not negative has succeeded, else it is a negative
// errno value. kKernel: the descriptor, or this use of it, is the kernel's; the caller goes there.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <climits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "preload/core/address_rule.h"
#include "preload/core/socket.h"
#include "preload/core/stack.h"

namespace qpip::preload {

inline constexpr long kKernel = LONG_MIN;

/// Thread-safe.
class Sockets {
 public:
  /// How long Finish waits for peers of which none takes anything.
  static constexpr std::chrono::seconds kExitPatience{30};
  /// Descriptors with higher numbers stay the kernel's.
  static constexpr int kMaxFd = 1 << 16;
  /// Lines for whoever runs the program. Called with the lock held.
  using Say = void (*)(const std::string& line);

  /// The NIC is opened when the first socket needs it.
  Sockets(AddressRule rule, Say say) : rule_(std::move(rule)), say_(say) {}
  ~Sockets();
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;

  /// Whether calls on `fd` are to come here. Takes no lock.
  bool Has(int fd) const {
    return fd >= 0 && fd < kMaxFd && has_[static_cast<size_t>(fd)].load(std::memory_order_acquire);
  }
  /// Whether `fd` is, or was, an epoll set with a descriptor that comes here. Takes no lock.
  bool Watches(int fd) const {
    return fd >= 0 && fd < kMaxFd &&
           watches_[static_cast<size_t>(fd)].load(std::memory_order_acquire);
  }
  /// There is a NIC, so that who waits has to go through Wait. Takes no lock.
  bool open() const { return open_.load(std::memory_order_acquire); }

  // --- Descriptors. The caller makes the kernel's call itself.
  /// socket(2) has made `fd`, a stream of AF_INET or AF_INET6; `type` with its flags.
  void OnSocket(int fd, int family, int type);
  /// dup(2) and its kin have made `copy`.
  void OnDuplicate(int fd, int copy);
  /// Before close(2), or before dup2(2) puts another in its place. May wait, as SO_LINGER asks.
  void OnClose(int fd);
  /// fcntl(2) or ioctl(2) has set or cleared O_NONBLOCK.
  void OnNonblocking(int fd, bool nonblocking);
  /// epoll_ctl(2) has put `fd` in a set, or taken it out (`event` nullptr).
  void OnEpoll(int epoll, int fd, const epoll_event* event);
  /// An epoll set is closed.
  void OnCloseEpoll(int epoll);

  // --- Calls.
  long Bind(int fd, const sockaddr* address, socklen_t length);
  long Listen(int fd, int backlog);
  /// `flags`: as accept4(2)'s. A new descriptor.
  long Accept(int fd, sockaddr* address, socklen_t* length, int flags);
  long Connect(int fd, const sockaddr* address, socklen_t length);
  long GetName(int fd, bool peer, sockaddr* address, socklen_t* length);
  long Shutdown(int fd, int how);
  long SetOption(int fd, int level, int name, const void* value, socklen_t length);
  long GetOption(int fd, int level, int name, void* value, socklen_t* length);
  long Receive(int fd, std::span<const iovec> to, int flags);
  /// Raises SIGPIPE as send(2) does.
  long Send(int fd, std::span<const iovec> from, int flags);
  long Available(int fd);  ///< FIONREAD
  long Unsent(int fd);     ///< SIOCOUTQ

  // Only when open().
  /// As ppoll(2) with a deadline; `fds` may be any descriptors.
  long Poll(std::span<pollfd> fds, Clock::time_point deadline, const sigset_t* mask);
  /// As epoll_pwait(2) with a deadline; the set may have any descriptors in it.
  long EpollWait(int epoll, std::span<epoll_event> out, Clock::time_point deadline,
                 const sigset_t* mask);

  /// The process ends: closes all, and waits until they have delivered what they had, as long as
  /// some peer takes some of it within `patience`.
  void Finish(Clock::duration patience = kExitPatience);

  // --- fork(2): the lock is held from before until after it.
  void BeforeFork();
  void AfterForkInParent() { lock_.unlock(); }
  /// What is the parent's is told so from now on; new sockets get a NIC of this process's own.
  void AfterForkInChild();

 private:
  class LookAtList;
  using Guard = std::unique_lock<std::mutex>;
  std::shared_ptr<Socket> Find(int fd) const;
  long Refuse(int fd);
  /// How many `bytes` the connection of a descriptor has.
  long Count(int fd, size_t (Connection::*bytes)() const);
  Stack& Open();
  void Forget(int fd);
  void Become(Socket& socket);
  void PutInPlace(Socket& socket, int fresh);
  void BackToKernel(Socket& socket);
  void Drop(std::shared_ptr<Socket> socket);
  long Fail(const Error& error, const char* doing);
  long StartConnect(Socket& socket, const Endpoint& peer);
  long WaitConnected(Guard& guard, int fd, const std::shared_ptr<Socket>& socket);
  template <typename Ready>
  long WaitFor(int fd, short events, std::optional<std::chrono::nanoseconds> timeout, Ready ready);
  int TakeAccepted(Socket& listener, sockaddr* address, socklen_t* length, int flags);

  const AddressRule rule_;
  const Say say_;
  mutable std::mutex lock_;
  std::array<std::atomic<bool>, kMaxFd> has_ = {};
  std::array<std::atomic<bool>, kMaxFd> watches_ = {};
  std::atomic<bool> open_{false};
  std::unordered_map<int, std::shared_ptr<Socket>> sockets_;
  EpollSets sets_;
  std::unique_ptr<Stack> stack_;
  bool refused_ = false;  ///< it has been said
  int owner_ = 0;         ///< of what was inherited: its process
};

}  // namespace qpip::preload
