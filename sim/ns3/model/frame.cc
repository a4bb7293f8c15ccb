#include "sim/ns3/model/frame.h"

#include <cstring>

#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"

namespace qpip::sim {
namespace {

// Frames are made and dropped millions of times; a simulation has one thread.
Frame* free_frames = nullptr;

}  // namespace

FramePtr Frame::Create() {
  if (free_frames == nullptr) return FramePtr(new Frame);
  Frame* frame = free_frames;
  free_frames = frame->next_free_;
  return FramePtr(frame);
}

void Frame::Recycle(Frame* frame) {
  if (frame->lease_holder != nullptr) frame->lease_holder->OnLeaseEnded(frame->lease);
  frame->header_.clear();
  frame->pieces_.clear();
  frame->owned_.clear();
  frame->payload_length_ = 0;
  frame->payload_sum_ = 0;
  frame->lease = 0;
  frame->lease_holder = nullptr;
  frame->route = nullptr;
  frame->route_step = 0;
  frame->trace_id = 0;
  frame->next_free_ = free_frames;
  free_frames = frame;
}

void Frame::SetHeader(const void* header, uint32_t length) {
  const auto* bytes = static_cast<const uint8_t*>(header);
  header_.assign(bytes, bytes + length);
}

void Frame::SetPayload(std::span<const Piece> pieces, uint32_t length, uint16_t sum) {
  pieces_.assign(pieces.begin(), pieces.end());
  payload_length_ = length;
  payload_sum_ = sum;
}

void Frame::SetOwnedPayload(std::span<const uint8_t> payload) {
  SetOwnedPayload(payload, ChecksumAdd(payload));
}

void Frame::SetOwnedPayload(std::span<const uint8_t> payload, uint16_t sum) {
  owned_.assign(payload.begin(), payload.end());
  pieces_.clear();
  payload_length_ = static_cast<uint32_t>(owned_.size());
  if (payload_length_ != 0) pieces_.push_back({owned_.data(), payload_length_});
  payload_sum_ = sum;
}

void Frame::SetBytes(std::span<const uint8_t> packet) {
  const size_t header = packet.size() < fw::kMaxHeaderBytes ? packet.size() : fw::kMaxHeaderBytes;
  header_.assign(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(header));
  SetOwnedPayload(packet.subspan(header));
}

bool Frame::MarkCongestion() {
  constexpr uint8_t kEcn = 0x30;  // in the second byte: the traffic class' last two bits
  if (header_.size() < 2 || (header_[1] & kEcn) == 0) return false;
  if ((header_[1] & kEcn) == kEcn) return false;
  header_[1] |= kEcn;
  return true;
}

void Frame::Own() {
  if (payload_length_ == 0 || !owned_.empty()) return;
  owned_.resize(payload_length_);
  uint8_t* to = owned_.data();
  for (const Piece& piece : pieces_) {
    if (piece.data == nullptr) {
      std::memset(to, 0, piece.length);
    } else {
      std::memcpy(to, piece.data, piece.length);
    }
    to += piece.length;
  }
  pieces_.clear();
  pieces_.push_back({owned_.data(), payload_length_});
}

void Frame::FlipBit(uint64_t bit) {
  Own();
  const auto byte = static_cast<uint32_t>(bit / 8 % length());
  const auto mask = static_cast<uint8_t>(1u << (bit % 8));
  if (byte < header_length()) {
    header_[byte] ^= mask;
  } else {
    owned_[byte - header_length()] ^= mask;
    payload_sum_ = ChecksumAdd(owned_);
  }
}

uint16_t Frame::UpperSum() const {
  if (header_length() <= ipv6::kHeaderBytes) return 0;
  const std::span<const uint8_t> upper(header_.data() + ipv6::kHeaderBytes,
                                       header_.size() - ipv6::kHeaderBytes);
  const uint16_t payload = ChecksumAtOffset(payload_sum_, upper.size());
  return ChecksumCombine(ChecksumAdd(upper), payload);
}

void Frame::CopyTo(uint8_t* to) const {
  ForEach(0, length(), [&to](const Piece& piece) {
    if (piece.data == nullptr) {
      std::memset(to, 0, piece.length);
    } else {
      std::memcpy(to, piece.data, piece.length);
    }
    to += piece.length;
  });
}

}  // namespace qpip::sim
