#include "storage/core/thread_pool.h"

#include <system_error>

namespace qpip::storage {

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Run(Task& task) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_ >= idle_ && threads_.size() < most_) {
      try {
        threads_.emplace_back([this] { Work(); });
        ++idle_;
      } catch (const std::system_error&) {
        // Those that there are do it, in their turn.
      }
    }
    if (!threads_.empty()) {
      tasks_.Push(task);
      ++waiting_;
      work_.notify_one();
      return;
    }
  }
  task.run(task);
}

bool ThreadPool::RunAgain(Task& task) {
  const std::lock_guard lock(mutex_);
  if (tasks_.empty() || threads_.empty()) return false;
  tasks_.Push(task);
  ++waiting_;
  work_.notify_one();
  return true;
}

void ThreadPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
    Task* const task = tasks_.Pop();
    if (task == nullptr) return;
    --waiting_;
    --idle_;
    lock.unlock();
    task->run(*task);
    lock.lock();
    ++idle_;
  }
}

}  // namespace qpip::storage
