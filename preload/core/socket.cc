#include "preload/core/socket.h"

namespace qpip::preload {

void Socket::Sync() {
  if (fds.empty() || readiness == nullptr) return;
  if (acceptor != nullptr) {
    readiness->Set(fds[0], {.in = acceptor->waiting()}, acceptor->TakeArrived() && edge, false);
  } else if (connection != nullptr) {
    const bool arrived = connection->TakeArrived();
    const bool unblocked = connection->TakeUnblocked();
    readiness->Set(fds[0], connection->level(), arrived && edge, unblocked && edge);
  } else if (listening_shut) {
    readiness->Set(fds[0], {.in = true, .out = true, .end_of_input = true, .hang_up = true}, false,
                   false);
  }
}

}  // namespace qpip::preload
