// Frames that have arrived and wait for the core, in turns: a frame of each flow, round and round,
// so that who sends more than the core can take waits for himself alone (McKenney, "Stochastic
// fairness queueing", 1990; RFC 8290 4.1).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "protocols/common/siphash.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

/// Holds frames, in order within a flow: all with the same source address, protocol and ports.
/// Flows that share a bucket by chance share a turn; nobody can choose to. Not thread-safe.
class FairQueue {
 public:
  /// For `capacity` frames, of more flows than any. Throws std::system_error without random bytes.
  explicit FairQueue(uint32_t capacity);

  bool empty() const { return count_ == 0; }
  bool full() const { return count_ == static_cast<uint32_t>(entries_.size()); }

  /// The frame waits. Not full.
  void Put(const InFrame& frame);
  /// Whose turn it is. False: nobody waits.
  bool Take(InFrame* frame);
  /// The last one of the flow that has most frames waiting. Not empty.
  InFrame DropFromLongest();

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kBuckets = 256;

  struct Entry {
    InFrame frame;
    uint32_t next = kNone;
    uint32_t previous = kNone;
  };
  struct Bucket {
    uint32_t first = kNone;
    uint32_t last = kNone;
    uint32_t count = 0;
    uint32_t next = kNone;  ///< whose turn it is behind this one's
  };

  uint32_t BucketOf(const InFrame& frame) const;
  void Free(uint32_t entry);
  void EndTurns(uint32_t bucket);

  SipHashKey key_;
  std::vector<Entry> entries_;
  std::array<Bucket, kBuckets> buckets_;
  uint32_t count_ = 0;
  uint32_t free_ = kNone;
  uint32_t first_turn_ = kNone;  ///< buckets with frames, in the order of their turns
  uint32_t last_turn_ = kNone;
};

}  // namespace qpip::wire
