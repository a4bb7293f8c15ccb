// One work queue: a ring of WQEs that the host fills and the firmware fetches, and what the host
// remembers about each entry (its wr_id).
//
//        tail                  producer
//   ......|####################|..........   free-running 32-bit indices, masked on use
//          posted, not known    free
//          to be done
//
// The producer belongs to the poster (under lock()), the tail to whoever polls the completion
// queue: a polled completion frees its entry and, for sends, all unsignalled ones before it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "host_lib/port/host_port.h"
#include "spin_lock.h"

namespace qpip::internal {

class WorkQueue {
 public:
  /// `ring` has 2^log2_depth entries of 2^log2_stride bytes; `index_word` is its word of
  /// abi::QueueIndices. Both outlive the queue.
  WorkQueue(std::byte* ring, uint64_t* index_word, uint32_t log2_depth, uint32_t log2_stride)
      : ring_(ring),
        index_word_(index_word),
        mask_((1u << log2_depth) - 1),
        log2_stride_(log2_stride),
        wr_ids_(size_t{1} << log2_depth),
        notes_(size_t{1} << log2_depth) {}

  SpinLock& lock() { return lock_; }

  // --- For the poster, with the lock held.
  uint32_t producer() const { return producer_; }
  bool full() const { return producer_ - tail_.load(std::memory_order_acquire) > mask_; }
  /// The entry to fill next; only when not full().
  std::byte* next_entry() const {
    return ring_ + (static_cast<size_t>(producer_ & mask_) << log2_stride_);
  }
  /// The entry has been filled. `note`: of the poster's, for Note.
  void Advance(uint64_t wr_id, uint8_t note = 0) {
    wr_ids_[producer_ & mask_] = wr_id;
    notes_[producer_ & mask_] = note;
    ++producer_;
  }
  /// Takes back the last `count` entries, which were not published.
  void Rewind(uint32_t count) { producer_ -= count; }
  /// Publishes what was filled. Returns the doorbell to ring once the lock is given back: ringing
  /// may carry out what is posted. Of two posters' doorbells the older one may come last; it says
  /// nothing new. `posted_bytes`: receive queues only.
  abi::Doorbell Publish(abi::DoorbellKind kind, uint32_t handle, uint32_t posted_bytes) {
    const uint64_t word = (uint64_t{posted_bytes} << 32) | producer_;
    std::atomic_ref<uint64_t>(*index_word_).store(word, std::memory_order_release);
    return abi::Doorbell::Make(kind, handle, producer_, posted_bytes);
  }

  // --- For the poller, with the completion queue's lock held.
  /// What was said of an entry that is not free yet.
  uint8_t Note(uint32_t index) const { return notes_[index & mask_]; }
  /// Returns the wr_id of the entry and frees it and all before it.
  uint64_t Complete(uint32_t index) {
    const uint64_t wr_id = wr_ids_[index & mask_];
    tail_.store(index + 1, std::memory_order_release);
    return wr_id;
  }

 private:
  std::byte* ring_;
  uint64_t* index_word_;
  uint32_t mask_;
  uint32_t log2_stride_;
  std::vector<uint64_t> wr_ids_;
  std::vector<uint8_t> notes_;
  SpinLock lock_;
  uint32_t producer_ = 0;
  alignas(64) std::atomic<uint32_t> tail_{0};
};

}  // namespace qpip::internal
