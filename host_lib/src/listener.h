// A listening port: the idle queue pairs it was offered and the connected ones not yet accepted.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "qpip/qpip.h"

namespace qpip::internal {

/// Thread-safe.
class ListenerImpl {
 public:
  /// Throws Error: EADDRINUSE, ENOMEM.
  static std::shared_ptr<ListenerImpl> Open(std::shared_ptr<NicImpl> nic, uint16_t port,
                                            uint16_t backlog);
  ListenerImpl(std::shared_ptr<NicImpl> nic, uint32_t handle, uint16_t port)
      : nic_(std::move(nic)), handle_(handle), port_(port) {}

  /// Stops listening; offered queue pairs that are still idle return to kIdle.
  void Close();

  NicImpl& nic() const { return *nic_; }
  uint32_t handle() const { return handle_; }
  uint16_t port() const { return port_; }

  void AddOffer(QpImpl* qp);
  /// The queue pair is gone or its offer was refused.
  void Forget(QpImpl* qp);
  /// An offered queue pair is connected. Called by the event dispatcher.
  void OnEstablished(QpImpl* qp);
  QueuePair* Accept(Timeout timeout);
  int fd();

 private:
  /// What the descriptor has told so far is looked at from here on.
  void ClearFd();
  void LeaveToDescriptor();

  std::shared_ptr<NicImpl> nic_;
  const uint32_t handle_;
  const uint16_t port_;

  std::mutex mutex_;  ///< guards what follows
  std::vector<QpImpl*> offered_;
  std::deque<QpImpl*> established_;
  int fd_ = -1;  ///< an eventfd that the NIC's events write to, once it was asked for
};

}  // namespace qpip::internal
