// The doorbell FIFO: application threads write, the core reads (paper section 4.1).
//
// A bounded queue for several writers and one reader. Every slot has a sequence number: `p` while
// it is free for the p-th entry, `p + 1` once that entry is in it. A writer claims a position by
// moving the tail, fills the slot and publishes the sequence number; the reader needs no tail. A
// writer that finds no free slot sets the sticky flag instead and never waits.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <stdexcept>

#include "nic_fw/abi/doorbell.h"

namespace qpip::lanai {

class DoorbellFifo {
 public:
  static constexpr uint32_t kDefaultEntries = 1024;
  /// A slot that is full for one lap must differ from one that is free for the next: two at least.
  static constexpr uint32_t kMinEntries = 2;
  static constexpr uint32_t kMaxEntries = 65536;

  /// `entries`: a power of two from kMinEntries to kMaxEntries. Throws std::invalid_argument.
  explicit DoorbellFifo(uint32_t entries = kDefaultEntries) : mask_(entries - 1) {
    if (!std::has_single_bit(entries) || entries < kMinEntries || entries > kMaxEntries) {
      throw std::invalid_argument("a doorbell FIFO has 2 to 65536 entries, a power of two");
    }
    slots_ = std::make_unique<Slot[]>(entries);
    for (uint32_t i = 0; i < entries; ++i) slots_[i].sequence.store(i, std::memory_order_relaxed);
  }
  DoorbellFifo(const DoorbellFifo&) = delete;
  DoorbellFifo& operator=(const DoorbellFifo&) = delete;

  /// Adds an entry, or sets the overflow flag and returns false. Any thread. What the caller wrote
  /// before is visible to the reader. The publishing store is sequentially consistent, so that a
  /// writer may go on to look whether the reader sleeps (Core::RingDoorbell).
  bool Push(const abi::Doorbell& doorbell) {
    uint32_t position = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Slot& slot = slots_[position & mask_];
      const uint32_t sequence = slot.sequence.load(std::memory_order_acquire);
      if (sequence == position) {
        if (tail_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
          slot.doorbell = doorbell;
          slot.sequence.store(position + 1, std::memory_order_seq_cst);
          return true;
        }
      } else if (static_cast<int32_t>(sequence - position) < 0) {
        overflow_.store(true, std::memory_order_seq_cst);
        return false;
      } else {
        position = tail_.load(std::memory_order_relaxed);
      }
    }
  }

  /// True when there is neither an entry nor the overflow flag. For the reader.
  bool Quiet() const {
    return slots_[head_ & mask_].sequence.load(std::memory_order_seq_cst) != head_ + 1 &&
           !overflow_.load(std::memory_order_seq_cst);
  }

  /// Takes the oldest entry; false when there is none. One thread at a time.
  bool Pop(abi::Doorbell* out) {
    Slot& slot = slots_[head_ & mask_];
    // Sequentially consistent for the reader's last look before it sleeps; an ordinary load on x86.
    if (slot.sequence.load(std::memory_order_seq_cst) != head_ + 1) return false;
    *out = slot.doorbell;
    slot.sequence.store(head_ + mask_ + 1, std::memory_order_release);
    ++head_;
    return true;
  }

  /// Reads and clears the sticky flag. One thread at a time.
  bool TakeOverflow() {
    if (!overflow_.load(std::memory_order_seq_cst)) [[likely]]
      return false;
    return overflow_.exchange(false, std::memory_order_acq_rel);
  }

 private:
  struct alignas(32) Slot {
    std::atomic<uint32_t> sequence;
    abi::Doorbell doorbell;
  };

  // Only read after construction: a cache line that everybody keeps.
  alignas(64) const uint32_t mask_;
  std::unique_ptr<Slot[]> slots_;
  alignas(64) std::atomic<uint32_t> tail_{0};
  alignas(64) uint32_t head_ = 0;
  alignas(64) std::atomic<bool> overflow_{false};
};

}  // namespace qpip::lanai
