// A completion queue: a ring that the firmware writes and the host polls.
//
// Waiting. Arming is one-shot and names the consumer index the host has reached: the firmware
// interrupts as soon as its producer index is beyond it, at once if it already is. So "arm, look
// again, sleep" cannot lose a completion. `armed_` is true from the doorbell until the interrupt,
// which is then certain to come: arming twice is never needed.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>

#include "memory.h"
#include "nic_fw/abi/completion.h"
#include "nic_fw/abi/doorbell.h"
#include "qpip/qpip.h"
#include "spin_lock.h"

namespace qpip::internal {

/// Thread-safe.
class CqImpl {
 public:
  /// Throws Error EINVAL (capacity), ENOMEM.
  CqImpl(std::shared_ptr<NicImpl> nic, uint32_t capacity);
  ~CqImpl();
  CqImpl(const CqImpl&) = delete;
  CqImpl& operator=(const CqImpl&) = delete;

  const std::shared_ptr<NicImpl>& nic() const { return nic_; }
  uint32_t handle() const { return handle_; }
  uint32_t capacity() const { return 1u << log2_size_; }

  size_t Poll(std::span<WorkCompletion> out);
  size_t Wait(std::span<WorkCompletion> out, Timeout timeout);
  int fd();
  bool Arm(bool solicited_only);
  void Acknowledge();

  /// Sets aside room for `entries` completions. Returns false when there is not that much left.
  bool Reserve(uint32_t entries);
  void Release(uint32_t entries);
  uint32_t Unreserved();

  /// Moves everything in the ring to the backlog, so that the ring no longer names a queue pair
  /// that is about to go (and whose handle the NIC may give to another).
  void DrainRing();

  /// An armed completion has been written. Callable with the core's lock held.
  void OnInterrupt();
  /// The firmware found the ring full.
  void OnOverrun();

 private:
  /// Takes what is there; else lets the core run for a while and takes what is there then.
  size_t Look(std::span<WorkCompletion> out, bool before_sleep);
  abi::Cqe& EntryAt(uint32_t index) const;
  bool EntryValid() const;
  /// Something is there for Harvest. Without the lock, which nobody needs to find nothing: what
  /// another thread is just taking is not there for this one either way.
  bool MayHaveSome() const { return EntryValid() || has_backlog_.load(std::memory_order_acquire); }
  size_t Harvest(std::span<WorkCompletion> out);
  size_t HarvestLocked(std::span<WorkCompletion> out);
  bool TakeLocked(WorkCompletion* out);
  bool Translate(const abi::Cqe& cqe, WorkCompletion* out);
  DisconnectReason WhyFailed(const abi::Cqe& cqe) const;
  /// What completions an interrupt is asked for: the more, the larger.
  enum Wanted : uint32_t { kNone = 0, kSolicited = 1, kAny = 2 };
  bool HasCompletion(Wanted wanted);
  /// Makes the doorbell that asks for an interrupt; false when one has been asked for already.
  bool PrepareToArm(Wanted wanted, abi::Doorbell* doorbell);
  void ThrowIfOverrun() const;
  std::atomic_ref<uint32_t> Interrupts() { return std::atomic_ref<uint32_t>(interrupts_); }

  std::shared_ptr<NicImpl> nic_;
  uint32_t log2_size_;
  MappedMemory memory_;  ///< the ring, then the consumer word on a cache line of its own
  abi::Cqe* ring_;
  uint64_t* consumer_word_;
  uint32_t handle_ = 0;

  SpinLock lock_;                         ///< guards what follows, up to the next blank line
  std::atomic<uint32_t> consumer_{0};     ///< written with the lock, looked at without
  std::atomic<bool> has_backlog_{false};  ///< likewise
  std::deque<WorkCompletion> backlog_;

  std::mutex reserve_mutex_;
  uint32_t reserved_ = 0;

  std::mutex fd_mutex_;  ///< guards the creation of fd_
  std::atomic<int> fd_{-1};
  std::atomic<bool> fd_armed_{false};
  std::atomic<uint32_t> armed_{kNone};
  std::atomic<bool> overrun_{false};

  alignas(64) uint32_t interrupts_ = 0;  ///< counts; waiters sleep on it
};

}  // namespace qpip::internal
