// What has befallen a NIC: kept for the errors of calls that fail because of it, and for the
// application's event handler.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "host_lib/port/host_port.h"
#include "qpip/qpip.h"

namespace qpip::internal {

/// Thread-safe.
class Troubles {
 public:
  using Handler = std::function<void(const NicEvent&)>;

  /// Called with the core's lock held. What was told less than ten seconds ago is remembered, but
  /// not told again.
  void Add(const abi::Trouble& trouble, uint64_t now_ns);
  /// Hands the handler what it has not been told; without a handler that waits for one.
  void Tell();
  /// Tells what has waited, then what is to come. Empty: nobody is told from now on.
  void SetHandler(Handler handler);

  /// What has ended the NIC; nullptr while it works. Stays valid.
  const NicEvent* failure() const { return failure_.load(std::memory_order_acquire); }
  /// Throws the Error of what has ended the NIC, if anything has. `what`: the operation.
  void ThrowIfFailed(const char* what) const;

  /// A moment, for About.
  uint64_t Now() const { return added_.load(std::memory_order_acquire); }
  /// The latest that concerns `peer` (or everybody, and is fatal) and came after `moment`.
  std::optional<NicEvent> About(const in6_addr& peer, uint64_t moment) const;

 private:
  struct Entry {
    NicEvent event;
    uint64_t number = 0;   ///< of the latest that was the same
    uint64_t told_ns = 0;  ///< when it was last put down to be told
  };
  static constexpr size_t kKept = 64;

  mutable std::mutex mutex_;  ///< guards the deques
  std::deque<Entry> entries_;
  std::deque<NicEvent> untold_;
  std::atomic<uint64_t> added_{0};
  std::unique_ptr<const NicEvent> failure_owner_;  ///< written once, under the mutex
  std::atomic<const NicEvent*> failure_{nullptr};

  std::mutex telling_mutex_;  ///< one handler call at a time; guards handler_
  Handler handler_;
};

}  // namespace qpip::internal
