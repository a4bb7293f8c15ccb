#include "hardware.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "protocols/common/checksum.h"
#include "protocols/iwarp/crc32c.h"
#include "sim/backend/host_config.h"

namespace qpip::testbench {
namespace {

// Handlers between two looks at whether the firmware ever comes to rest. A run of this many at one
// moment is far beyond what the largest windows and queues can ask for.
constexpr uint32_t kBudget = 4096;
constexpr uint64_t kMostHandlers = 50'000'000;

uint8_t* HostMemory(uint64_t address) { return reinterpret_cast<uint8_t*>(address); }

Bytes Gather(const fw::DmaSegment* from, uint32_t count) {
  Bytes bytes;
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* start = HostMemory(from[i].address);
    bytes.insert(bytes.end(), start, start + from[i].length);
  }
  return bytes;
}

void Scatter(const uint8_t* bytes, const fw::DmaSegment* to, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    std::memcpy(HostMemory(to[i].address), bytes, to[i].length);
    bytes += to[i].length;
  }
}

}  // namespace

Hardware::Hardware(const fw::NicConfig& config, uint64_t seed, uint64_t clock_start_ns)
    : config_(config), clock_start_ns_(clock_start_ns), clock_ns_(clock_start_ns), random_(seed) {
  fw::ArenaBytes bytes;
  if (fw::qpip_fw_arena(&config_, &bytes) == 0) {
    throw std::invalid_argument(
        "TestBenchOptions: the firmware refuses this profile; look at mtu, max_queue_pairs, "
        "reassembly and ack_delay");
  }
  arena_.resize((bytes.total + 7) / 8);
  platform_.context = this;
  FillHostPorts();
  FillDmaPorts();
  FillPayloadPorts();
  FillLinkPorts();
}

void Hardware::Start(const abi::RingSetup& rings, abi::InterruptHandler* handler) {
  handler_ = handler;
  sim_backend::SetRings(rings, &config_);
  if (fw::qpip_fw_init(arena_.data(), arena_bytes(), &config_, &platform_, clock_ns_) == 0) {
    throw std::runtime_error("the firmware does not start");
  }
  running_ = true;
}

bool Hardware::Run() {
  if (!running_) return false;
  uint64_t handlers = 0;
  for (;;) {
    const uint32_t done = fw::qpip_fw_step(arena_.data(), &platform_, clock_ns_, kBudget);
    handlers += done;
    if (handlers > kMostHandlers) {
      throw std::runtime_error("the firmware does not come to rest at this moment");
    }
    if (done == kBudget) continue;
    // What one handler leaves behind may be for one whose turn is over.
    if (done == 0 && completions_.empty() && doorbells.empty()) return handlers != 0;
    if (done == 0) throw std::runtime_error("the firmware leaves finished transfers untouched");
  }
}

uint64_t Hardware::NextDeadlineNs() const {
  return running_ ? fw::qpip_fw_next_deadline(arena_.data()) : UINT64_MAX;
}

const fw::QueuePair& Hardware::queue_pair(uint32_t handle) const {
  return fw::QueuePairOf(arena_.data(), handle);
}

void Hardware::FillHostPorts() {
  platform_.doorbell_pop = [](void* context, abi::Doorbell* out) -> uint32_t {
    auto& self = Self(context);
    if (self.doorbells.empty()) return 0;
    *out = self.doorbells.front();
    self.doorbells.pop_front();
    return 1;
  };
  platform_.doorbell_overflowed = [](void*) -> uint32_t { return 0; };
  platform_.host_load = [](void*, uint64_t address) -> uint64_t {
    uint64_t value;
    std::memcpy(&value, HostMemory(address), sizeof(value));
    return value;
  };
  platform_.interrupt = [](void* context, uint32_t kind, uint32_t object) {
    abi::InterruptHandler* handler = Self(context).handler_;
    if (kind == static_cast<uint32_t>(fw::InterruptKind::kCompletion)) {
      handler->OnCompletionInterrupt(object);
    } else {
      handler->OnEventInterrupt();
    }
  };
  platform_.random = [](void* context) -> uint64_t { return Self(context).random_(); };
  platform_.trace = [](void* context, const fw::TraceRecord* record) {
    auto& self = Self(context);
    if (record->kind != fw::kTraceDrop) return;
    self.drops.push_back({self.Now(), abi::DropReasonName(record->from)});
  };
}

void Hardware::FillDmaPorts() {
  platform_.dma_read = [](void* context, uint64_t from, void* to, uint32_t length, uint32_t tag) {
    std::memcpy(to, HostMemory(from), length);
    Self(context).Finish(tag);
  };
  platform_.dma_write = [](void* context, uint64_t to, const void* from, uint32_t length,
                           uint32_t tag, uint32_t) {
    std::memcpy(HostMemory(to), from, length);
    if (tag != 0) Self(context).Finish(tag);
  };
  platform_.dma_copy = [](void* context, const fw::DmaSegment* from, uint32_t from_count,
                          const fw::DmaSegment* to, uint32_t to_count, uint32_t tag) {
    Scatter(Gather(from, from_count).data(), to, to_count);
    Self(context).Finish(tag);
  };
  platform_.dma_poll = [](void* context, fw::DmaCompletion* out) -> uint32_t {
    auto& self = Self(context);
    if (self.completions_.empty()) return 0;
    *out = self.completions_.front();
    self.completions_.pop_front();
    return 1;
  };
}

