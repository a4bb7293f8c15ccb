#include "sim/ns3/model/radix_scheduler.h"

#include <ns3/object.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace qpip::sim {
namespace {

bool Earlier(const ns3::Scheduler::Event& a, const ns3::Scheduler::Event& b) {
  return a.key.m_ts < b.key.m_ts;
}

}  // namespace

NS_OBJECT_ENSURE_REGISTERED(RadixScheduler);

ns3::TypeId RadixScheduler::GetTypeId() {
  static const ns3::TypeId id = ns3::TypeId("ns3::QpipRadixScheduler")
                                    .SetParent<ns3::Scheduler>()
                                    .SetGroupName("Qpip")
                                    .AddConstructor<RadixScheduler>();
  return id;
}

uint32_t RadixScheduler::BucketOf(uint64_t time) const {
  return static_cast<uint32_t>(std::bit_width(time ^ present_));
}

void RadixScheduler::Put(const Event& event) {
  const uint32_t bucket = BucketOf(event.key.m_ts);
  buckets_[bucket].push_back(event);
  occupied_ |= uint64_t{1} << bucket;
}

void RadixScheduler::Insert(const Event& event) {
  // Only a simulator that goes back in time does this, such as one that is used anew.
  if (event.key.m_ts < present_) MoveTo(event.key.m_ts, 0, kBuckets - 1);
  Put(event);
}

ns3::Scheduler::Event RadixScheduler::PeekNext() const {
  const auto first = static_cast<uint32_t>(std::countr_zero(occupied_));
  if (first == 0) return buckets_[0][taken_];
  return *std::min_element(buckets_[first].begin(), buckets_[first].end(), Earlier);
}

ns3::Scheduler::Event RadixScheduler::RemoveNext() {
  const auto first = static_cast<uint32_t>(std::countr_zero(occupied_));
  if (first != 0) {
    Bucket& bucket = buckets_[first];
    if (bucket.size() == 1) {
      const Event event = bucket.front();
      bucket.clear();
      occupied_ &= ~(uint64_t{1} << first);
      present_ = event.key.m_ts;
      return event;
    }
    MoveTo(std::min_element(bucket.begin(), bucket.end(), Earlier)->key.m_ts, first, first);
  }
  Bucket& due = buckets_[0];
  const Event event = due[taken_++];
  if (taken_ == due.size()) {
    due.clear();
    taken_ = 0;
    occupied_ &= ~uint64_t{1};
  }
  return event;
}

void RadixScheduler::MoveTo(uint64_t time, uint32_t first, uint32_t last) {
  present_ = time;
  for (uint32_t i = first; i <= last; ++i) {
    if ((occupied_ >> i & 1) == 0) continue;
    const Bucket& bucket = buckets_[i];
    const size_t from = i == 0 ? std::exchange(taken_, 0) : 0;
    moving_.insert(moving_.end(), bucket.begin() + static_cast<ptrdiff_t>(from), bucket.end());
    buckets_[i].clear();
    occupied_ &= ~(uint64_t{1} << i);
  }
  for (const Event& event : moving_) Put(event);
  moving_.clear();
}

void RadixScheduler::Remove(const Event& event) {
  const uint32_t index = BucketOf(event.key.m_ts);
  Bucket& bucket = buckets_[index];
  const auto from = bucket.begin() + static_cast<ptrdiff_t>(index == 0 ? taken_ : 0);
  const auto found = std::find(from, bucket.end(), event);
  if (found == bucket.end()) return;
  bucket.erase(found);
  const size_t gone = index == 0 ? taken_ : 0;
  if (bucket.size() != gone) return;
  bucket.clear();
  if (index == 0) taken_ = 0;
  occupied_ &= ~(uint64_t{1} << index);
}

}  // namespace qpip::sim
