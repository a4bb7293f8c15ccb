// Where storage's callbacks run: one at a time, on a thread (or a fibre) of the caller's.
#pragma once

#include <memory>

namespace qpip::storage {

class FileRing;

/// A callback in a list of them. Whoever posts it keeps it until it runs.
struct Task {
  void (*run)(Task&) = nullptr;
  Task* next = nullptr;  ///< of the list that holds it
};

/// What an executor's thread runs besides tasks: something with a descriptor of its own, whose
/// requests end in Run. Used by that thread alone.
class Source {
 public:
  virtual ~Source() = default;
  /// Does what there is to do, and does not wait. Returns whether there was anything.
  virtual bool Run() = 0;
  /// Asks for fd() to become readable. Returns false when there is something to do already.
  virtual bool Arm() = 0;
  virtual int fd() const = 0;  ///< the same for life; its epoll forgets it when it is closed
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
  /// The source that `owner` has added; nullptr: none. Only on the executor.
  virtual Source* FindSource(const void* /*owner*/) { return nullptr; }
  /// Takes it, and runs it from now on, as long as the executor lives; `owner` lives as long.
  /// Returns false, and forgets it, when this executor runs no sources, or there is no descriptor.
  /// Only on the executor.
  virtual bool AddSource(const void* /*owner*/, std::unique_ptr<Source> /*source*/) {
    return false;
  }
};

/// Runs tasks that may block, elsewhere than on an executor.
class Workers {
 public:
  virtual ~Workers() = default;
  /// `task` runs on a thread of the workers'; inside of this call when they have none. Thread-safe;
  /// does not allocate.
  virtual void Run(Task& task) = 0;
  /// For a task that runs there and has more to do: it runs again, behind those that wait. Returns
  /// false when it is to go on by itself. Thread-safe; does not allocate.
  virtual bool RunAgain(Task& /*task*/) { return false; }
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
