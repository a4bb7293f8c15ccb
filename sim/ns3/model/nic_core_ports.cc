// The ports of a simulated NIC: DMA engines, packet memory, link.
#include <algorithm>
#include <cstring>
#include <utility>

#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/iwarp/crc32c.h"
#include "sim/ns3/model/nic_core.h"
#include "sim/ns3/model/phantom.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

uint32_t TotalLength(const fw::DmaSegment* segments, uint32_t count) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < count; ++i) total += segments[i].length;
  return total;
}

uint8_t* HostMemory(uint64_t address) { return reinterpret_cast<uint8_t*>(address); }

/// Writes consecutive bytes to a list of pieces of host memory; phantom memory swallows them.
class Scatter {
 public:
  Scatter(const fw::DmaSegment* to, uint32_t count) : to_(to), count_(count) {}

  void Write(const Piece& piece) {
    uint32_t done = 0;
    while (done < piece.length && index_ < count_) {
      const fw::DmaSegment& segment = to_[index_];
      if (filled_ == segment.length) {
        ++index_;
        filled_ = 0;
        continue;
      }
      const uint32_t bytes = std::min(piece.length - done, segment.length - filled_);
      if (!IsPhantom(segment.address)) {
        uint8_t* at = HostMemory(segment.address) + filled_;
        if (piece.data == nullptr) {
          std::memset(at, 0, bytes);
        } else {
          std::memmove(at, piece.data + done, bytes);
        }
      }
      done += bytes;
      filled_ += bytes;
    }
  }

 private:
  const fw::DmaSegment* to_;
  uint32_t count_;
  uint32_t index_ = 0;
  uint32_t filled_ = 0;
};

Piece HostPiece(const fw::DmaSegment& segment) {
  return {IsPhantom(segment.address) ? nullptr : HostMemory(segment.address), segment.length};
}

/// Phantom bytes count as zeroes.
uint32_t CrcOf(const Piece& piece, uint32_t crc) {
  if (piece.data != nullptr) return iwarp::Crc32c({piece.data, piece.length}, crc);
  static constexpr uint8_t kZeroes[4096] = {};
  for (uint32_t at = 0; at < piece.length; at += sizeof(kZeroes)) {
    const uint32_t bytes = std::min<uint32_t>(sizeof(kZeroes), piece.length - at);
    crc = iwarp::Crc32c({kZeroes, bytes}, crc);
  }
  return crc;
}

}  // namespace

// --- DMA engines

uint64_t NicCore::Transfer(DmaEngine& engine, Engine which, const char* name, uint32_t bytes) {
  if (detached_) return StampPs();
  const uint64_t start = std::max(StampPs(), engine.free_ps);
  const uint64_t duration = model_.dma.Ps(bytes);
  engine.free_ps = start + duration;
  if (which == Engine::kDmaRead) {
    totals_.dma_read_ps += duration;
    totals_.dma_read_bytes += bytes;
  } else {
    totals_.dma_write_ps += duration;
    totals_.dma_write_bytes += bytes;
  }
  if (observer_ != nullptr) observer_->OnEngine(which, name, bytes, start, engine.free_ps);
  return engine.free_ps;
}

void NicCore::Finish(DmaEngine& engine, uint64_t done_ps, uint32_t tag, uint32_t status,
                     uint32_t sum) {
  engine.done.push_back({CeilStamp(done_ps), fw::DmaCompletion{tag, status, sum}});
}

uint32_t NicCore::PollDma(fw::DmaCompletion* out) {
  const auto due = [](const DmaEngine& engine) {
    return engine.done.empty() ? UINT64_MAX : engine.done.front().first;
  };
  const uint64_t read = due(read_);
  const uint64_t write = due(write_);
  const uint64_t first = std::min(read, write);
  if (first == UINT64_MAX || (first > step_ns_ && !detached_)) return 0;
  DmaEngine& engine = read <= write ? read_ : write_;
  *out = engine.done.front().second;
  engine.done.pop_front();
  return 1;
}

void NicCore::CopyHostMemory(const fw::DmaSegment* from, uint32_t from_count,
                             const fw::DmaSegment* to, uint32_t to_count, uint32_t tag) {
  Scatter scatter(to, to_count);
  for (uint32_t i = 0; i < from_count; ++i) scatter.Write(HostPiece(from[i]));
  // Through SRAM: in by one engine, out by the other behind it.
  const uint32_t bytes = TotalLength(to, to_count);
  const uint64_t in = Transfer(read_, Engine::kDmaRead, "copy in", bytes);
  write_.free_ps = std::max(write_.free_ps, in);
  const uint64_t out = Transfer(write_, Engine::kDmaWrite, "copy out", bytes);
  Finish(write_, out, tag, fw::kDmaOk, 0);
}

