#include "apps/sim/plot.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "apps/common/command_line.h"
#include "apps/common/json_output.h"

namespace qpip::apps {
namespace {

namespace fs = std::filesystem;

fs::path Program() {
  const fs::path executable = fs::read_symlink("/proc/self/exe");
  fs::path program =
      executable.parent_path().parent_path() / "share" / "qpip" / "plot" / "qpip_plot.py";
  if (!fs::exists(program)) {
    throw Failure("cannot draw: " + program.string() +
                  " is missing: install QPIP or build it again; data files are written all the "
                  "same");
  }
  return program;
}

/// Runs a command with `input` on its standard input; returns its exit status, 127 when there is no
/// such command.
int Run(const std::vector<std::string>& command, const std::string& input, bool quiet) {
  int ends[2];
  if (pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid == 0) {
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    close(ends[1]);
    if (quiet) dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(ends[0]);
  // It may end before it has read everything; the status says why.
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  for (size_t done = 0; done < input.size();) {
    const ssize_t wrote = write(ends[1], input.data() + done, input.size() - done);
    if (wrote < 0 && errno != EINTR) break;
    if (wrote > 0) done += static_cast<size_t>(wrote);
  }
  close(ends[1]);
  std::signal(SIGPIPE, before);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/// A Python that has matplotlib: the first on the path, or the system's behind it.
std::string FindPython() {
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (Run({python, "-c", "import matplotlib"}, "", true) == 0) return python;
  }
  throw Failure(
      "cannot draw: no Python 3 with matplotlib: install the package python3-matplotlib; data "
      "files are written all the same");
}

}  // namespace

void Plot(const std::vector<std::string>& arguments, const nlohmann::json& study) {
  const fs::path program = Program();
  // -B: leaves no __pycache__ in a source or system directory.
  std::vector<std::string> command = {FindPython(), "-B", program.string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  if (Run(command, JsonText(study), false) != 0) {
    throw Failure("cannot draw: " + program.string() + " failed, see above");
  }
}

}  // namespace qpip::apps
