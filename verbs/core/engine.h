// The thread that looks after connections of one NIC: verbs and librdmacm promise that events come
// by themselves, whatever the program does meanwhile.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "qpip/qpip.h"

namespace qpip::verbs {

using Clock = std::chrono::steady_clock;

/// Something that goes on by itself: a connection on its way, a listener, a connection whose end is
/// to be told.
class Task {
 public:
  virtual ~Task() = default;
  /// Goes on as far as it can without waiting. With the control lock held, on the engine's thread.
  /// Returns when it wants to be called again at the latest; `Clock::time_point::max()`: when
  /// something happens.
  virtual Clock::time_point OnTurn() = 0;
  /// A descriptor that becomes readable when OnTurn may have something to do; -1: none beside the
  /// NIC's own.
  virtual int fd() { return -1; }
  /// Whether it goes on until it removes itself, which it does soon, although the NIC is to close.
  virtual bool Lingers() const { return false; }
};

/// Thread-safe but for what says otherwise.
class Engine {
 public:
  explicit Engine(Nic& nic);  ///< `nic` outlives it. Throws Error, std::system_error.
  ~Engine();                  ///< Ends the thread, when no task lingers.
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Guards all that tasks and the program's control calls share.
  std::mutex& control() { return control_; }
  /// Both with the control lock. A task that is removed may be in its last turn only on the
  /// engine's own thread (a task may remove itself).
  void Add(std::shared_ptr<Task> task);
  void Remove(const Task* task);
  /// Waits until one of those that linger has ended. `control`: of the control lock, held, which
  /// is free meanwhile. Returns false at once when none lingers.
  bool AwaitLingering(std::unique_lock<std::mutex>& control);
  /// Gives every task a turn soon.
  void Wake();

 private:
  void Run();
  Clock::time_point TakeTurns();
  bool AnyLingers() const;

  Nic& nic_;
  std::mutex control_;
  std::vector<std::shared_ptr<Task>> tasks_;
  std::condition_variable removed_;  ///< a task; control_
  int wake_fd_ = -1;
  bool stopping_ = false;  ///< control_
  int opened_by_;
  std::thread thread_;
};

}  // namespace qpip::verbs
