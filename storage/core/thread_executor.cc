#include "storage/core/thread_executor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace qpip::storage {

namespace {

bool Watch(int epoll, int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

ThreadExecutor::ThreadExecutor(Rings rings)
    : rings_(rings),
      fd_(epoll_create1(EPOLL_CLOEXEC)),
      posted_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ >= 0 && posted_fd_ >= 0 && Watch(fd_, posted_fd_)) return;
  const int error = errno;
  if (fd_ >= 0) close(fd_);
  if (posted_fd_ >= 0) close(posted_fd_);
  throw std::system_error(error, std::generic_category(), "no descriptor for an executor");
}

ThreadExecutor::~ThreadExecutor() {
  sources_.clear();
  ring_.reset();
  close(posted_fd_);
  close(fd_);
}

void ThreadExecutor::Post(Task& task) {
  const std::lock_guard lock(mutex_);
  posted_.Push(task);
  any_posted_.store(true, std::memory_order_release);
  if (!asleep_) return;
  asleep_ = false;
  const uint64_t one = 1;
  // With the lock: the executor may be destroyed as soon as the task has run.
  [[maybe_unused]] const ssize_t written = write(posted_fd_, &one, sizeof one);
}

FileRing* ThreadExecutor::ring() {
  if (!ring_ && rings_ == Rings::kWherePermitted) {
    ring_ = FileRing::TryMake();
    if (ring_ && !Watch(fd_, ring_->fd())) ring_.reset();
    if (!ring_) rings_ = Rings::kNever;
  }
  return ring_.get();
}

Source* ThreadExecutor::FindSource(const void* owner) {
  for (const auto& [whose, source] : sources_) {
    if (whose == owner) return source.get();
  }
  return nullptr;
}

bool ThreadExecutor::AddSource(const void* owner, std::unique_ptr<Source> source) {
  if (!Watch(fd_, source->fd())) return false;
  sources_.emplace_back(owner, std::move(source));
  return true;
}

bool ThreadExecutor::RunReady() {
  bool ran = ring_ && ring_->SubmitAndReap() > 0;
  // What ends there may submit, and so add sources.
  for (size_t i = 0; i < sources_.size(); ++i) ran |= sources_[i].second->Run();
  if (ready_.empty()) {
    if (!any_posted_.load(std::memory_order_acquire)) return ran;
    const std::lock_guard lock(mutex_);
    ready_ = std::exchange(posted_, {});
    any_posted_.store(false, std::memory_order_relaxed);
  }
  while (Task* const task = ready_.Pop()) {
    task->run(*task);
    ran = true;
  }
  return ran;
}

bool ThreadExecutor::Sleep() {
  if (!ready_.empty() || (ring_ && ring_->Ready())) return false;
  for (const auto& source : sources_) {
    if (!source.second->Arm()) return false;
  }
  const std::lock_guard lock(mutex_);
  if (!posted_.empty()) return false;
  asleep_ = true;
  return true;
}

void ThreadExecutor::Awake() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t bytes = read(posted_fd_, &count, sizeof count);
  const std::lock_guard lock(mutex_);
  asleep_ = false;
}

}  // namespace qpip::storage
