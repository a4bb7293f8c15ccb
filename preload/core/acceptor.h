// A listening port: queue pairs that wait for a peer, and connections that wait for accept(2).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "preload/core/connection.h"
#include "qpip/qpip.h"

namespace qpip::preload {

/// All calls with the stack's lock.
class Acceptor {
 public:
  /// Listens. `backlog`: connections that may wait for accept(2). Throws Error.
  Acceptor(Stack& stack, uint16_t port, int backlog);
  ~Acceptor();  ///< Connections that nobody has accepted end with RST.
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  Socket* owner() const { return owner_; }
  void set_owner(Socket* owner) { owner_ = owner; }
  void set_backlog(int backlog);

  /// Takes what is established off the NIC, and offers queue pairs for more.
  void Refresh();
  /// The oldest connection; nullptr: none.
  std::unique_ptr<Connection> Take();
  bool waiting() const { return !established_.empty(); }
  bool TakeArrived() { return std::exchange(arrived_, false); }

 private:
  void OfferMore();

  Stack& stack_;
  std::unique_ptr<Listener> listener_;
  size_t backlog_ = 1;
  std::deque<std::unique_ptr<Connection>> offered_;
  std::deque<std::unique_ptr<Connection>> established_;
  Socket* owner_ = nullptr;
  bool arrived_ = false;
};

}  // namespace qpip::preload
