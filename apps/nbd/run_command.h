// A command that runs as long as the server: nbdkit's --run.
#pragma once

#include <sys/types.h>

#include <string>
#include <thread>

#include "apps/common/stop.h"

namespace qpip::nbd {

/// A folder of this process's own with room for a socket; removed with the object. The name of the
/// socket is path().
class PrivateSocketPath {
 public:
  PrivateSocketPath();  ///< Throws apps::Failure.
  ~PrivateSocketPath();
  PrivateSocketPath(const PrivateSocketPath&) = delete;
  PrivateSocketPath& operator=(const PrivateSocketPath&) = delete;

  std::string path() const { return folder_ + "/socket"; }

 private:
  std::string folder_;
};

/// Runs `sh -c COMMAND` with the variables uri, nbd, unixsocket and exportname, as nbdkit names
/// them, and requests `stop` when it has ended.
class RunningCommand {
 public:
  /// `uri`: "nbd+unix:///?socket=..." or "nbd://..."; `socket_path` empty in the second case.
  /// `stop` must outlive it. Throws apps::Failure.
  RunningCommand(const std::string& command, const std::string& uri, const std::string& socket_path,
                 apps::StopToken& stop);
  ~RunningCommand();  ///< Asks it to end (SIGTERM) and waits for that.
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;

  /// Waits for it, after SIGTERM if it runs still. Its exit status as a shell tells it.
  int Finish();

 private:
  pid_t pid_ = -1;
  int status_ = 0;
  std::thread waiter_;
};

}  // namespace qpip::nbd
