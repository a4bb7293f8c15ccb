// The link: frames to and from the wire.
#include <algorithm>
#include <cstring>

#include "protocols/iwarp/crc32c.h"
#include "sim/lanai/ports_internal.h"

namespace qpip::lanai {

namespace {

constexpr uint32_t kIpv6HeaderBytes = 40;

}  // namespace

// --- Link

inline uint32_t Ports::SendFrame(const fw::FrameOut& out, uint64_t* lease) {
  wire::OutFrame frame;
  frame.header = {static_cast<const uint8_t*>(out.header), out.header_length};
  frame.segment_size = out.segment_size;
  frame.summed = summed_;
  frame.owner = out.owner;
  std::memcpy(frame.link_address.data(), out.link_address, frame.link_address.size());
  if (out.payload != 0) {
    const PayloadSlot& slot = payloads_[out.payload - 1];
    frame.payload = {slot.pieces.data(), slot.count};
    frame.payload_stable = slot.stable;
  }
  *lease = 0;
  const wire::SendResult result = wire_.Send(frame, lease);
  if (result == wire::SendResult::kBusy) return fw::kSendBusy;
  if (result == wire::SendResult::kStopped) return fw::kSendStopped;
  if (out.payload != 0) free_payloads_.push_back(out.payload);
  if (result == wire::SendResult::kNoRoute) return fw::kSendNoRoute;
  sent_ = true;
  return fw::kSendOk;
}

inline uint32_t Ports::PollFrame(fw::FrameIn* out) {
  if (free_frames_.empty()) return 0;
  const uint32_t handle = free_frames_.back();
  FrameSlot& slot = frames_[handle - 1];
  wire::InFrame& frame = slot.frame;
  frame.peer_down = false;
  if (!wire_.Receive(&frame)) return 0;
  free_frames_.pop_back();
  slot.held = true;
  out->frame = handle;
  out->sum = 0;
  if (frame.peer_down) [[unlikely]] {
    frame.pieces = {};
    frame.length = 0;
    out->header = frame.peer.bytes;
    out->header_length = sizeof(frame.peer.bytes);
    out->length = 0;
    out->flags = fw::kFramePeerDown;
    return 1;
  }
  const iovec& first = frame.pieces.front();
  out->header = static_cast<const uint8_t*>(first.iov_base);
  out->header_length = static_cast<uint32_t>(std::min<size_t>(first.iov_len, frame.length));
  out->length = frame.length;
  if (frame.checksum_vouched) {
    out->flags = fw::kFrameTrusted;
  } else {
    out->flags = fw::kFrameSumValid;
    if (frame.length > kIpv6HeaderBytes) {
      out->sum = SumFrame(handle, kIpv6HeaderBytes, frame.length - kIpv6HeaderBytes);
    }
  }
  return 1;
}

uint32_t Ports::SumFrame(uint32_t frame, uint32_t offset, uint32_t length) const {
  RunningSum running;
  const bool complete = VisitFrame(frames_[frame - 1].frame.pieces, offset, length,
                                   [&](std::span<const uint8_t> part) { running.Add(part); });
  if (!complete) Die("frame_sum beyond the frame's end");
  return running.value();
}

uint32_t Ports::CrcFrame(uint32_t frame, uint32_t offset, uint32_t length, uint32_t crc) const {
  const bool complete =
      VisitFrame(frames_[frame - 1].frame.pieces, offset, length,
                 [&](std::span<const uint8_t> part) { crc = iwarp::Crc32c(part, crc); });
  if (!complete) Die("frame_crc beyond the frame's end");
  return crc;
}

uint32_t Ports::ReadFrame(uint32_t frame, uint32_t offset, uint32_t length, uint8_t* to) {
  const bool complete = VisitFrame(frames_[frame - 1].frame.pieces, offset, length,
                                   [&](std::span<const uint8_t> part) {
                                     std::memcpy(to, part.data(), part.size());
                                     to += part.size();
                                   });
  if (!complete) Die("frame_read beyond the frame's end");
  return StatusOfCopy(frames_[frame - 1].frame);
}

inline void Ports::ReleaseFrame(uint32_t frame) {
  FrameSlot& slot = frames_[frame - 1];
  if (!slot.held) [[unlikely]]
    Die("frame_release of a frame that is not held");
  slot.held = false;
  // A link event borrows nothing from the wire.
  if (!slot.frame.peer_down) wire_.Release(slot.frame);
  free_frames_.push_back(frame);
}

void Ports::ReleaseFrames() {
  for (uint32_t handle = 1; handle <= kFrameSlots; ++handle) {
    if (frames_[handle - 1].held) ReleaseFrame(handle);
  }
}

template <bool kTimed>
void Ports::FillLinkPorts() {
  table_.frame_send = [](void* context, const fw::FrameOut* frame, uint64_t* lease) -> uint32_t {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kLinkTransmit, EngineOperation::kSend,
                            frame->header_length);
    return self->SendFrame(*frame, lease);
  };
  table_.lease_pending = [](void* context, uint64_t lease) -> uint32_t {
    constexpr uint64_t kNsPerMs = 1000000;
    wire::Wire& wire = static_cast<Ports*>(context)->wire_;
    if (!wire.LeasePending(lease)) return 0;
    const uint64_t quiet_ms = wire.LeaseQuietNs(lease) / kNsPerMs;
    return static_cast<uint32_t>(std::min<uint64_t>(quiet_ms, UINT32_MAX - 1)) + 1;
  };
  table_.lease_revoke = [](void* context, uint64_t lease, uint32_t owner) {
    static_cast<Ports*>(context)->wire_.RevokeLeases(lease, owner);
  };
  table_.frame_poll = [](void* context, fw::FrameIn* out) -> uint32_t {
    auto* self = static_cast<Ports*>(context);
    Measure<kTimed> measure(self, Track::kLinkReceive, EngineOperation::kReceive, 0);
    const uint32_t received = self->PollFrame(out);
    if constexpr (kTimed) {
      if (received == 0) {
        measure.Cancel();
      } else {
        measure.set_bytes(out->length);
      }
    }
    return received;
  };
  table_.frame_sum = [](void* context, uint32_t frame, uint32_t offset, uint32_t length) {
    return static_cast<Ports*>(context)->SumFrame(frame, offset, length);
  };
  table_.frame_crc = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                        uint32_t crc) {
    return static_cast<Ports*>(context)->CrcFrame(frame, offset, length, crc);
  };
  table_.frame_read = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                         void* to) -> uint32_t {
    return static_cast<Ports*>(context)->ReadFrame(frame, offset, length,
                                                   static_cast<uint8_t*>(to));
  };
  table_.frame_release = [](void* context, uint32_t frame) {
    static_cast<Ports*>(context)->ReleaseFrame(frame);
  };
}

template void Ports::FillLinkPorts<false>();
template void Ports::FillLinkPorts<true>();

}  // namespace qpip::lanai
