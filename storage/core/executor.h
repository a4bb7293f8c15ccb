// Where storage's callbacks run: one at a time, on a thread (or a fibre) of the caller's.
#pragma once

namespace qpip::storage {

class FileRing;

/// A callback in a list of them. Whoever posts it keeps it until it runs.
struct Task {
  void (*run)(Task&) = nullptr;
  Task* next = nullptr;  ///< of the list that holds it
};

/// Runs tasks in the order in which they were posted.
class Executor {
 public:
  virtual ~Executor() = default;

  /// `task` runs soon, never inside of this call. Thread-safe; does not allocate, never fails.
  virtual void Post(Task& task) = 0;
  /// A ring of this executor's own for reads, writes and syncs of files; nullptr where there is
  /// none, and threads do it. Only on the executor.
  virtual FileRing* ring() { return nullptr; }
};

/// Runs tasks that may block, elsewhere than on an executor.
class Workers {
 public:
  virtual ~Workers() = default;
  /// `task` runs on a thread of the workers'; inside of this call when they have none. Thread-safe;
  /// does not allocate.
  virtual void Run(Task& task) = 0;
};

/// First in, first out. Not thread-safe.
class TaskList {
 public:
  bool empty() const { return first_ == nullptr; }
  void Push(Task& task) {
    task.next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = &task;
    last_ = &task;
  }
  /// nullptr when there is none.
  Task* Pop() {
    Task* const task = first_;
    if (task != nullptr) first_ = task->next;
    return task;
  }

 private:
  Task* first_ = nullptr;
  Task* last_ = nullptr;
};

}  // namespace qpip::storage