void NicCore::PostWrite(uint64_t to, const void* from, uint32_t length) {
  Posted posted;
  posted.to = to;
  posted.length = std::min<uint32_t>(length, sizeof(posted.bytes));
  std::memcpy(posted.bytes, from, posted.length);
  const uint64_t done = Transfer(write_, Engine::kDmaWrite, "completion", length);
  Deliver(posted, done);
}

void NicCore::PostInterrupt(uint32_t kind, uint32_t object) {
  Posted posted;
  posted.kind = kind;
  posted.object = object;
  // Behind the writes, as a message signalled interrupt is.
  Deliver(posted, std::max(write_.free_ps, StampPs()));
}

void NicCore::Deliver(const Posted& posted, uint64_t at_ps) {
  posted_.push_back(posted);
  if (detached_) {
    DeliverPosted();
    return;
  }
  ScheduleAt(CeilStamp(at_ps), [this, run = run_] {
    if (run == run_) DeliverPosted();
  });
}

void NicCore::DeliverPosted() {
  const Posted posted = posted_.front();
  posted_.pop_front();
  if (!running_) return;
  if (posted.length == 0) {
    host_->OnInterrupt(static_cast<fw::InterruptKind>(posted.kind), posted.object);
    return;
  }
  std::memcpy(HostMemory(posted.to), posted.bytes, posted.length);
  host_->OnHostWrite(posted.to, posted.length);
}

/// A read behind posted writes to the same place gets what they will have written, and not before
/// they have (PCI: a read does not overtake a posted write).
void NicCore::ReadPosted(uint64_t from, void* to, uint32_t length) {
  for (size_t i = 0; i < posted_.size(); ++i) {
    const Posted& posted = posted_[i];
    const uint64_t begin = std::max(from, posted.to);
    const uint64_t end = std::min(from + length, posted.to + posted.length);
    if (begin >= end) continue;
    std::memcpy(static_cast<uint8_t*>(to) + (begin - from), posted.bytes + (begin - posted.to),
                end - begin);
    read_.free_ps = std::max(read_.free_ps, write_.free_ps);
  }
}

// --- Payload on its way out

uint32_t NicCore::TakePayload() {
  if (free_payload_ == 0) {
    payloads_.emplace_back();
    free_payload_ = static_cast<uint32_t>(payloads_.size());
  }
  const uint32_t handle = free_payload_;
  free_payload_ = payloads_[handle - 1].next_free;
  return handle;
}

/// Of the bookkeeping; the packet buffer itself may be in use until the line has sent it.
void NicCore::ReleasePayload(uint32_t handle) {
  Payload& payload = payloads_[handle - 1];
  payload.pieces.clear();
  payload.owned.clear();
  payload.copy = false;
  payload.next_free = free_payload_;
  free_payload_ = handle;
}

void NicCore::CopyReferences() {
  for (size_t i = 0; i < leased_.size(); ++i) {
    if (leased_[i] != nullptr) leased_[i]->Own();
  }
  for (Payload& payload : payloads_) {
    if (payload.pieces.empty() || !payload.owned.empty()) continue;
    for (const Piece& piece : payload.pieces) {
      const size_t end = payload.owned.size();
      payload.owned.resize(end + piece.length);  // zeros, as phantom memory reads
      if (piece.data != nullptr) std::memcpy(&payload.owned[end], piece.data, piece.length);
    }
    payload.pieces.clear();
    payload.pieces.push_back({payload.owned.data(), payload.length});
    payload.copy = true;
  }
}

void NicCore::TakeBuffer() {
  ++buffers_used_;
  ++buffers_held_;
  buffers_ps_ -= StampPs();
}

/// The buffer may still be used until then; its time is known.
void NicCore::FreeBufferAt(uint64_t ps) {
  --buffers_held_;
  buffers_ps_ += ps;
}

uint64_t NicCore::TransmitBuffersPs() const { return buffers_ps_ + buffers_held_ * NowNs() * 1000; }

bool NicCore::PayloadRoom() {
  while (!buffers_free_at_ns_.empty() && buffers_free_at_ns_.front() <= step_ns_) {
    buffers_free_at_ns_.pop_front();
    --buffers_used_;
  }
  starved_ = buffers_used_ >= model_.transmit_buffers;
  return !starved_;
}

