#include "protocols/iwarp/message_layout.h"

#include <cstring>

#include "protocols/common/byte_order.h"
#include "protocols/iwarp/crc32c.h"

namespace qpip::iwarp {
namespace {

/// Bytes of the message that a full segment carries.
uint32_t FullPayload(const MessageLayout& layout) { return layout.mulpdu - layout.header_bytes; }

/// Bytes of the stream up to where `content` bytes that are no markers have passed.
uint64_t WithMarkers(const MessageLayout& layout, uint64_t content) {
  return content + (layout.markers ? kMarkerBytes * MarkersBefore(layout.start, content) : 0);
}

}  // namespace

MessageLayout LayOut(const Message& message, uint32_t start, uint32_t mulpdu, bool markers) {
  const size_t header = IsTagged(message.opcode) ? kTaggedBytes : kUntaggedBytes;
  return {start, message.length, mulpdu, static_cast<uint8_t>(header), markers};
}

uint32_t SegmentCount(const MessageLayout& layout) {
  if (layout.length == 0) return 1;  // RFC 5041 5.2: exactly one
  return 1 + (layout.length - 1) / FullPayload(layout);
}

uint64_t StreamBytes(const MessageLayout& layout) {
  const uint32_t before_last = SegmentCount(layout) - 1;
  const uint32_t rest = layout.length - before_last * FullPayload(layout);
  const uint64_t content = uint64_t{before_last} * ContentBytes(layout.mulpdu) +
                           ContentBytes(layout.header_bytes + rest);
  return WithMarkers(layout, content);
}

SegmentAt FindSegment(const MessageLayout& layout, uint64_t at) {
  const uint32_t full = ContentBytes(layout.mulpdu);
  SegmentAt found;
  const uint64_t before = layout.markers ? ContentBefore(layout.start, at) : at;
  found.index = static_cast<uint32_t>(before / full);
  found.last = found.index == SegmentCount(layout) - 1;
  found.message_offset = found.index * FullPayload(layout);
  const uint64_t start = WithMarkers(layout, uint64_t{found.index} * full);
  found.at = static_cast<uint32_t>(at - start);
  found.fpdu.start = layout.start + static_cast<uint32_t>(start);
  found.fpdu.ulpdu_length =
      found.last ? layout.header_bytes + layout.length - found.message_offset : layout.mulpdu;
  found.fpdu.markers = layout.markers;
  return found;
}

DdpHeader HeaderOf(const Message& message, uint32_t message_offset, bool last) {
  DdpHeader header;
  header.tagged = IsTagged(message.opcode);
  header.last = last;
  header.ulp_control = RdmapControl(message.opcode);
  if (header.tagged) {
    header.stag = message.stag;
    header.tagged_offset = message.tagged_offset + message_offset;
  } else {
    header.ulp_word = Invalidates(message.opcode) ? message.invalidate_stag : 0;
    header.queue = QueueOf(message.opcode);
    header.message_sequence = message.message_sequence;
    header.message_offset = message_offset;
  }
  return header;
}

void EmitPart(const Fpdu& fpdu, const PartAt& part, uint8_t* out) {
  uint8_t whole[kMarkerBytes] = {};
  if (part.part == FpduPart::kLength) StoreBe16(whole, static_cast<uint16_t>(fpdu.ulpdu_length));
  if (part.part == FpduPart::kMarker) StoreBe16(whole + 2, static_cast<uint16_t>(part.pointer));
  std::memcpy(out, whole + part.offset, part.length);
}

void EmitFpdu(const Fpdu& fpdu, std::span<const uint8_t> ulpdu, bool crc, std::span<uint8_t> out) {
  const uint32_t bytes = FpduBytes(fpdu);
  uint32_t sum = 0;
  for (uint32_t at = 0; at < bytes;) {
    const PartAt part = FindPart(fpdu, at);
    uint8_t* p = &out[at];
    if (part.part == FpduPart::kCrc) {
      StoreCrc(p, crc ? sum : 0);
    } else if (part.part == FpduPart::kUlpdu) {
      std::memcpy(p, &ulpdu[part.offset], part.length);
    } else {
      EmitPart(fpdu, part, p);
    }
    sum = Crc32c({p, part.length}, sum);
    at += part.length;
  }
}

}  // namespace qpip::iwarp
