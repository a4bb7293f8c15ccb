// poll, select and epoll.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include <algorithm>
#include <vector>

#include "preload/interpose/interpose.h"

using namespace qpip::preload;  // NOLINT: the C library's names are outside of it

namespace {

bool Concerns(int fd) { return g_sockets->Has(fd) || g_sockets->Watches(fd); }

bool Concerns(const pollfd* fds, nfds_t count) {
  if (!Outside() || !g_sockets->open() || fds == nullptr) return false;
  return std::any_of(fds, fds + count, [](const pollfd& each) { return Concerns(each.fd); });
}

Clock::time_point InMs(int ms) {
  return ms < 0 ? kForEver : Clock::now() + std::chrono::milliseconds(ms);
}

Clock::time_point After(const timespec* time) {
  if (time == nullptr) return kForEver;
  return DeadlineAfter(std::chrono::seconds(time->tv_sec), std::chrono::nanoseconds(time->tv_nsec));
}

int Poll(pollfd* fds, nfds_t count, Clock::time_point deadline, const sigset_t* mask) {
  const auto poll = [&](Sockets& sockets) { return sockets.Poll({fds, count}, deadline, mask); };
  return Return<int>(Enter(poll));
}

// The sets of a select(2).
struct Sets {
  fd_set* read;
  fd_set* write;
  fd_set* except;

  std::vector<pollfd> List(int count) const {
    std::vector<pollfd> list;
    for (int fd = 0; fd < count; ++fd) {
      short events = 0;
      if (read != nullptr && FD_ISSET(fd, read)) events |= POLLIN;
      if (write != nullptr && FD_ISSET(fd, write)) events |= POLLOUT;
      if (except != nullptr && FD_ISSET(fd, except)) events |= POLLPRI;
      if (events != 0) list.push_back({.fd = fd, .events = events, .revents = 0});
    }
    return list;
  }
};

// Which of poll's events each set of a select(2) stands for.
constexpr short kReadable = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR;
constexpr short kWritable = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR;

int Select(const Sets& sets, std::vector<pollfd>& list, Clock::time_point deadline,
           const sigset_t* mask) {
  const int result = Poll(list.data(), list.size(), deadline, mask);
  if (result < 0) return result;
  int bits = 0;
  for (const pollfd& each : list) {
    if ((each.revents & POLLNVAL) != 0) return Return<int>(-EBADF);
  }
  for (const pollfd& each : list) {
    const auto keep = [&](fd_set* set, short asked, short events) {
      if ((each.events & asked) == 0) return;
      if ((each.revents & events) != 0) {
        ++bits;
      } else {
        FD_CLR(each.fd, set);
      }
    };
    keep(sets.read, POLLIN, kReadable);
    keep(sets.write, POLLOUT, kWritable);
    keep(sets.except, POLLPRI, POLLPRI);
  }
  return bits;
}

int EpollWait(int epoll, epoll_event* events, int room, Clock::time_point deadline,
              const sigset_t* mask) {
  if (room <= 0) return Return<int>(-EINVAL);
  return Return<int>(Enter([&](Sockets& sockets) {
    return sockets.EpollWait(epoll, {events, static_cast<size_t>(room)}, deadline, mask);
  }));
}

bool Concerned(int epoll) { return Outside() && g_sockets->open() && g_sockets->Watches(epoll); }

}  // namespace

extern "C" {

int poll(pollfd* fds, nfds_t count, int timeout_ms) {
  QPIP_REAL(poll);
  if (!Concerns(fds, count)) return real(fds, count, timeout_ms);
  return Poll(fds, count, InMs(timeout_ms), nullptr);
}

int ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  QPIP_REAL(ppoll);
  if (!Concerns(fds, count)) return real(fds, count, timeout, mask);
  return Poll(fds, count, After(timeout), mask);
}

int __poll_chk(pollfd* fds, nfds_t count, int timeout_ms, size_t) {
  return poll(fds, count, timeout_ms);
}

int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t) {
  return ppoll(fds, count, timeout, mask);
}

int select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
  QPIP_REAL(select);
  const Sets sets = {read, write, except};
  if (!Outside() || !g_sockets->open()) return real(count, read, write, except, timeout);
  std::vector<pollfd> list = sets.List(count);
  if (!Concerns(list.data(), list.size())) return real(count, read, write, except, timeout);
  const Clock::time_point deadline =
      timeout == nullptr ? kForEver
                         : DeadlineAfter(std::chrono::seconds(timeout->tv_sec),
                                         std::chrono::microseconds(timeout->tv_usec));
  const int result = Select(sets, list, deadline, nullptr);
  if (deadline != kForEver) {  // Linux tells what is left
    const auto left = std::max(deadline - Clock::now(), Clock::duration::zero());
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(left).count();
    *timeout = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
  }
  return result;
}

int pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout,
            const sigset_t* mask) {
  QPIP_REAL(pselect);
  const Sets sets = {read, write, except};
  if (!Outside() || !g_sockets->open()) return real(count, read, write, except, timeout, mask);
  std::vector<pollfd> list = sets.List(count);
  if (!Concerns(list.data(), list.size())) return real(count, read, write, except, timeout, mask);
  return Select(sets, list, After(timeout), mask);
}

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  QPIP_REAL(epoll_ctl);
  const int result = real(epoll, operation, fd, event);
  if (result != 0 || !Ours(fd)) return result;
  Enter([&](Sockets& sockets) {
    sockets.OnEpoll(epoll, fd, operation == EPOLL_CTL_DEL ? nullptr : event);
    return 0L;
  });
  return result;
}

int epoll_wait(int epoll, epoll_event* events, int room, int timeout_ms) {
  QPIP_REAL(epoll_wait);
  if (!Concerned(epoll)) return real(epoll, events, room, timeout_ms);
  return EpollWait(epoll, events, room, InMs(timeout_ms), nullptr);
}

int epoll_pwait(int epoll, epoll_event* events, int room, int timeout_ms, const sigset_t* mask) {
  QPIP_REAL(epoll_pwait);
  if (!Concerned(epoll)) return real(epoll, events, room, timeout_ms, mask);
  return EpollWait(epoll, events, room, InMs(timeout_ms), mask);
}

int epoll_pwait2(int epoll, epoll_event* events, int room, const timespec* timeout,
                 const sigset_t* mask) {
  QPIP_REAL(epoll_pwait2);
  if (!Concerned(epoll)) return real(epoll, events, room, timeout, mask);
  return EpollWait(epoll, events, room, After(timeout), mask);
}

}  // extern "C"
