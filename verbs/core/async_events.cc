#include "verbs/core/async_events.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "verbs/core/semaphore_fd.h"

namespace qpip::verbs {

AsyncEvents::AsyncEvents() : fd_(eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC)) {}

AsyncEvents::~AsyncEvents() {
  if (fd_ >= 0) close(fd_);
}

void AsyncEvents::Raise(const ibv_async_event& event) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(event);
  PostTo(fd_);
}

int AsyncEvents::Get(ibv_async_event* event) {
  for (;;) {
    std::unique_lock lock(mutex_);
    if (waiting_.empty()) {
      lock.unlock();
      if (AwaitOne(fd_) != 0) return -1;
      continue;
    }
    if (TakeFrom(fd_) != 0) return -1;
    *event = waiting_.front();
    waiting_.pop_front();
    const void* object = event->element.qp;
    const auto found = std::find_if(given_.begin(), given_.end(),
                                    [object](const auto& entry) { return entry.first == object; });
    if (found == given_.end()) {
      given_.emplace_back(object, 1);
    } else {
      ++found->second;
    }
    return 0;
  }
}

uint32_t AsyncEvents::Forget(const void* object) {
  const std::lock_guard lock(mutex_);
  const size_t before = waiting_.size();
  std::erase_if(waiting_, [object](const auto& event) { return event.element.qp == object; });
  for (size_t i = waiting_.size(); i < before; ++i) TryTakeFrom(fd_);
  uint32_t given = 0;
  std::erase_if(given_, [&](const auto& entry) {
    if (entry.first == object) given = entry.second;
    return entry.first == object;
  });
  return given;
}

}  // namespace qpip::verbs