uint32_t NicCore::FetchPayload(const fw::DmaSegment* from, uint32_t count, uint32_t flags,
                               uint32_t tag) {
  if (!PayloadRoom()) return 0;
  TakeBuffer();
  const uint32_t handle = TakePayload();
  Payload& payload = payloads_[handle - 1];
  payload.length = TotalLength(from, count);
  payload.copy = (flags & fw::kDmaCopy) != 0;
  payload.sum = 0;
  uint32_t offset = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const Piece piece = HostPiece(from[i]);
    payload.pieces.push_back(piece);
    if (piece.data != nullptr && (flags & fw::kDmaSum) != 0) {
      const uint16_t sum = ChecksumAdd({piece.data, piece.length});
      payload.sum = ChecksumCombine(payload.sum, ChecksumAtOffset(sum, offset));
    }
    offset += piece.length;
  }
  const uint64_t done = Transfer(read_, Engine::kDmaRead, "fetch", payload.length);
  Finish(read_, done, tag, fw::kDmaOk, payload.sum);
  return handle;
}

uint32_t NicCore::PayloadFromFrame(uint32_t frame, uint32_t offset, uint32_t length,
                                   uint32_t* sum) {
  if (!PayloadRoom()) return 0;
  TakeBuffer();
  const uint32_t handle = TakePayload();
  Payload& payload = payloads_[handle - 1];
  payload.length = length;
  payload.copy = true;
  payload.owned.resize(length);
  uint8_t* to = payload.owned.data();
  held_[frame - 1]->ForEach(offset, length, [&to](const Piece& piece) {
    if (piece.data != nullptr) std::memcpy(to, piece.data, piece.length);
    to += piece.length;
  });
  payload.pieces.push_back({payload.owned.data(), length});
  payload.sum = ChecksumAdd(payload.owned);
  *sum = payload.sum;
  return handle;
}

uint32_t NicCore::SealPayload(uint32_t handle, uint32_t pad, bool with_crc, uint32_t crc) {
  Payload& payload = payloads_[handle - 1];
  if (with_crc) {
    for (const Piece& piece : payload.pieces) crc = CrcOf(piece, crc);
  }
  uint8_t end[8] = {};
  if (with_crc) {
    crc = iwarp::Crc32c({end, pad}, crc);
    iwarp::StoreCrc(end + pad, crc);
  }
  const uint32_t bytes = pad + static_cast<uint32_t>(iwarp::kCrcBytes);
  payload.owned.assign(end, end + bytes);
  payload.pieces.push_back({payload.owned.data(), bytes});
  payload.sum =
      ChecksumCombine(payload.sum, ChecksumAtOffset(ChecksumAdd(payload.owned), payload.length));
  payload.length += bytes;
  payload.copy = true;  // the end lies in the payload's own memory, which another one will get
  return with_crc ? crc : 0;
}

uint32_t NicCore::CrcHostMemory(const fw::DmaSegment* from, uint32_t count, uint32_t crc) {
  for (uint32_t i = 0; i < count; ++i) crc = CrcOf(HostPiece(from[i]), crc);
  Transfer(read_, Engine::kDmaRead, "crc", TotalLength(from, count));
  return crc;
}

uint32_t NicCore::CrcFrame(uint32_t handle, uint32_t offset, uint32_t length, uint32_t crc) const {
  held_[handle - 1]->ForEach(offset, length,
                             [&crc](const Piece& piece) { crc = CrcOf(piece, crc); });
  return crc;
}

// --- Link

uint32_t NicCore::SendFrame(const fw::FrameOut& out, uint64_t* lease) {
  *lease = 0;
  const auto* header = static_cast<const uint8_t*>(out.header);
  if (detached_ || !link_->HasRoute(header + ipv6::offset::kDestination)) {
    if (out.payload != 0) {
      ReleasePayload(out.payload);
      FreeBufferAt(StampPs());
      --buffers_used_;
    }
    return fw::kSendNoRoute;
  }
  if (!link_->CanSend() || frames_waiting_ >= kMaxFramesWaiting) return fw::kSendBusy;
  FramePtr frame = Frame::Create();
  frame->SetHeader(header, out.header_length);
  if (out.payload != 0) {
    const Payload& payload = payloads_[out.payload - 1];
    frame->SetPayload({payload.pieces.data(), payload.pieces.size()}, payload.length, payload.sum);
    const bool refers = std::any_of(payload.pieces.begin(), payload.pieces.end(),
                                    [](const Piece& piece) { return piece.data != nullptr; });
    if (refers && (payload.copy || copy_payload_)) {
      frame->Own();
    } else if (refers) {
      *lease = next_lease_++;
      leased_.push_back(frame.get());
      frame->lease = *lease;
      frame->lease_holder = this;
    }
    ReleasePayload(out.payload);
    if (!model_.transmit_buffer_until_sent) {
      FreeBufferAt(StampPs());
      --buffers_used_;
    }
  }
  if (observer_ != nullptr) observer_->OnFrameSent(*frame, StampNs());
  ++frames_waiting_;
  link_->Send(std::move(frame), StampNs());
  return fw::kSendOk;
}

