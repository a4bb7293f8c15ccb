#include "verbs/core/engine.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace qpip::verbs {

namespace {

void Signal(int fd) {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the descriptor is readable anyway.
  [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof one);
}

void Clear(int fd) {
  uint64_t count;
  while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
  }
}

// Rounded up: a time-out that is not over yet would make the loop spin.
int MillisecondsUntil(Clock::time_point then) {
  if (then == Clock::time_point::max()) return -1;
  const auto left = then - Clock::now();
  if (left <= Clock::duration::zero()) return 0;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::min<int64_t>(ms, 60000));
}

}  // namespace

Engine::Engine(Nic& nic) : nic_(nic), opened_by_(getpid()) {
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd_ < 0) throw Error(errno, "verbs: cannot create an eventfd");
  nic_.WatchEvents(wake_fd_);
  // The program's signals are for its own threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Engine::~Engine() {
  if (getpid() != opened_by_) {  // a child of fork: the thread is the parent's
    thread_.detach();
    close(wake_fd_);
    return;
  }
  {
    const std::lock_guard lock(control_);
    stopping_ = true;
  }
  Signal(wake_fd_);
  thread_.join();
  nic_.UnwatchEvents(wake_fd_);
  close(wake_fd_);
}

void Engine::Add(std::shared_ptr<Task> task) {
  tasks_.push_back(std::move(task));
  Signal(wake_fd_);
}

void Engine::Remove(const Task* task) {
  std::erase_if(tasks_, [task](const auto& other) { return other.get() == task; });
  removed_.notify_all();
}

bool Engine::AnyLingers() const {
  return std::any_of(tasks_.begin(), tasks_.end(),
                     [](const auto& task) { return task->Lingers(); });
}

bool Engine::AwaitLingering(std::unique_lock<std::mutex>& control) {
  if (!AnyLingers()) return false;
  removed_.wait(control);
  return true;
}

void Engine::Wake() { Signal(wake_fd_); }

Clock::time_point Engine::TakeTurns() {
  // A turn may add and remove tasks, its own among them.
  const std::vector<std::shared_ptr<Task>> turns = tasks_;
  auto next = Clock::time_point::max();
  for (const auto& task : turns) {
    if (std::find(tasks_.begin(), tasks_.end(), task) == tasks_.end()) continue;
    if (stopping_ && !task->Lingers()) continue;
    next = std::min(next, task->OnTurn());
  }
  return next;
}

void Engine::Run() {
  pthread_setname_np(pthread_self(), "qpip-verbs");
  std::vector<pollfd> fds;
  for (;;) {
    Clock::time_point next;
    fds.assign(1, {.fd = wake_fd_, .events = POLLIN, .revents = 0});
    nic_.DispatchEvents();
    {
      const std::lock_guard lock(control_);
      if (stopping_ && !AnyLingers()) return;
      next = TakeTurns();
      for (const auto& task : tasks_) {
        const int fd = task->fd();
        if (fd >= 0) fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});
      }
    }
    if (poll(fds.data(), fds.size(), MillisecondsUntil(next)) > 0 && fds[0].revents != 0) {
      Clear(wake_fd_);
    }
  }
}

}  // namespace qpip::verbs
