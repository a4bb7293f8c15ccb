#include "sim/wire/fork.h"

#include <pthread.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

namespace qpip::wire {

/// The watches of this process, oldest first. Locked from before a fork until after it, so that
/// each watch is seen whole or not at all.
struct ForkWatches {
  std::mutex mutex;
  std::vector<ForkWatch*> list;

  static ForkWatches& Get() {
    static ForkWatches* const watches = [] {
      ::pthread_atfork(&Prepare, &Parent, &Child);
      return new ForkWatches;  // static destructors may yet close NICs
    }();
    return *watches;
  }

  static void Prepare() {
    ForkWatches& watches = Get();
    watches.mutex.lock();
    for (auto watch = watches.list.rbegin(); watch != watches.list.rend(); ++watch) {
      if ((*watch)->hooks_.prepare) (*watch)->hooks_.prepare();
    }
  }
  static void Parent() {
    ForkWatches& watches = Get();
    for (const ForkWatch* watch : watches.list) {
      if (watch->hooks_.parent) watch->hooks_.parent();
    }
    watches.mutex.unlock();
  }
  static void Child() {
    ForkWatches& watches = Get();
    for (ForkWatch* watch : watches.list) {
      watch->inherited_.store(true, std::memory_order_relaxed);
      if (watch->hooks_.child) watch->hooks_.child();
    }
    watches.mutex.unlock();
  }
};

ForkWatch::ForkWatch(ForkHooks hooks) : hooks_(std::move(hooks)) {
  ForkWatches& watches = ForkWatches::Get();
  const std::lock_guard lock(watches.mutex);
  watches.list.push_back(this);
}

ForkWatch::~ForkWatch() {
  ForkWatches& watches = ForkWatches::Get();
  const std::lock_guard lock(watches.mutex);
  std::erase(watches.list, this);
}

}  // namespace qpip::wire