void NicCore::OnFrameOnLine(const Frame& frame, uint64_t start_ns, uint64_t end_ns) {
  if (stale_frames_ > 0) {
    --stale_frames_;
    return;
  }
  --frames_waiting_;
  if (model_.transmit_buffer_until_sent && !frame.payload().empty()) {
    buffers_free_at_ns_.push_back(end_ns);
    FreeBufferAt(end_ns * 1000);
    if (starved_) Kick(end_ns);
  }
  if (observer_ != nullptr) {
    observer_->OnEngine(Engine::kLinkTransmit, "send", frame.length(), start_ns * 1000,
                        end_ns * 1000);
  }
}

/// Whether the core may take a frame; spends the interrupt that said so.
bool NicCore::FrameAnnounced() {
  if (received_.empty()) {
    if (receive_state_ == ReceiveState::kServing) receive_state_ = ReceiveState::kIdle;
    return false;
  }
  if (!model_.interrupts_core()) return true;
  if (receive_state_ == ReceiveState::kInterrupted) {
    receive_state_ = ReceiveState::kServing;
    ++totals_.receive_interrupts;
    totals_.receive_interrupt_ps += model_.receive_interrupt_ps;
    accrued_ps_ += model_.receive_interrupt_ps;
  }
  return receive_state_ == ReceiveState::kServing;
}

uint32_t NicCore::PollFrame(fw::FrameIn* out) {
  if (!FrameAnnounced()) return 0;
  uint32_t handle;
  if (free_held_.empty()) {
    held_.push_back(std::move(received_.front()));
    handle = static_cast<uint32_t>(held_.size());
  } else {
    handle = free_held_.back();
    free_held_.pop_back();
    held_[handle - 1] = std::move(received_.front());
  }
  received_.pop_front();
  const Frame& frame = *held_[handle - 1];
  out->header = frame.header();
  out->header_length = frame.header_length();
  out->length = frame.length();
  out->frame = handle;
  out->flags = 0;
  out->sum = 0;
  if (!model_.checksum_in_firmware) {
    out->flags = fw::kFrameSumValid;
    out->sum = frame.UpperSum();
  }
  return 1;
}

uint32_t NicCore::SumFrame(uint32_t handle, uint32_t offset, uint32_t length) const {
  const Frame& frame = *held_[handle - 1];
  if (offset == ipv6::kHeaderBytes && offset + length == frame.length()) return frame.UpperSum();
  uint16_t sum = 0;
  uint32_t at = 0;
  frame.ForEach(offset, length, [&](const Piece& piece) {
    if (piece.data != nullptr) {
      const uint16_t part = ChecksumAdd({piece.data, piece.length});
      sum = ChecksumCombine(sum, ChecksumAtOffset(part, at));
    }
    at += piece.length;
  });
  return sum;
}

void NicCore::ReadFrame(uint32_t handle, uint32_t offset, uint32_t length, uint8_t* to) const {
  std::memset(to, 0, length);  // phantom bytes have no content
  held_[handle - 1]->ForEach(offset, length, [&](const Piece& piece) {
    if (piece.data != nullptr) std::memcpy(to, piece.data, piece.length);
    to += piece.length;
  });
}

void NicCore::PlacePayload(uint32_t handle, uint32_t offset, const fw::DmaSegment* to,
                           uint32_t count, uint32_t tag) {
  const uint32_t length = TotalLength(to, count);
  // The bytes move at once: nobody may look at them before the completion says so.
  Scatter scatter(to, count);
  const bool whole = held_[handle - 1]->ForEach(
      offset, length, [&scatter](const Piece& piece) { scatter.Write(piece); });
  const uint64_t done = Transfer(write_, Engine::kDmaWrite, "place", length);
  Finish(write_, done, tag, whole ? fw::kDmaOk : fw::kDmaFault, 0);
}

void NicCore::ReleaseFrame(uint32_t handle) {
  FramePtr frame = std::move(held_[handle - 1]);
  free_held_.push_back(handle);
  link_->OnReceiveBufferFree(frame->length(), StampNs());
}

void NicCore::OnLeaseEnded(uint64_t lease) {
  leased_[lease - oldest_lease_] = nullptr;
  while (!leased_.empty() && leased_.front() == nullptr) {
    leased_.pop_front();
    ++oldest_lease_;
  }
}

}  // namespace qpip::sim
