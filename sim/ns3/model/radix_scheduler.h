// The queue of events: a radix heap.
//
// ns-3's own schedulers compare: a heap of the thousands of events that a thousand NICs have
// pending costs a dozen unpredictable comparisons an event. Simulated time never runs backwards, so
// events can be sorted by how many of their leading bits agree with the present instead: into
// bucket 0 what is due now, into bucket k what differs from the present in bit k - 1 at the
// highest. When the present moves on, the first bucket that is not empty is dealt out among those
// below it; nothing else moves. (Ahuja, Mehlhorn, Orlin and Tarjan, Faster Algorithms for the
// Shortest Path Problem, Journal of the ACM 37, 1990.)
#pragma once

#include <ns3/scheduler.h>

#include <array>
#include <cstdint>
#include <vector>

namespace qpip::sim {

/// Events of the same time leave in the order in which they came. Any ns-3 simulation may use it:
/// `ns3::Simulator::SetScheduler(ns3::ObjectFactory("ns3::QpipRadixScheduler"))`.
class RadixScheduler : public ns3::Scheduler {
 public:
  static ns3::TypeId GetTypeId();

  void Insert(const Event& event) override;
  bool IsEmpty() const override { return occupied_ == 0; }
  Event PeekNext() const override;
  Event RemoveNext() override;
  /// Looks through one bucket.
  void Remove(const Event& event) override;

 private:
  using Bucket = std::vector<Event>;
  static constexpr uint32_t kBuckets = 64;  ///< ns-3's time is signed: 63 bits and those due now

  uint32_t BucketOf(uint64_t time) const;
  void Put(const Event& event);
  /// Lets the present be `time`: events are put where they belong then.
  void MoveTo(uint64_t time, uint32_t first, uint32_t last);

  uint64_t present_ = 0;   ///< time of the event removed last
  uint64_t occupied_ = 0;  ///< a bit a bucket that is not empty
  size_t taken_ = 0;       ///< of bucket 0, from its front
  std::array<Bucket, kBuckets> buckets_;
  Bucket moving_;
};

}  // namespace qpip::sim
