// A NIC for sockets: one completion queue for all connections, the threads that wait, and a thread
// for when nobody does.
//
// A thread that waits runs the NIC's core for a while and then sleeps in poll(2) in the descriptors
// that the program named and, beside them, in the completion queue's. What has arrived is told to
// the kernel (Socket::Sync) only when somebody is about to look there, so a program that finds its
// data while it runs the core, by whatever call, makes no system call for it.
#pragma once

#include <poll.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "preload/core/connection.h"
#include "preload/core/deadline.h"
#include "qpip/qpip.h"

namespace qpip::preload {

class Acceptor;

/// Calls are thread-safe where they say so; all others are made with the lock held.
class Stack {
 public:
  /// Opens the NIC and starts the thread. `lock` guards everything here. Throws Error.
  Stack(const std::string& uri, std::mutex& lock);
  /// Without the lock. Connections that are open end with RST.
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  Nic& nic() { return *nic_; }
  ProtectionDomain& pd() { return *pd_; }
  CompletionQueue& cq() { return *cq_; }

  void Add(Connection& connection);
  void Remove(Connection& connection);
  void Add(Acceptor& acceptor);
  void Remove(Acceptor& acceptor);
  /// Keeps a closed connection until it is done.
  void Linger(std::unique_ptr<Connection> connection);
  bool lingering() const { return !lingering_.empty(); }

  /// Hands out all completions that are there. Returns whether there were any.
  bool TakeCompletions();
  /// `connection` is to look at its state, when all completions that are there are handed out.
  void RefreshLater(Connection& connection) { to_refresh_.push_back(&connection); }
  /// Takes in what has come. Runs the NIC's core for a bounded while.
  void Progress();
  /// What has changed is told to threads that sleep, if any do.
  void TellSleepers();
  /// The process ends: from now on connections are kept until their ends are told. Before Finish.
  void BeginFinish();
  /// `socket` may have something to tell: epoll sets and the kernel's descriptor are to know.
  void MarkChanged(Socket& socket);
  void Forget(Socket& socket);
  /// Has epoll sets know what is.
  void Note();
  /// Has the kernel's descriptors say what is.
  void Sync();

  /// What a thread waits for.
  class Look {
   public:
    static constexpr int kAskKernel = INT_MIN;
    virtual ~Look() = default;
    /// With the lock, and after Note. What is not 0 ends the wait; kAskKernel: Kernel() is to be
    /// asked at once.
    virtual int Own() = 0;
    /// Without the lock: the same of descriptors in the kernel.
    virtual int Kernel() { return 0; }
    /// Kernel() asks of sockets, too, so that a Sync is due before it.
    virtual bool kernel_has_sockets() const { return false; }
  };
  /// Thread-safe, without the lock. Looks until that gives other than 0, and returns it; 0 at the
  /// deadline; -EINTR when a signal was handled. Sleeps in `sleep_on` meanwhile (revents are not
  /// for the caller). `mask`: as ppoll(2)'s.
  int Wait(std::span<const pollfd> sleep_on, Clock::time_point deadline, const sigset_t* mask,
           Look& look);
  /// Thread-safe, without the lock: waits until all closed connections have delivered what they
  /// had, and their ends, as far as peers answer: not for one that has taken nothing for
  /// `patience`.
  void Finish(Clock::duration patience);

 private:
  class Sleeper;

  void RefreshAll();
  int AskKernel(Look& look);
  void Reap();
  bool Arm();
  void TakeWakeUp(bool completions, bool events, int others);
  void Run();
  int LookOnce(Look& look);
  int Sleep(std::vector<pollfd>& fds, std::span<const pollfd> sleep_on, Clock::time_point deadline,
            const sigset_t* mask, Look& look);

  std::mutex& lock_;
  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unordered_map<uint32_t, Connection*> connections_;
  std::unordered_set<Acceptor*> acceptors_;
  std::list<std::unique_ptr<Connection>> lingering_;
  std::vector<Socket*> changed_;   ///< Note is due
  std::vector<Socket*> unsynced_;  ///< Sync is due, besides those
  uint32_t seen_ = 0;              ///< notifications of the NIC's
  uint64_t progress_ = 0;          ///< calls of Progress
  std::vector<Connection*> to_refresh_;
  int sleepers_ = 0;        ///< threads in Sleep
  bool parked_ = false;     ///< the thread sleeps until the NIC has something to tell
  bool finishing_ = false;  ///< the process ends: connections are kept until their ends are told
  int events_ = -1;         ///< eventfd: a connection or a listener has changed
  int wake_ = -1;           ///< eventfd: the thread is to look
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace qpip::preload
