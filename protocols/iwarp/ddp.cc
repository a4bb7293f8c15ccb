#include "protocols/iwarp/ddp.h"

#include "protocols/common/byte_order.h"

namespace qpip::iwarp {

const char* DdpErrorName(DdpError error) {
  switch (error) {
    case DdpError::kNone:
      return "none";
    case DdpError::kTooShort:
      return "too_short";
    case DdpError::kBadVersion:
      return "bad_version";
  }
  return "unknown";
}

DdpError ParseDdp(std::span<const uint8_t> bytes, DdpHeader* header) {
  if (bytes.empty()) return DdpError::kTooShort;
  const uint8_t control = bytes[offset::kDdpControl];
  if (bytes.size() < DdpHeaderBytes(control)) return DdpError::kTooShort;
  *header = DdpHeader{};
  header->tagged = (control & kDdpTagged) != 0;
  header->last = (control & kDdpLast) != 0;
  header->version = control & kDdpVersionMask;
  header->ulp_control = bytes[offset::kUlpControl];
  if (header->tagged) {
    header->stag = LoadBe32(&bytes[offset::kStag]);
    header->tagged_offset = LoadBe64(&bytes[offset::kTaggedOffset]);
  } else {
    header->ulp_word = LoadBe32(&bytes[offset::kUlpWord]);
    header->queue = LoadBe32(&bytes[offset::kQueue]);
    header->message_sequence = LoadBe32(&bytes[offset::kMessageSequence]);
    header->message_offset = LoadBe32(&bytes[offset::kMessageOffset]);
  }
  return header->version == kDdpVersion ? DdpError::kNone : DdpError::kBadVersion;
}

size_t EmitDdp(const DdpHeader& header, std::span<uint8_t> out) {
  out[offset::kDdpControl] = static_cast<uint8_t>((header.tagged ? kDdpTagged : 0) |
                                                  (header.last ? kDdpLast : 0) | header.version);
  out[offset::kUlpControl] = header.ulp_control;
  if (header.tagged) {
    StoreBe32(&out[offset::kStag], header.stag);
    StoreBe64(&out[offset::kTaggedOffset], header.tagged_offset);
  } else {
    StoreBe32(&out[offset::kUlpWord], header.ulp_word);
    StoreBe32(&out[offset::kQueue], header.queue);
    StoreBe32(&out[offset::kMessageSequence], header.message_sequence);
    StoreBe32(&out[offset::kMessageOffset], header.message_offset);
  }
  return DdpHeaderBytes(header);
}

}  // namespace qpip::iwarp
