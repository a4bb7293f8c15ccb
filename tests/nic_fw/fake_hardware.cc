#include "fake_hardware.h"

#include <algorithm>
#include <cstdlib>

#include "packets.h"
#include "protocols/iwarp/crc32c.h"

namespace qpip::fw::test {

FakeHardware::FakeHardware() {
  platform_.context = this;
  FillHostPorts();
  // All tests run once with engines that take their time and once with those that take none.
  platform_.dma_at_once = std::getenv("QPIP_TEST_DMA_AT_ONCE") != nullptr ? 1 : 0;
  FillDmaPorts();
  FillPayloadPorts();
  FillLinkPorts();
}

void FakeHardware::FillHostPorts() {
  Platform& p = platform_;
  p.doorbell_pop = [](void* c, abi::Doorbell* out) -> uint32_t {
    auto& self = Self(c);
    if (self.doorbells.empty()) return 0;
    *out = self.doorbells.front();
    self.doorbells.pop_front();
    return 1;
  };
  p.doorbell_overflowed = [](void* c) -> uint32_t {
    return std::exchange(Self(c).doorbell_overflow, false) ? 1 : 0;
  };
  p.host_load = [](void* c, uint64_t address) -> uint64_t {
    uint64_t value = 0;
    if (Self(c).Legal(address, 8)) std::memcpy(&value, reinterpret_cast<void*>(address), 8);
    return value;
  };
  p.interrupt = [](void* c, uint32_t kind, uint32_t object) {
    Self(c).interrupts.emplace_back(kind, object);
  };
  p.random = [](void* c) -> uint64_t { return Self(c).random_(); };
  p.charge = [](void* c, Stage stage, Variant variant, uint32_t) {
    Self(c).charges.emplace_back(stage, variant);
  };
  p.trace = [](void* c, const TraceRecord* record) { Self(c).traces.push_back(*record); };
}

void FakeHardware::FillDmaPorts() {
  Platform& p = platform_;
  p.dma_read = [](void* c, uint64_t from, void* to, uint32_t length, uint32_t tag) {
    auto& self = Self(c);
    const bool ok = self.Legal(from, length);
    if (ok) std::memcpy(to, reinterpret_cast<const void*>(from), length);
    self.Finish(tag, ok);
  };
  p.dma_write = [](void* c, uint64_t to, const void* from, uint32_t length, uint32_t tag,
                   uint32_t) {
    auto& self = Self(c);
    const bool ok = self.Legal(to, length);
    if (ok) std::memcpy(reinterpret_cast<void*>(to), from, length);
    if (tag != 0) self.Finish(tag, ok);
  };
  p.dma_copy = [](void* c, const DmaSegment* from, uint32_t from_count, const DmaSegment* to,
                  uint32_t to_count, uint32_t tag) {
    auto& self = Self(c);
    Frame bytes;
    const bool ok = self.Gather(from, from_count, &bytes) && self.Scatter(bytes, to, to_count);
    self.Finish(tag, ok);
  };
  p.dma_poll = [](void* c, DmaCompletion* out) -> uint32_t {
    auto& self = Self(c);
    if (self.hold_dma || self.completions_.empty()) return 0;
    *out = self.completions_.front();
    self.completions_.pop_front();
    return 1;
  };
}

void FakeHardware::FillPayloadPorts() {
  Platform& p = platform_;
  p.payload_room = [](void* c) -> uint32_t {
    return Self(c).payloads_.size() < Self(c).payload_buffers;
  };
  p.payload_fetch = [](void* c, const DmaSegment* from, uint32_t count, uint32_t flags,
                       uint32_t tag) -> uint32_t {
    auto& self = Self(c);
    if (self.payloads_.size() >= self.payload_buffers) return 0;
    Frame bytes;
    const bool ok = self.Gather(from, count, &bytes);
    const uint32_t sum = (flags & kDmaSum) != 0 ? ChecksumAdd(bytes) : 0;
    const uint32_t handle = self.next_handle_++;
    self.payloads_[handle] = std::move(bytes);
    self.Finish(tag, ok, sum);
    return handle;
  };
  p.payload_from_frame = [](void* c, uint32_t frame, uint32_t offset, uint32_t length,
                            uint32_t* sum) -> uint32_t {
    auto& self = Self(c);
    const Frame& source = self.borrowed_.at(frame);
    Frame bytes(source.begin() + offset, source.begin() + offset + length);
    *sum = ChecksumAdd(bytes);
    const uint32_t handle = self.next_handle_++;
    self.payloads_[handle] = std::move(bytes);
    return handle;
  };
  p.payload_keep = [](void* c, uint32_t payload, const void* head,
                      uint32_t head_length) -> uint32_t {
    auto& self = Self(c);
    self.payloads_kept += payload != 0;
    if (payload == 0) payload = self.next_handle_++;
    Frame& bytes = self.payloads_[payload];
    const auto* begin = static_cast<const uint8_t*>(head);
    bytes.insert(bytes.begin(), begin, begin + head_length);
    return payload;
  };
  p.payload_seal = [](void* c, uint32_t payload, uint32_t pad, uint32_t with_crc,
                      uint32_t crc) -> uint32_t {
    Frame& bytes = Self(c).payloads_.at(payload);
    bytes.resize(bytes.size() + pad);
    crc = with_crc != 0 ? iwarp::Crc32c(bytes, crc) : 0;
    bytes.resize(bytes.size() + iwarp::kCrcBytes);
    iwarp::StoreCrc(&bytes[bytes.size() - iwarp::kCrcBytes], crc);
    return crc;
  };
  p.memory_crc = [](void* c, const DmaSegment* from, uint32_t count, uint32_t crc) -> uint32_t {
    Frame bytes;
    return Self(c).Gather(from, count, &bytes) ? iwarp::Crc32c(bytes, crc) : 0;
  };
  p.host_swap = [](void* c, uint64_t address, uint64_t expected, uint64_t desired) -> uint64_t {
    uint64_t held = 0;
    if (!Self(c).Legal(address, 8)) return held;
    std::memcpy(&held, reinterpret_cast<void*>(address), 8);
    if (held == expected) std::memcpy(reinterpret_cast<void*>(address), &desired, 8);
    return held;
  };
  p.payload_release = [](void* c, uint32_t payload) { Self(c).payloads_.erase(payload); };
  p.payload_place = [](void* c, uint32_t frame, uint32_t offset, const DmaSegment* to,
                       uint32_t count, uint32_t tag) {
    auto& self = Self(c);
    const Frame& source = self.borrowed_.at(frame);
    uint64_t length = 0;
    for (uint32_t i = 0; i < count; ++i) length += to[i].length;
    bool ok = offset + length <= source.size();
    if (ok) {
      const auto begin = source.begin() + offset;
      ok = self.Scatter(Frame(begin, begin + static_cast<int64_t>(length)), to, count);
    } else {
      ++self.illegal_accesses;
    }
    self.Finish(tag, ok);
    if (self.frames_taken_back) self.completions_.back().status = kDmaRevoked;
  };
}

std::deque<Frame> FakeHardware::Cut(Frame frame, uint32_t segment_size) {
  constexpr size_t kIp = 40;
  constexpr uint8_t kFinPsh = 0x09;
  const size_t headers = frame.size() < 60 ? frame.size() : kIp + (frame[kIp + 12] >> 4) * 4u;
  std::deque<Frame> segments;
  if (segment_size == 0 || frame.size() <= headers + segment_size) {
    segments.push_back(std::move(frame));
    return segments;
  }
  ++packets_cut;
  largest_cut = std::max(largest_cut, frame.size());
  const uint32_t sequence = LoadBe32(&frame[kIp + 4]);
  for (size_t at = headers; at < frame.size(); at += segment_size) {
    const size_t end = std::min(frame.size(), at + segment_size);
    Frame segment(frame.begin(), frame.begin() + static_cast<int64_t>(headers));
    segment.insert(segment.end(), frame.begin() + static_cast<int64_t>(at),
                   frame.begin() + static_cast<int64_t>(end));
    StoreBe16(&segment[4], static_cast<uint16_t>(segment.size() - kIp));
    StoreBe32(&segment[kIp + 4], sequence + static_cast<uint32_t>(at - headers));
    if (end != frame.size()) segment[kIp + 13] &= static_cast<uint8_t>(~kFinPsh);
    StoreBe16(&segment[kIp + 16], 0);
    StoreBe16(&segment[kIp + 16], static_cast<uint16_t>(~TransportSum(segment, ipv6::kTcp)));
    segments.push_back(std::move(segment));
  }
  return segments;
}

void FakeHardware::FillLinkPorts() {
  Platform& p = platform_;
  p.frame_send = [](void* c, const FrameOut* frame, uint64_t* lease) -> uint32_t {
    auto& self = Self(c);
    if (self.wire_full) return kSendBusy;
    const auto* header = static_cast<const uint8_t*>(frame->header);
    const auto answer = self.refused.find(header[39]);
    if (answer != self.refused.end()) return answer->second;
    Frame bytes(header, header + frame->header_length);
    if (frame->payload != 0) {
      const Frame& payload = self.payloads_.at(frame->payload);
      bytes.insert(bytes.end(), payload.begin(), payload.end());
      self.payloads_.erase(frame->payload);
      if (self.give_leases) *lease = self.next_lease_++;
    }
    if (self.no_route) return kSendNoRoute;
    std::array<uint8_t, 6> link;
    std::memcpy(link.data(), frame->link_address, link.size());
    for (Frame& segment : self.Cut(std::move(bytes), frame->segment_size)) {
      self.outgoing.push_back(std::move(segment));
      self.link_addresses.push_back(link);
    }
    return kSendOk;
  };
  p.lease_pending = [](void* c, uint64_t lease) -> uint32_t {
    return lease > Self(c).leases_ended ? 1 + Self(c).receiver_quiet_ms : 0;
  };
  p.lease_revoke = [](void* c, uint64_t lease, uint32_t owner) {
    Self(c).revoked.push_back({lease, owner});
  };
  p.frame_poll = [](void* c, FrameIn* out) -> uint32_t {
    auto& self = Self(c);
    if (self.incoming.empty()) return 0;
    const uint32_t handle = self.next_handle_++;
    Frame& frame = self.borrowed_[handle] = std::move(self.incoming.front());
    self.incoming.pop_front();
    out->frame = handle;
    out->header = frame.data();
    out->length = static_cast<uint32_t>(frame.size());
    out->header_length = out->length < kMaxHeaderBytes ? out->length : kMaxHeaderBytes;
    out->flags = 0;
    out->sum = 0;
    if (frame.size() == 16) {  // the tests' notation for a link event
      out->flags = kFramePeerDown;
    } else if (self.trusted) {
      out->flags = kFrameTrusted;
    } else if (self.engine_sums && frame.size() >= 40) {
      out->flags = kFrameSumValid;
      out->sum = ChecksumAdd(std::span<const uint8_t>(frame).subspan(40));
    }
    return 1;
  };
  p.frame_sum = [](void* c, uint32_t frame, uint32_t offset, uint32_t length) -> uint32_t {
    const Frame& source = Self(c).borrowed_.at(frame);
    return ChecksumAdd(std::span<const uint8_t>(source).subspan(offset, length));
  };
  p.frame_crc = [](void* c, uint32_t frame, uint32_t offset, uint32_t length,
                   uint32_t crc) -> uint32_t {
    const Frame& source = Self(c).borrowed_.at(frame);
    return iwarp::Crc32c(std::span<const uint8_t>(source).subspan(offset, length), crc);
  };
  p.frame_read = [](void* c, uint32_t frame, uint32_t offset, uint32_t length,
                    void* to) -> uint32_t {
    const Frame& source = Self(c).borrowed_.at(frame);
    std::memcpy(to, std::span<const uint8_t>(source).subspan(offset, length).data(), length);
    return Self(c).frames_taken_back ? kDmaRevoked : kDmaOk;
  };
  p.frame_release = [](void* c, uint32_t frame) { Self(c).borrowed_.erase(frame); };
}

void FakeHardware::AddHostMemory(const void* address, size_t bytes) {
  host_memory_[reinterpret_cast<uint64_t>(address)] = bytes;
}

void FakeHardware::Forget() {
  incoming.clear();
  outgoing.clear();
  link_addresses.clear();
  interrupts.clear();
  traces.clear();
  charges.clear();
  doorbells.clear();
  revoked.clear();
  borrowed_.clear();
  payloads_.clear();
  completions_.clear();
}

void FakeHardware::Ring(const abi::Doorbell& doorbell) {
  if (doorbells.size() >= doorbell_capacity) {
    doorbell_overflow = true;
    return;
  }
  doorbells.push_back(doorbell);
}

bool FakeHardware::Legal(uint64_t address, uint64_t bytes) {
  auto next = host_memory_.upper_bound(address);
  if (next != host_memory_.begin()) {
    const auto& [start, size] = *std::prev(next);
    if (address - start <= size && bytes <= size - (address - start)) return true;
  }
  ++illegal_accesses;
  return false;
}

void FakeHardware::Finish(uint32_t tag, bool ok, uint32_t sum) {
  completions_.push_back({tag, ok ? kDmaOk : kDmaFault, sum});
}

bool FakeHardware::Gather(const DmaSegment* from, uint32_t count, Frame* bytes) {
  for (uint32_t i = 0; i < count; ++i) {
    if (!Legal(from[i].address, from[i].length)) return false;
    const auto* start = reinterpret_cast<const uint8_t*>(from[i].address);
    bytes->insert(bytes->end(), start, start + from[i].length);
  }
  return true;
}

bool FakeHardware::Scatter(const Frame& bytes, const DmaSegment* to, uint32_t count) {
  size_t done = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (!Legal(to[i].address, to[i].length)) return false;
    std::memcpy(reinterpret_cast<void*>(to[i].address), bytes.data() + done, to[i].length);
    done += to[i].length;
  }
  return done == bytes.size();
}

}  // namespace qpip::fw::test
