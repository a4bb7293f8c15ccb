// A packet in the simulation: header bytes, and payload by reference, by copy, or not at all.
//
// Payload is not touched unless somebody looks at it: a frame refers to the sending host's
// registered memory, which stays as it is until the bytes are acknowledged, and the receiving NIC's
// placement is the one copy. Memory that stands for "some bytes" (phantom.h) has no content: its
// bytes are zeros, and moving it costs no time of this machine. Whoever changes or records content
// (a fault, a pcap file, a channel of ns-3) first turns the references into a copy.
#pragma once

#include <boost/container/small_vector.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <cstdint>
#include <span>
#include <vector>

#include "nic_fw/platform.h"

namespace qpip::sim {

/// Bytes somewhere in this process; nullptr: zeros.
struct Piece {
  const uint8_t* data = nullptr;
  uint32_t length = 0;
};

class Frame;
using FramePtr = boost::intrusive_ptr<Frame>;

/// Not thread-safe: a simulation runs on one thread.
class Frame {
 public:
  /// From the pool.
  static FramePtr Create();

  /// Copies `header` (an IPv6 header and what follows it up to the payload).
  void SetHeader(const void* header, uint32_t length);
  /// Adds payload by reference; `sum` is the one's complement sum of all payload.
  void SetPayload(std::span<const Piece> pieces, uint32_t length, uint16_t sum);
  /// Adds payload as a copy.
  void SetOwnedPayload(std::span<const uint8_t> payload);
  /// The same with its sum, where it is known.
  void SetOwnedPayload(std::span<const uint8_t> payload, uint16_t sum);
  /// The whole packet, copied. Its sum is computed.
  void SetBytes(std::span<const uint8_t> packet);
  /// Turns references into a copy of the bytes.
  void Own();
  /// Sets Congestion Experienced if the packet is ECN-capable (RFC 3168 5) and has it not yet;
  /// whether it did.
  bool MarkCongestion();
  /// Flips one bit of an owned frame and corrects the sum to what the bytes are now.
  void FlipBit(uint64_t bit);

  uint32_t length() const { return header_length() + payload_length_; }
  uint32_t header_length() const { return static_cast<uint32_t>(header_.size()); }
  const uint8_t* header() const { return header_.data(); }
  std::span<const Piece> payload() const { return {pieces_.data(), pieces_.size()}; }
  uint16_t payload_sum() const { return payload_sum_; }
  /// Sum of the bytes behind the fixed IPv6 header.
  uint16_t UpperSum() const;
  /// Visits the contiguous pieces of [offset, offset + length); false when the frame is shorter.
  template <typename Visit>
  bool ForEach(uint32_t offset, uint32_t length, Visit visit) const;
  /// Copies the whole packet; `to` has room for length() bytes.
  void CopyTo(uint8_t* to) const;

  /// Token of the sender's lease on its host's memory; the sender is told when the frame is gone.
  uint64_t lease = 0;
  class LeaseHolder* lease_holder = nullptr;
  uint64_t arrived_ns = 0;                      ///< tail in the receiving NIC
  const std::vector<uint8_t>* route = nullptr;  ///< output ports of the switches to pass
  uint32_t route_step = 0;                      ///< switches passed
  uint32_t source = 0;                          ///< index in the fabric of the NIC that sent it
  uint32_t input_port = 0;                      ///< of the switch it is in
  uint32_t trace_id = 0;                        ///< for the waterfall; 0: not followed

 private:
  friend void intrusive_ptr_add_ref(Frame* frame) { ++frame->references_; }
  friend void intrusive_ptr_release(Frame* frame) {
    if (--frame->references_ == 0) Recycle(frame);
  }
  static void Recycle(Frame* frame);

  boost::container::small_vector<uint8_t, 120> header_;
  boost::container::small_vector<Piece, 2> pieces_;
  std::vector<uint8_t> owned_;
  uint32_t payload_length_ = 0;
  uint32_t references_ = 0;
  uint16_t payload_sum_ = 0;
  Frame* next_free_ = nullptr;
};

/// Told when the last reference to a leased frame is gone.
class LeaseHolder {
 public:
  virtual ~LeaseHolder() = default;
  virtual void OnLeaseEnded(uint64_t lease) = 0;
};

template <typename Visit>
bool Frame::ForEach(uint32_t offset, uint32_t length, Visit visit) const {
  const auto part = [&](const uint8_t* data, uint32_t bytes) {
    if (length == 0) return;
    if (offset >= bytes) {
      offset -= bytes;
      return;
    }
    const uint32_t take = bytes - offset < length ? bytes - offset : length;
    visit(Piece{data == nullptr ? nullptr : data + offset, take});
    length -= take;
    offset = 0;
  };
  part(header_.data(), header_length());
  for (const Piece& piece : pieces_) part(piece.data, piece.length);
  return length == 0;
}

}  // namespace qpip::sim
