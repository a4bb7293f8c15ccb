// Sockets: poll and epoll_wait. What sockets have is known here; what else is waited for the kernel
// is asked for.
#include <errno.h>
#include <poll.h>

#include <algorithm>
#include <vector>

#include "preload/core/sockets.h"

namespace qpip::preload {

namespace {

constexpr uint32_t kAlways = POLLERR | POLLHUP | POLLNVAL;

class LookAtSet final : public Stack::Look {
 public:
  LookAtSet(EpollSets& sets, int epoll, std::span<epoll_event> out)
      : sets_(sets), epoll_(epoll), out_(out) {}

  int Own() override { return sets_.Tell(epoll_, out_); }
  int Kernel() override {
    const int ready = epoll_wait(epoll_, out_.data(), static_cast<int>(out_.size()), 0);
    return ready < 0 ? -errno : ready;
  }
  bool kernel_has_sockets() const override { return true; }

 private:
  EpollSets& sets_;
  const int epoll_;
  const std::span<epoll_event> out_;
};

}  // namespace

// Looks at descriptors of both kinds.
class Sockets::LookAtList final : public Stack::Look {
 public:
  LookAtList(const Sockets& sockets, std::span<pollfd> fds) : sockets_(sockets), fds_(fds) {}

  int Own() override {
    ready_ = 0;
    others_.clear();
    nested_ = false;
    for (pollfd& each : fds_) {
      each.revents = 0;
      const Socket* socket = sockets_.Has(each.fd) ? sockets_.Find(each.fd).get() : nullptr;
      if (socket == nullptr || socket->kind != Socket::Kind::kQueuePair) {
        others_.push_back(each);
        nested_ = nested_ || sockets_.Watches(each.fd);
        continue;
      }
      const uint32_t asked = static_cast<uint16_t>(each.events) | kAlways;
      each.revents = static_cast<short>(socket->Events() & asked);
      if (each.revents != 0) ++ready_;
    }
    return ready_ != 0 && !others_.empty() ? kAskKernel : ready_;
  }
  int Kernel() override {
    if (others_.empty()) return 0;
    const int found = poll(others_.data(), others_.size(), 0);
    if (found < 0) return -errno;
    auto other = others_.begin();
    for (pollfd& each : fds_) {
      if (other == others_.end()) break;
      if (each.fd != other->fd) continue;
      each.revents = other->revents;
      ++other;
    }
    return ready_ + found;
  }
  bool kernel_has_sockets() const override { return nested_; }

 private:
  const Sockets& sockets_;
  const std::span<pollfd> fds_;
  std::vector<pollfd> others_;  ///< in the order of `fds_`
  bool nested_ = false;         ///< an epoll set with sockets in it is among them
  int ready_ = 0;
};

long Sockets::Poll(std::span<pollfd> fds, Clock::time_point deadline, const sigset_t* mask) {
  LookAtList look(*this, fds);
  return stack_->Wait(fds, deadline, mask, look);
}

long Sockets::EpollWait(int epoll, std::span<epoll_event> out, Clock::time_point deadline,
                        const sigset_t* mask) {
  if (out.empty()) return -EINVAL;
  LookAtSet look(sets_, epoll, out);
  bool kernels_turn;
  {
    const Guard guard(lock_);
    kernels_turn = sets_.KernelsTurn(epoll);
    if (kernels_turn) stack_->Sync();
  }
  if (kernels_turn) {
    if (const int result = look.Kernel(); result != 0) return result;
  }
  const pollfd own = {.fd = epoll, .events = POLLIN, .revents = 0};
  return stack_->Wait({&own, 1}, deadline, mask, look);
}

}  // namespace qpip::preload
