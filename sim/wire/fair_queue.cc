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
  for (uint32_t entry = capacity; entry-- > 0;) {
    entries_[entry].next = free_;
    free_ = entry;
  }
}

template <typename Buckets>
void FairQueue::Append(Turns& turns, Buckets& buckets, uint32_t index) {
  buckets[index].next = kNone;
  (turns.first == kNone ? turns.first : buckets[turns.last].next) = index;
  turns.last = index;
}

template <typename Buckets>
void FairQueue::RemoveFirst(Turns& turns, const Buckets& buckets) {
  turns.first = buckets[turns.first].next;
  if (turns.first == kNone) turns.last = kNone;
}

template <typename Buckets>
void FairQueue::Remove(Turns& turns, Buckets& buckets, uint32_t index) {
  uint32_t before = kNone;
  for (uint32_t i = turns.first; i != index; i = buckets[i].next) before = i;
  (before == kNone ? turns.first : buckets[before].next) = buckets[index].next;
  if (turns.last == index) turns.last = before;
}

template <typename Buckets>
uint32_t FairQueue::Longest(const Turns& turns, const Buckets& buckets) {
  uint32_t longest = turns.first;
  for (uint32_t i = turns.first; i != kNone; i = buckets[i].next) {
    if (buckets[i].count > buckets[longest].count) longest = i;
  }
  return longest;
}

// The first piece of a frame holds the fixed header, and ports if there are any.
uint32_t FairQueue::HostOf(const InFrame& frame) const {
  const auto* bytes = static_cast<const uint8_t*>(frame.pieces[0].iov_base);
  std::array<uint8_t, 16> source;
  std::memcpy(source.data(), bytes + ipv6::offset::kSource, source.size());
  return static_cast<uint32_t>(SipHash24(key_, source)) % kHosts;
}

uint32_t FairQueue::FlowOf(const InFrame& frame, uint32_t host) const {
  const auto* bytes = static_cast<const uint8_t*>(frame.pieces[0].iov_base);
  std::array<uint8_t, 8> flow = {};
  const uint8_t protocol = bytes[ipv6::offset::kNextHeader];
  flow[0] = protocol;
  constexpr size_t kPorts = ipv6::kHeaderBytes;
  const bool has_ports = protocol == ipv6::kTcp || protocol == ipv6::kUdp;
  if (has_ports && frame.pieces[0].iov_len >= kPorts + 4) {
    std::memcpy(flow.data() + 4, bytes + kPorts, 4);
  }
  return host * kFlows + static_cast<uint32_t>(SipHash24(key_, flow)) % kFlows;
}

InFrame FairQueue::Free(uint32_t entry) {
  const InFrame frame = entries_[entry].frame;
  entries_[entry].next = free_;
  free_ = entry;
  --count_;
  return frame;
}

void FairQueue::Put(const InFrame& frame) {
  const uint32_t entry = free_;
  free_ = entries_[entry].next;
  const uint32_t host_index = HostOf(frame);
  const uint32_t flow_index = FlowOf(frame, host_index);
  Host& host = hosts_[host_index];
  Flow& flow = flows_[flow_index];
  entries_[entry] = {frame, kNone, flow.last};
  if (host.count++ == 0) Append(turns_, hosts_, host_index);
  if (flow.count++ == 0) {
    flow.first = entry;
    Append(host.flows, flows_, flow_index);
  } else {
    entries_[flow.last].next = entry;
  }
  flow.last = entry;
  ++count_;
}

bool FairQueue::Take(InFrame* frame) {
  if (count_ == 0) return false;
  const uint32_t host_index = turns_.first;
  Host& host = hosts_[host_index];
  const uint32_t flow_index = host.flows.first;
  Flow& flow = flows_[flow_index];
  RemoveFirst(turns_, hosts_);
  RemoveFirst(host.flows, flows_);
  const uint32_t entry = flow.first;
  flow.first = entries_[entry].next;
  if (--flow.count == 0) {
    flow.last = kNone;
  } else {
    entries_[flow.first].previous = kNone;
    Append(host.flows, flows_, flow_index);
  }
  if (--host.count != 0) Append(turns_, hosts_, host_index);
  *frame = Free(entry);
  return true;
}

InFrame FairQueue::DropFromLongest() {
  const uint32_t host_index = Longest(turns_, hosts_);
  Host& host = hosts_[host_index];
  const uint32_t flow_index = Longest(host.flows, flows_);
  Flow& flow = flows_[flow_index];
  const uint32_t entry = flow.last;
  flow.last = entries_[entry].previous;
  if (--flow.count == 0) {
    flow.first = kNone;
    Remove(host.flows, flows_, flow_index);
  } else {
    entries_[flow.last].next = kNone;
  }
  if (--host.count == 0) Remove(turns_, hosts_, host_index);
  return Free(entry);
}

}  // namespace qpip::wire
