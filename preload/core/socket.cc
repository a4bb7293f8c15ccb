#include "preload/core/socket.h"

#include <poll.h>

#include <algorithm>
#include <utility>

namespace qpip::preload {

static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLRDHUP == POLLRDHUP &&
              EPOLLHUP == POLLHUP && EPOLLERR == POLLERR && EPOLLRDNORM == POLLRDNORM &&
              EPOLLWRNORM == POLLWRNORM);

Readiness::Level Socket::Level() const {
  if (acceptor != nullptr) return {.in = acceptor->waiting()};
  if (connection != nullptr) return connection->level();
  if (listening_shut) return {.in = true, .out = true, .end_of_input = true, .hang_up = true};
  return {};
}

uint32_t Socket::Events() const {
  if (kind != Kind::kQueuePair) return 0;
  const Readiness::Level level = Level();
  uint32_t events = 0;
  if (level.in || level.end_of_input) events |= EPOLLIN | EPOLLRDNORM;
  if (level.out) events |= EPOLLOUT | EPOLLWRNORM;
  if (level.end_of_input || level.hang_up) events |= EPOLLRDHUP;
  if (level.hang_up) events |= EPOLLHUP;
  if (level.error) events |= EPOLLERR;
  return events;
}

void Socket::Note() {
  bool arrived = false;
  bool unblocked = false;
  if (acceptor != nullptr) {
    arrived = acceptor->TakeArrived();
  } else if (connection != nullptr) {
    arrived = connection->TakeArrived();
    unblocked = connection->TakeUnblocked();
  }
  again_in = again_in || arrived;
  again_out = again_out || unblocked;
  for (EpollSets::Registration* each : registrations) each->Note(arrived, unblocked);
}

void Socket::Sync() {
  const bool in = std::exchange(again_in, false);
  const bool out = std::exchange(again_out, false);
  if (fds.empty() || readiness == nullptr) return;
  const bool told = !registrations.empty() &&
                    std::all_of(registrations.begin(), registrations.end(),
                                [](const EpollSets::Registration* each) { return each->told; });
  if (told) return readiness->Lower(fds[0], Level());
  readiness->Set(fds[0], Level(), in && edge, out && edge);
  // What has an edge is the kernel's to tell now.
  for (EpollSets::Registration* each : registrations) each->edge = false;
}

}  // namespace qpip::preload
