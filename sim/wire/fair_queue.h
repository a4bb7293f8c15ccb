// Frames that have arrived and wait for the core, in turns: a frame of each host, round and round,
// and of a host's flows as well, so that who sends more than the core can take waits for himself
// alone, and has no more turns for having many connections (McKenney, "Stochastic fairness
// queueing", 1990; RFC 8290 4.1).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "protocols/common/siphash.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

/// Holds frames, in order within a flow: all with the same source address, protocol and ports.
/// Hosts, or flows of a host, that share a bucket by chance share a turn; nobody can choose to. Not
/// thread-safe.
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
  /// The last one of the longest flow of the host that has most frames waiting. Not empty.
  InFrame DropFromLongest();

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kHosts = 64;
  static constexpr uint32_t kFlows = 16;  // of a host

  struct Entry {
    InFrame frame;
    uint32_t next = kNone;
    uint32_t previous = kNone;
  };
  /// Buckets with frames, in the order of their turns.
  struct Turns {
    uint32_t first = kNone;
    uint32_t last = kNone;
  };
  struct Flow {
    uint32_t first = kNone;
    uint32_t last = kNone;
    uint32_t count = 0;
    uint32_t next = kNone;  ///< whose turn it is behind this one's
  };
  struct Host {
    Turns flows;
    uint32_t count = 0;
    uint32_t next = kNone;
  };

  template <typename Buckets>
  static void Append(Turns& turns, Buckets& buckets, uint32_t index);
  template <typename Buckets>
  static void RemoveFirst(Turns& turns, const Buckets& buckets);
  template <typename Buckets>
  static void Remove(Turns& turns, Buckets& buckets, uint32_t index);
  template <typename Buckets>
  static uint32_t Longest(const Turns& turns, const Buckets& buckets);

  uint32_t HostOf(const InFrame& frame) const;
  uint32_t FlowOf(const InFrame& frame, uint32_t host) const;
  InFrame Free(uint32_t entry);

  SipHashKey key_;
  std::vector<Entry> entries_;
  std::array<Host, kHosts> hosts_;
  std::array<Flow, kHosts * kFlows> flows_;  ///< by host
  Turns turns_;                              ///< of hosts
  uint32_t count_ = 0;
  uint32_t free_ = kNone;
};

}  // namespace qpip::wire
