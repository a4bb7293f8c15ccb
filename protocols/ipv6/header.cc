#include "protocols/ipv6/header.h"

#include "protocols/common/byte_order.h"

namespace qpip::ipv6 {

const char* ParseErrorName(ParseError error) {
  switch (error) {
    case ParseError::kNone:
      return "none";
    case ParseError::kTooShort:
      return "too_short";
    case ParseError::kBadVersion:
      return "bad_version";
    case ParseError::kBadPayloadLength:
      return "bad_payload_length";
    case ParseError::kBadSource:
      return "bad_source";
    case ParseError::kBadExtension:
      return "bad_extension";
    case ParseError::kUnknownOption:
      return "unknown_option";
    case ParseError::kRoutingHeader:
      return "routing_header";
    case ParseError::kChainTooLong:
      return "chain_too_long";
    case ParseError::kFragmented:
      return "fragmented";
  }
  return "unknown";
}

ParseError Parse(std::span<const uint8_t> bytes, uint32_t frame_length, Header* header) {
  if (bytes.size() < kHeaderBytes || frame_length < kHeaderBytes) {
    return ParseError::kTooShort;
  }
  const uint8_t* p = bytes.data();
  const uint32_t version_class_flow = LoadBe32(p + offset::kVersionClassFlow);
  if (version_class_flow >> 28 != 6) {
    return ParseError::kBadVersion;
  }
  header->traffic_class = static_cast<uint8_t>(version_class_flow >> 20);
  header->flow_label = version_class_flow & 0xfffffu;
  header->payload_length = LoadBe16(p + offset::kPayloadLength);
  header->next_header = p[offset::kNextHeader];
  header->hop_limit = p[offset::kHopLimit];
  __builtin_memcpy(header->source.bytes, p + offset::kSource, sizeof(Address));
  __builtin_memcpy(header->destination.bytes, p + offset::kDestination, sizeof(Address));
  if (header->payload_length > frame_length - kHeaderBytes) {
    return ParseError::kBadPayloadLength;
  }
  if (header->source.IsMulticast()) {  // RFC 4291 section 2.7
    return ParseError::kBadSource;
  }
  return ParseError::kNone;
}

void Emit(const Header& header, std::span<uint8_t, kHeaderBytes> out) {
  uint8_t* p = out.data();
  StoreBe32(p + offset::kVersionClassFlow, uint32_t{6} << 28 |
                                               static_cast<uint32_t>(header.traffic_class) << 20 |
                                               (header.flow_label & 0xfffffu));
  StoreBe16(p + offset::kPayloadLength, header.payload_length);
  p[offset::kNextHeader] = header.next_header;
  p[offset::kHopLimit] = header.hop_limit;
  __builtin_memcpy(p + offset::kSource, header.source.bytes, sizeof(Address));
  __builtin_memcpy(p + offset::kDestination, header.destination.bytes, sizeof(Address));
}

}  // namespace qpip::ipv6
