// Child processes, each with a simulation of its own: ns-3's simulator is global to a process.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace qpip::apps {

/// One that has ended.
struct EndedChild {
  size_t number = 0;  ///< as given to Start
  bool fine = false;  ///< it returned 0
  std::string output;
};

/// Some child processes at a time. Those that are left are ended when this is, and killed when
/// the process is.
class Children {
 public:
  Children() = default;
  ~Children();
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  /// Runs `work` in a new process; what it writes to the descriptor is its output, what it returns
  /// its exit status. Throws Failure when there can be no process.
  void Start(size_t number, const std::function<int(int output)>& work);
  size_t size() const { return children_.size(); }
  /// Waits until one has ended. Throws Failure "interrupted" on SIGINT or SIGTERM.
  EndedChild WaitForOne();

 private:
  struct Child {
    size_t number;
    pid_t pid;
    int pipe;
    std::string output;
  };
  /// Reads what has come; false at the end.
  static bool ReadSome(Child* child);

  std::vector<Child> children_;
};

/// Writes all of it, or as much as the other end takes.
void WriteAll(int fd, const std::string& text);

}  // namespace qpip::apps
