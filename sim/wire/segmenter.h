// Cuts a TCP packet that is longer than its link takes into segments, as the transmit engine of a
// NIC does.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"

namespace qpip::wire {

/// The headers of the segments that a packet is cut into. All repeat the packet's, but for length,
/// sequence number and checksum; PSH and FIN are on the last only, CWR on the first only (RFC 3168
/// 6.1.2: one packet tells).
class Segmenter {
 public:
  static constexpr size_t kMaxHeaders = ipv6::kHeaderBytes + tcp::kMaxHeaderBytes;

  /// `packet` begins with an IPv6 header, a TCP header without anything in between, and holds both
  /// whole; `total` bytes is the packet's length, and `segment_size`, at least 1, the most text of
  /// a segment. nullopt: it is nothing of the kind.
  static std::optional<Segmenter> Of(std::span<const uint8_t> packet, size_t total,
                                     uint32_t segment_size);

  /// Bytes of headers that each segment has.
  size_t header_bytes() const { return header_bytes_; }
  uint32_t count() const { return count_; }
  /// Bytes of text of segment `index`.
  uint32_t TextBytes(uint32_t index) const {
    return index + 1 < count_ ? segment_size_ : text_bytes_ - index * segment_size_;
  }
  /// Writes header_bytes() for segment `index`, whose text sums up to `text_sum` (ChecksumAdd).
  void Write(uint32_t index, uint16_t text_sum, uint8_t* out) const;

 private:
  Segmenter() = default;

  std::array<uint8_t, kMaxHeaders> headers_;
  size_t header_bytes_ = 0;
  uint32_t text_bytes_ = 0;
  uint32_t segment_size_ = 0;
  uint32_t count_ = 0;
  uint32_t sequence_ = 0;
  uint8_t flags_ = 0;
  uint16_t sum_ = 0;  ///< of what all segments have in common: the TCP header and the pseudo-header
                      ///< without lengths, sequence number, flags and checksum
};

}  // namespace qpip::wire
