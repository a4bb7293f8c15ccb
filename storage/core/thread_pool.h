// Threads for calls that block: those of files where there is no ring, and those that no ring has.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "storage/core/executor.h"

namespace qpip::storage {

/// Threads are started as they are needed, at most `threads`; when not one can be had, tasks run in
/// the caller.
class ThreadPool : public Workers {
 public:
  explicit ThreadPool(size_t threads) : most_(threads) {}
  ~ThreadPool() override;  ///< Runs what is left.
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void Run(Task& task) override;
  bool RunAgain(Task& task) override;

 private:
  void Work();

  const size_t most_;
  std::mutex mutex_;
  std::condition_variable work_;
  TaskList tasks_;
  size_t idle_ = 0;
  size_t waiting_ = 0;  ///< tasks in the list
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace qpip::storage
