// A NIC belongs to the process that opened it. A child of fork(2) has copies of its objects,
// descriptors and mappings, but none of its threads; what the mappings and descriptors lead to is
// the parent's still. So in a child what a NIC is made of lets go of the child's copies, and of
// nothing else.
#pragma once

#include <atomic>
#include <functional>

namespace qpip::wire {

/// What to do around each fork(2) of this process while the watch exists; any may be empty. Called
/// on the thread that forks, for one fork at a time. They must neither make nor destroy watches.
struct ForkHooks {
  /// Before: the latest watch's first. Brings to rest what other threads change.
  std::function<void()> prepare = nullptr;
  /// Afterwards, the earliest watch's first: in the process that has forked ...
  std::function<void()> parent = nullptr;
  /// ... and in the child, before fork returns there.
  std::function<void()> child = nullptr;
};

/// Thread-safe. Processes made without fork(2)'s handlers (vfork, clone, posix_spawn) are not seen:
/// they are to exec at once, and no descriptor of a NIC's outlives that.
class ForkWatch {
 public:
  explicit ForkWatch(ForkHooks hooks = {});
  /// Waits for the hooks, where another thread forks at this moment.
  ~ForkWatch();
  ForkWatch(const ForkWatch&) = delete;
  ForkWatch& operator=(const ForkWatch&) = delete;

  /// Has this process been forked since the watch was made?
  bool inherited() const { return inherited_.load(std::memory_order_relaxed); }

 private:
  friend struct ForkWatches;
  const ForkHooks hooks_;
  std::atomic<bool> inherited_{false};
};

}  // namespace qpip::wire
