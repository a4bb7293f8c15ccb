// Puts TCP segments that belong together into one, as the receive engine of a NIC does.
#pragma once

#include <cstdint>
#include <span>

namespace qpip::wire {

/// A packet, and those behind it that continue it: by the rules of Linux's generic receive offload
/// (tcp_gro_receive, ipv6_gro_receive), of the same flow, traffic class and hop limit, with the
/// next sequence number, the same acknowledgement, window and options, no flags but ACK, and ECE if
/// all have it, as long as the first, the last perhaps shorter. PSH is the end of it, CWR the
/// beginning. All have a correct checksum. So it can be told from a train what it was made of, and
/// it may be taken for one segment: nothing that a segment says is lost, and PSH, which may mean
/// the end of a message, stays on the byte that it was on.
///
/// The packets stay where they are; the first's header becomes the train's.
class Train {
 public:
  /// Begins with a packet, which has at least an IPv6 header.
  explicit Train(std::span<uint8_t> first);

  /// Takes `next` if it continues the train. Then its text, from text_offset() on, is the
  /// train's.
  bool Join(std::span<const uint8_t> next);
  /// Writes the header of the whole, but for the checksum, over the first packet's, if any has
  /// joined it.
  void Close();

  uint32_t text_offset() const { return headers_; }
  /// Bytes of the whole packet.
  uint32_t length() const { return length_; }
  uint32_t count() const { return count_; }
  /// Whether all checksums have been looked at, and were correct.
  bool vouched() const { return vouched_; }

 private:
  bool Continues(std::span<const uint8_t> next) const;

  std::span<uint8_t> first_;
  uint32_t headers_ = 0;       ///< bytes of IPv6 and TCP header
  uint32_t segment_size_ = 0;  ///< text of the first packet
  uint32_t length_ = 0;
  uint32_t count_ = 1;
  uint32_t next_sequence_ = 0;
  uint8_t end_flags_ = 0;  ///< PSH of the last
  bool open_ = false;      ///< another may join
  bool vouched_ = false;
  bool looked_at_ = false;  ///< the first's checksum
};

}  // namespace qpip::wire
