#include "apps/nbd/run_command.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include "apps/common/command_line.h"

extern char** environ;

namespace qpip::nbd {

namespace {

/// This process's variables, but for those that begin like one of `added` ("name=..."), and `added`
/// behind them. Refers to both.
std::vector<char*> Environment(std::vector<std::string>& added) {
  const auto is_replaced = [&](std::string_view variable) {
    return std::any_of(added.begin(), added.end(), [&](const std::string& each) {
      return variable.starts_with(std::string_view(each).substr(0, each.find('=') + 1));
    });
  };
  std::vector<char*> variables;
  for (char** each = environ; *each != nullptr; ++each) {
    if (!is_replaced(*each)) variables.push_back(*each);
  }
  for (std::string& each : added) variables.push_back(each.data());
  variables.push_back(nullptr);
  return variables;
}

/// What this process ignores, its children are not to ignore with it: `yes | head` would not end
/// (apps::IgnoreErrorSignals).
class DefaultSignals {
 public:
  DefaultSignals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int each : {SIGPIPE, SIGXFSZ}) sigaddset(&signals, each);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setsigdefault(&attributes_, &signals);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF);
  }
  ~DefaultSignals() { posix_spawnattr_destroy(&attributes_); }
  DefaultSignals(const DefaultSignals&) = delete;
  DefaultSignals& operator=(const DefaultSignals&) = delete;

  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

}  // namespace

PrivateSocketPath::PrivateSocketPath() {
  const char* const base = std::getenv("TMPDIR");
  folder_ = std::string(base != nullptr ? base : "/tmp") + "/qpip-nbd.XXXXXX";
  if (mkdtemp(folder_.data()) == nullptr) {
    throw apps::Failure("no folder for a socket: " + folder_ + ": " + std::strerror(errno));
  }
}

PrivateSocketPath::~PrivateSocketPath() {
  unlink(path().c_str());
  rmdir(folder_.c_str());
}

RunningCommand::RunningCommand(const std::string& command, const std::string& uri,
                               const std::string& socket_path, apps::StopToken& stop) {
  std::vector<std::string> added = {
      "uri=" + uri, "unixsocket=" + socket_path,
      "exportname=", "nbd=" + (socket_path.empty() ? uri : "nbd:unix:" + socket_path)};
  const std::vector<char*> variables = Environment(added);
  const DefaultSignals signals;
  std::string text = command;
  std::string shell = "sh";
  std::string flag = "-c";
  char* const arguments[] = {shell.data(), flag.data(), text.data(), nullptr};
  const int error =
      posix_spawn(&pid_, "/bin/sh", nullptr, signals.get(), arguments, variables.data());
  if (error != 0) throw apps::Failure("cannot run: " + command + ": " + std::strerror(error));
  waiter_ = std::thread([this, &stop] {
    siginfo_t ended = {};
    // Its number stays taken until Finish has looked, so that no signal goes astray.
    while (waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOWAIT) != 0 &&
           errno == EINTR) {
    }
    stop.Request();
  });
}

RunningCommand::~RunningCommand() {
  if (waiter_.joinable()) Finish();
}

int RunningCommand::Finish() {
  if (waiter_.joinable()) {
    kill(pid_, SIGTERM);  // nothing happens to one that has ended
    waiter_.join();
    while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

}  // namespace qpip::nbd
