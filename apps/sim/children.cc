#include "apps/sim/children.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "apps/common/command_line.h"
#include "apps/sim/study.h"

namespace qpip::apps {
namespace {

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

[[noreturn]] void FailToStart() {
  throw Failure(std::string("cannot start a process: ") + std::strerror(errno) +
                ": give fewer --jobs");
}

}  // namespace

Children::~Children() {
  for (const Child& child : children_) kill(child.pid, SIGTERM);
  for (const Child& child : children_) {
    WaitFor(child.pid);
    close(child.pipe);
  }
}

void Children::Start(size_t number, const std::function<int(int output)>& work) {
  InterruptToken();  // before there is anybody to end
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) FailToStart();
  std::fflush(nullptr);
  // A signal that comes before the child is ready to die of it waits until it is.
  sigset_t ending;
  sigset_t before;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigprocmask(SIG_BLOCK, &ending, &before);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    // Whose parent is killed has nobody to report to, and perhaps hours to go.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    close(ends[0]);
    close(ends[1]);
    FailToStart();
  }
  if (pid == 0) {
    close(ends[0]);
    for (const Child& other : children_) close(other.pipe);
    _exit(work(ends[1]));
  }
  close(ends[1]);
  children_.push_back({number, pid, ends[0], {}});
}

EndedChild Children::WaitForOne() {
  for (;;) {
    std::vector<pollfd> waits;
    for (const Child& child : children_) waits.push_back({child.pipe, POLLIN, 0});
    waits.push_back({InterruptToken().fd(), POLLIN, 0});
    if (poll(waits.data(), waits.size(), -1) < 0) continue;  // EINTR
    if (waits.back().revents != 0) throw Failure("interrupted");
    for (size_t i = 0; i < children_.size(); ++i) {
      if (waits[i].revents == 0 || ReadSome(&children_[i])) continue;
      Child child = std::move(children_[i]);
      children_.erase(children_.begin() + static_cast<ptrdiff_t>(i));
      close(child.pipe);
      const int status = WaitFor(child.pid);
      return {child.number, WIFEXITED(status) && WEXITSTATUS(status) == 0, std::move(child.output)};
    }
  }
}

bool Children::ReadSome(Child* child) {
  char buffer[65536];
  const ssize_t got = read(child->pipe, buffer, sizeof(buffer));
  if (got < 0) return errno == EINTR;
  child->output.append(buffer, static_cast<size_t>(got));
  return got != 0;
}

void WriteAll(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote = write(fd, text.data() + done, text.size() - done);
    if (wrote < 0 && errno != EINTR) return;
    if (wrote > 0) done += static_cast<size_t>(wrote);
  }
}

}  // namespace qpip::apps
