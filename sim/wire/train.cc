#include "sim/wire/train.h"

#include <cstring>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"

namespace qpip::wire {
namespace {

constexpr size_t kTcpHeader = ipv6::kHeaderBytes;  ///< where the TCP header begins
constexpr uint32_t kMostBytes = ipv6::kHeaderBytes + 65535;

size_t HeaderBytes(std::span<const uint8_t> packet) {
  return kTcpHeader + (packet[kTcpHeader + tcp::offset::kDataOffset] >> 4) * size_t{4};
}

// Correct, and written as a sender does who computes it: zero can be written in two ways.
bool ChecksumCorrect(std::span<const uint8_t> packet) {
  ipv6::Address source;
  ipv6::Address destination;
  std::memcpy(source.bytes, &packet[ipv6::offset::kSource], sizeof source.bytes);
  std::memcpy(destination.bytes, &packet[ipv6::offset::kDestination], sizeof destination.bytes);
  const auto upper = packet.subspan(kTcpHeader);
  const uint16_t pseudo =
      PseudoHeaderSum(source, destination, static_cast<uint32_t>(upper.size()), ipv6::kTcp);
  return ChecksumAdd(upper, pseudo) == 0xffff && LoadBe16(&upper[tcp::offset::kChecksum]) != 0xffff;
}

// A whole TCP packet with text, nothing between the headers and nothing behind the text.
bool IsTextSegment(std::span<const uint8_t> packet) {
  if (packet.size() < kTcpHeader + tcp::kMinHeaderBytes || packet[0] >> 4 != 6 ||
      packet[ipv6::offset::kNextHeader] != ipv6::kTcp ||
      LoadBe16(&packet[ipv6::offset::kPayloadLength]) + kTcpHeader != packet.size()) {
    return false;
  }
  const size_t headers = HeaderBytes(packet);
  return headers >= kTcpHeader + tcp::kMinHeaderBytes && headers < packet.size();
}

}  // namespace

Train::Train(std::span<uint8_t> first)
    : first_(first), length_(static_cast<uint32_t>(first.size())) {
  if (!IsTextSegment(first)) return;
  headers_ = static_cast<uint32_t>(HeaderBytes(first));
  segment_size_ = length_ - headers_;
  next_sequence_ = LoadBe32(&first[kTcpHeader + tcp::offset::kSequence]) + segment_size_;
  const uint8_t flags = first[kTcpHeader + tcp::offset::kFlags];
  open_ = (flags & ~(tcp::kEce | tcp::kCwr)) == tcp::kAck;
}

// Everything but the checksum.
bool Train::Continues(std::span<const uint8_t> next) const {
  if (next.size() <= headers_ || !IsTextSegment(next)) return false;
  const uint32_t text = static_cast<uint32_t>(next.size()) - headers_;
  if (text > segment_size_ || length_ + text > kMostBytes) return false;
  const auto same = [&](size_t from, size_t to) {
    return std::memcmp(&first_[from], &next[from], to - from) == 0;
  };
  constexpr size_t kSequence = kTcpHeader + tcp::offset::kSequence;
  constexpr size_t kAcknowledgement = kTcpHeader + tcp::offset::kAcknowledgement;
  constexpr size_t kFlags = kTcpHeader + tcp::offset::kFlags;
  constexpr size_t kChecksum = kTcpHeader + tcp::offset::kChecksum;
  const uint8_t first_flags = first_[kFlags] & static_cast<uint8_t>(~tcp::kCwr);
  const uint8_t flags = next[kFlags] & static_cast<uint8_t>(~tcp::kPsh);
  return same(0, ipv6::offset::kPayloadLength) && same(ipv6::offset::kNextHeader, kSequence) &&
         LoadBe32(&next[kSequence]) == next_sequence_ && same(kAcknowledgement, kFlags) &&
         flags == first_flags && same(kFlags + 1, kChecksum) && same(kChecksum + 2, headers_);
}

bool Train::Join(std::span<const uint8_t> next) {
  if (!open_ || !Continues(next)) return false;
  if (!looked_at_) {
    looked_at_ = true;
    vouched_ = ChecksumCorrect(first_);
    open_ = vouched_;
  }
  if (!open_ || !ChecksumCorrect(next)) return false;
  const uint32_t text = static_cast<uint32_t>(next.size()) - headers_;
  length_ += text;
  next_sequence_ += text;
  ++count_;
  end_flags_ = next[kTcpHeader + tcp::offset::kFlags] & tcp::kPsh;
  open_ = text == segment_size_ && end_flags_ == 0;
  return true;
}

void Train::Close() {
  if (count_ == 1) return;
  StoreBe16(&first_[ipv6::offset::kPayloadLength],
            static_cast<uint16_t>(length_ - ipv6::kHeaderBytes));
  uint8_t& flags = first_[kTcpHeader + tcp::offset::kFlags];
  flags = static_cast<uint8_t>(flags | end_flags_);
}

}  // namespace qpip::wire
