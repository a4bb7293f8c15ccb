// What holds of a queue pair whenever no handler is at work on it, whatever the host and the wire
// have done. Checked where QPIP_ASSERT is on.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

#if QPIP_ASSERTIONS
void CheckQueuePair(const Nic& nic, const QueuePair& q);

/// A handler of `q`: checks at its entry and at its exit.
class Handler {
 public:
  Handler(const Nic& nic, const QueuePair& q) : nic_(nic), q_(q) { CheckQueuePair(nic_, q_); }
  ~Handler() { CheckQueuePair(nic_, q_); }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;

 private:
  const Nic& nic_;
  const QueuePair& q_;
};
#else
class Handler {
 public:
  Handler(const Nic&, const QueuePair&) {}
};
#endif

}  // namespace qpip::fw
