#include "sim/wire/segmenter.h"

#include <cstring>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"

namespace qpip::wire {
namespace {

constexpr size_t kTcpAt = ipv6::kHeaderBytes;  ///< where the TCP header begins

uint16_t SumOf32(uint32_t value) {
  return ChecksumCombine(static_cast<uint16_t>(value >> 16), static_cast<uint16_t>(value));
}

}  // namespace

std::optional<Segmenter> Segmenter::Of(std::span<const uint8_t> packet, size_t total,
                                       uint32_t segment_size) {
  if (packet.size() < kTcpAt + tcp::kMinHeaderBytes || segment_size == 0) return std::nullopt;
  ipv6::Header ip;
  if (ipv6::Parse(packet, static_cast<uint32_t>(total), &ip) != ipv6::ParseError::kNone ||
      ip.next_header != ipv6::kTcp) {
    return std::nullopt;
  }
  const size_t headers = kTcpAt + (packet[kTcpAt + tcp::offset::kDataOffset] >> 4) * size_t{4};
  if (headers < kTcpAt + tcp::kMinHeaderBytes || headers > packet.size() || headers > total) {
    return std::nullopt;
  }
  Segmenter cut;
  std::memcpy(cut.headers_.data(), packet.data(), headers);
  cut.header_bytes_ = headers;
  cut.text_bytes_ = static_cast<uint32_t>(total - headers);
  cut.segment_size_ = segment_size;
  cut.count_ =
      cut.text_bytes_ <= segment_size ? 1 : (cut.text_bytes_ + segment_size - 1) / segment_size;
  cut.sequence_ = LoadBe32(&packet[kTcpAt + tcp::offset::kSequence]);
  cut.flags_ = packet[kTcpAt + tcp::offset::kFlags];
  uint8_t* transport = cut.headers_.data() + kTcpAt;
  StoreBe32(transport + tcp::offset::kSequence, 0);
  transport[tcp::offset::kFlags] = 0;
  StoreBe16(transport + tcp::offset::kChecksum, 0);
  cut.sum_ = ChecksumAdd({transport, headers - kTcpAt},
                         PseudoHeaderSum(ip.source, ip.destination, 0, ipv6::kTcp));
  return cut;
}

void Segmenter::Write(uint32_t index, uint16_t text_sum, uint8_t* out) const {
  const bool last = index + 1 == count_;
  uint8_t flags = flags_;
  if (!last) flags = static_cast<uint8_t>(flags & ~(tcp::kPsh | tcp::kFin));
  if (index != 0) flags = static_cast<uint8_t>(flags & ~tcp::kCwr);
  const uint32_t sequence = sequence_ + index * segment_size_;
  const auto length = static_cast<uint16_t>(header_bytes_ - kTcpAt + TextBytes(index));
  uint16_t sum = ChecksumCombine(sum_, text_sum);
  sum = ChecksumCombine(sum, SumOf32(sequence));
  sum = ChecksumCombine(sum, ChecksumCombine(flags, length));
  std::memcpy(out, headers_.data(), header_bytes_);
  StoreBe16(out + ipv6::offset::kPayloadLength, length);
  StoreBe32(out + kTcpAt + tcp::offset::kSequence, sequence);
  out[kTcpAt + tcp::offset::kFlags] = flags;
  StoreBe16(out + kTcpAt + tcp::offset::kChecksum, static_cast<uint16_t>(~sum));
}

}  // namespace qpip::wire