void Hardware::FillPayloadPorts() {
  platform_.payload_room = [](void*) -> uint32_t { return 1; };
  platform_.payload_fetch = [](void* context, const fw::DmaSegment* from, uint32_t count,
                               uint32_t flags, uint32_t tag) -> uint32_t {
    auto& self = Self(context);
    const uint32_t handle = self.next_handle_++;
    const Bytes& bytes = self.payloads_[handle] = Gather(from, count);
    self.Finish(tag, (flags & fw::kDmaSum) != 0 ? ChecksumAdd(bytes) : 0);
    return handle;
  };
  platform_.payload_from_frame = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                                    uint32_t* sum) -> uint32_t {
    auto& self = Self(context);
    const auto start = self.borrowed_.at(frame).begin() + offset;
    const uint32_t handle = self.next_handle_++;
    const Bytes& bytes = self.payloads_[handle] = Bytes(start, start + length);
    *sum = ChecksumAdd(bytes);
    return handle;
  };
  // The link is point-to-point: no packet waits for a neighbour.
  platform_.payload_keep = [](void*, uint32_t, const void*, uint32_t) -> uint32_t { return 0; };
  platform_.payload_seal = [](void* context, uint32_t payload, uint32_t pad, uint32_t with_crc,
                              uint32_t crc) -> uint32_t {
    Bytes& bytes = Self(context).payloads_.at(payload);
    bytes.resize(bytes.size() + pad);
    crc = with_crc != 0 ? iwarp::Crc32c(bytes, crc) : 0;
    bytes.resize(bytes.size() + iwarp::kCrcBytes);
    iwarp::StoreCrc(&bytes[bytes.size() - iwarp::kCrcBytes], crc);
    return crc;
  };
  platform_.memory_crc = [](void*, const fw::DmaSegment* from, uint32_t count,
                            uint32_t crc) -> uint32_t {
    return iwarp::Crc32c(Gather(from, count), crc);
  };
  platform_.host_swap = [](void*, uint64_t address, uint64_t expected,
                           uint64_t desired) -> uint64_t {
    uint64_t held;
    std::memcpy(&held, HostMemory(address), sizeof(held));
    if (held == expected) std::memcpy(HostMemory(address), &desired, sizeof(desired));
    return held;
  };
  platform_.payload_release = [](void* context, uint32_t payload) {
    Self(context).payloads_.erase(payload);
  };
  platform_.payload_place = [](void* context, uint32_t frame, uint32_t offset,
                               const fw::DmaSegment* to, uint32_t count, uint32_t tag) {
    auto& self = Self(context);
    Scatter(self.borrowed_.at(frame).data() + offset, to, count);
    self.Finish(tag);
  };
}

void Hardware::FillLinkPorts() {
  platform_.frame_send = [](void* context, const fw::FrameOut* frame, uint64_t* lease) {
    *lease = 0;
    Self(context).Send(*frame);
    return uint32_t{fw::kSendOk};
  };
  platform_.lease_pending = [](void*, uint64_t) -> uint32_t { return 0; };
  platform_.lease_revoke = [](void*, uint64_t, uint32_t) {};
  platform_.frame_poll = [](void* context, fw::FrameIn* out) -> uint32_t {
    return Self(context).PollFrame(out) ? 1 : 0;
  };
  platform_.frame_sum = [](void* context, uint32_t frame, uint32_t offset,
                           uint32_t length) -> uint32_t {
    const Bytes& bytes = Self(context).borrowed_.at(frame);
    return ChecksumAdd(std::span<const uint8_t>(bytes).subspan(offset, length));
  };
  platform_.frame_crc = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                           uint32_t crc) -> uint32_t {
    const Bytes& bytes = Self(context).borrowed_.at(frame);
    return iwarp::Crc32c(std::span<const uint8_t>(bytes).subspan(offset, length), crc);
  };
  platform_.frame_read = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                            void* to) -> uint32_t {
    const Bytes& bytes = Self(context).borrowed_.at(frame);
    std::ranges::copy(std::span<const uint8_t>(bytes).subspan(offset, length),
                      static_cast<uint8_t*>(to));
    return fw::kDmaOk;
  };
  platform_.frame_release = [](void* context, uint32_t frame) {
    Self(context).borrowed_.erase(frame);
  };
}

void Hardware::Send(const fw::FrameOut& frame) {
  const auto* header = static_cast<const uint8_t*>(frame.header);
  Bytes bytes(header, header + frame.header_length);
  if (frame.payload != 0) {
    const auto payload = payloads_.extract(frame.payload);
    bytes.insert(bytes.end(), payload.mapped().begin(), payload.mapped().end());
  }
  outgoing.push_back(ParsePacket(bytes, Now()));
}

bool Hardware::PollFrame(fw::FrameIn* out) {
  if (incoming.empty()) return false;
  const uint32_t handle = next_handle_++;
  const Bytes& bytes = borrowed_[handle] = std::move(incoming.front());
  incoming.pop_front();
  out->frame = handle;
  out->header = bytes.data();
  out->length = static_cast<uint32_t>(bytes.size());
  out->header_length = std::min(out->length, fw::kMaxHeaderBytes);
  // Without a sum of the engine's: the firmware's own summing is exercised as well.
  out->flags = 0;
  out->sum = 0;
  return true;
}

}  // namespace qpip::testbench
