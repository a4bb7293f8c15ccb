#include "sim/wire/fair_queue.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "protocols/ipv6/header.h"

namespace qpip::wire {

FairQueue::FairQueue(uint32_t capacity) : entries_(capacity) {
  if (::getrandom(&key_, sizeof key_, 0) != sizeof key_) {
    throw std::system_error(errno, std::generic_category(), "cannot get random bytes");
  }
  for (uint32_t entry = capacity; entry-- > 0;) Free(entry);
}

// The first piece of a frame holds the fixed header, and ports if there are any.
uint32_t FairQueue::BucketOf(const InFrame& frame) const {
  const auto* bytes = static_cast<const uint8_t*>(frame.pieces[0].iov_base);
  const size_t length = frame.pieces[0].iov_len;
  std::array<uint8_t, 24> flow = {};
  std::memcpy(flow.data(), bytes + ipv6::offset::kSource, 16);
  const uint8_t protocol = bytes[ipv6::offset::kNextHeader];
  flow[16] = protocol;
  constexpr size_t kPorts = ipv6::kHeaderBytes;
  const bool has_ports = protocol == ipv6::kTcp || protocol == ipv6::kUdp;
  if (has_ports && length >= kPorts + 4) std::memcpy(flow.data() + 20, bytes + kPorts, 4);
  return static_cast<uint32_t>(SipHash24(key_, flow)) % kBuckets;
}

void FairQueue::Free(uint32_t entry) {
  entries_[entry].next = free_;
  free_ = entry;
}

void FairQueue::Put(const InFrame& frame) {
  const uint32_t entry = free_;
  free_ = entries_[entry].next;
  const uint32_t index = BucketOf(frame);
  Bucket& bucket = buckets_[index];
  entries_[entry] = {frame, kNone, bucket.last};
  if (bucket.count++ == 0) {
    bucket.first = entry;
    bucket.next = kNone;
    (first_turn_ == kNone ? first_turn_ : buckets_[last_turn_].next) = index;
    last_turn_ = index;
  } else {
    entries_[bucket.last].next = entry;
  }
  bucket.last = entry;
  ++count_;
}

bool FairQueue::Take(InFrame* frame) {
  if (count_ == 0) return false;
  const uint32_t index = first_turn_;
  Bucket& bucket = buckets_[index];
  const uint32_t entry = bucket.first;
  *frame = entries_[entry].frame;
  bucket.first = entries_[entry].next;
  Free(entry);
  --count_;
  --bucket.count;
  first_turn_ = bucket.next;
  if (first_turn_ == kNone) last_turn_ = kNone;
  if (bucket.count == 0) {
    bucket.last = kNone;
    return true;
  }
  entries_[bucket.first].previous = kNone;
  bucket.next = kNone;
  (first_turn_ == kNone ? first_turn_ : buckets_[last_turn_].next) = index;
  last_turn_ = index;
  return true;
}

void FairQueue::EndTurns(uint32_t index) {
  uint32_t before = kNone;
  for (uint32_t i = first_turn_; i != index; i = buckets_[i].next) before = i;
  (before == kNone ? first_turn_ : buckets_[before].next) = buckets_[index].next;
  if (last_turn_ == index) last_turn_ = before;
}

InFrame FairQueue::DropFromLongest() {
  uint32_t longest = first_turn_;
  for (uint32_t i = first_turn_; i != kNone; i = buckets_[i].next) {
    if (buckets_[i].count > buckets_[longest].count) longest = i;
  }
  Bucket& bucket = buckets_[longest];
  const uint32_t entry = bucket.last;
  const InFrame frame = entries_[entry].frame;
  bucket.last = entries_[entry].previous;
  if (--bucket.count == 0) {
    bucket.first = kNone;
    EndTurns(longest);
  } else {
    entries_[bucket.last].next = kNone;
  }
  Free(entry);
  --count_;
  return frame;
}

}  // namespace qpip::wire
