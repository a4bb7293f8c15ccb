// An executor for a thread of the caller's, that it also waits by for other things.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "storage/core/executor.h"
#include "storage/core/file_ring.h"

namespace qpip::storage {

/// What was posted runs when the thread calls RunReady. Its descriptor tells when there is
/// something to run, for poll beside the descriptors of sockets and completion queues:
///
///     for (;;) {
///       while (executor.RunReady()) {}
///       if (executor.Sleep()) { poll(fds with executor.fd()); executor.Awake(); }
///     }
class ThreadExecutor : public Executor {
 public:
  enum class Rings { kWherePermitted, kNever };
  /// Throws std::system_error: no descriptor.
  explicit ThreadExecutor(Rings rings = Rings::kWherePermitted);
  ~ThreadExecutor() override;
  ThreadExecutor(const ThreadExecutor&) = delete;
  ThreadExecutor& operator=(const ThreadExecutor&) = delete;

  void Post(Task& task) override;
  /// Made when it is first asked for; nullptr where the system forbids io_uring.
  FileRing* ring() override;
  Source* FindSource(const void* owner) override;
  bool AddSource(const void* owner, std::unique_ptr<Source> source) override;

  /// Hands the ring what is queued for it, runs what has ended, what was posted and the sources.
  /// Returns whether it ran anything.
  bool RunReady();
  /// Announces that the thread will wait for fd(). Returns false when there is something to run.
  bool Sleep();
  /// After Sleep has returned true and the wait is over.
  void Awake();
  /// Readable when something was posted or has ended since Sleep.
  int fd() const { return fd_; }

 private:
  Rings rings_;
  int fd_;         ///< an epoll of the two below, and of sources
  int posted_fd_;  ///< an eventfd
  std::unique_ptr<FileRing> ring_;
  std::vector<std::pair<const void*, std::unique_ptr<Source>>> sources_;
  std::mutex mutex_;
  TaskList posted_;
  TaskList ready_;  ///< taken from `posted_` and not run yet: a task may throw
  bool asleep_ = false;
  std::atomic<bool> any_posted_ = false;
};

}  // namespace qpip::storage
