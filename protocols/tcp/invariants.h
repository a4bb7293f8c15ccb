// What holds between any two calls of the machine, whatever the peer and the owner do: orders of
// sequence numbers, sums of tables, timers of what waits. Assertions (protocols/common/assert.h),
// at entry and exit of each handler.
#pragma once

#include "protocols/common/assert.h"
#include "protocols/tcp/tcb.h"

namespace qpip::tcp::internal {

#if QPIP_ASSERTIONS
/// Aborts when `tcb` is not what the machine leaves behind.
void AssertInvariants(const Tcb& tcb);

/// One at the top of a handler asserts on both sides of it.
class Invariants {
 public:
  explicit Invariants(const Tcb& tcb) : tcb_(tcb) { AssertInvariants(tcb_); }
  ~Invariants() { AssertInvariants(tcb_); }
  Invariants(const Invariants&) = delete;
  Invariants& operator=(const Invariants&) = delete;

 private:
  const Tcb& tcb_;
};
#else
struct Invariants {
  explicit Invariants(const Tcb&) {}
};
#endif

}  // namespace qpip::tcp::internal
