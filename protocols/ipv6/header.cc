#include "protocols/ipv6/header.h"

#include "protocols/common/byte_order.h"

namespace qpip::ipv6 {
namespace {

// Extension headers (RFC 8200 sections 4.3 to 4.6): next header, then length or reserved.
constexpr size_t kExtensionUnit = 8;    // bytes; also the least an extension header has
constexpr size_t kExtensionLength = 1;  // in units, not counting the first
constexpr size_t kRoutingType = 2;
constexpr size_t kSegmentsLeft = 3;
constexpr size_t kFragmentOffset = 2;  // 13 bits of offset, 2 reserved, 1 "more fragments"
constexpr uint16_t kFragmentBits = 0xfff9;

// Options (section 4.2): type, length of data, data. Pad1 has a type only.
constexpr uint8_t kPad1 = 0;
constexpr uint8_t kPadN = 1;

// Codes of ICMPv6 parameter problem (RFC 4443 section 3.4).
constexpr uint8_t kCodeErroneousField = 0;
constexpr uint8_t kCodeUnknownNextHeader = 1;
constexpr uint8_t kCodeUnknownOption = 2;

/// What an option's two highest bits ask of a node that does not know it.
enum class OptionAction : uint8_t {
  kSkip = 0,
  kDiscard = 1,
  kDiscardAndReport = 2,
  kDiscardAndReportUnlessMulticast = 3,
};

ParseError Refuse(ParseError error, size_t pointer, UpperLayer* upper) {
  upper->pointer = static_cast<uint32_t>(pointer);
  return error;
}

ParseError RefuseAndReport(ParseError error, size_t pointer, uint8_t code, UpperLayer* upper) {
  upper->send_parameter_problem = true;
  upper->icmp_code = code;
  return Refuse(error, pointer, upper);
}

/// The options in [start, end) of `bytes`. None but padding is known, so every other one gets what
/// its type asks for (router alert, for one: skip). Jumbo payload asks to be reported.
ParseError CheckOptions(std::span<const uint8_t> bytes, size_t start, size_t end,
                        const Header& header, UpperLayer* upper) {
  size_t at = start;
  while (at < end) {
    const uint8_t type = bytes[at];
    if (type == kPad1) {
      ++at;
      continue;
    }
    if (end - at < 2 || end - at - 2 < bytes[at + 1]) {
      return Refuse(ParseError::kBadExtension, at, upper);
    }
    if (type != kPadN) {
      switch (static_cast<OptionAction>(type >> 6)) {
        case OptionAction::kSkip:
          break;
        case OptionAction::kDiscard:
          return Refuse(ParseError::kUnknownOption, at, upper);
        case OptionAction::kDiscardAndReportUnlessMulticast:
          if (header.destination.IsMulticast()) {
            return Refuse(ParseError::kUnknownOption, at, upper);
          }
          [[fallthrough]];
        case OptionAction::kDiscardAndReport:
          return RefuseAndReport(ParseError::kUnknownOption, at, kCodeUnknownOption, upper);
      }
    }
    at += size_t{2} + bytes[at + 1];
  }
  return ParseError::kNone;
}

/// The extension header of type `protocol` at `at`, of which the first unit is known to be there.
/// `*size` is its length, known to be there as well when the answer is kNone.
ParseError CheckExtension(std::span<const uint8_t> bytes, uint8_t protocol, size_t at, size_t end,
                          const Header& header, UpperLayer* upper, size_t* size) {
  if (protocol == kFragment) {
    // An atomic fragment is a whole packet and processed as such (RFC 6946 section 4). The
    // fragment header has no length field.
    *size = kExtensionUnit;
    return (LoadBe16(&bytes[at + kFragmentOffset]) & kFragmentBits) == 0
               ? ParseError::kNone
               : Refuse(ParseError::kFragmented, at, upper);
  }
  *size = (size_t{bytes[at + kExtensionLength]} + 1) * kExtensionUnit;
  if (*size > end - at) {
    return Refuse(ParseError::kBadExtension, at + kExtensionLength, upper);
  }
  if (protocol == kRouting) {
    // Section 4.4: no type is known here. With no segments left it is of no concern, otherwise the
    // type is pointed at. That includes type 0 (RFC 5095 section 3).
    return bytes[at + kSegmentsLeft] == 0
               ? ParseError::kNone
               : RefuseAndReport(ParseError::kRoutingHeader, at + kRoutingType, kCodeErroneousField,
                                 upper);
  }
  return CheckOptions(bytes, at + 2, at + *size, header, upper);
}

constexpr bool IsWalked(uint8_t protocol) {
  return protocol == kHopByHop || protocol == kDestinationOptions || protocol == kRouting ||
         protocol == kFragment;
}

}  // namespace

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

ParseError FindUpperLayer(std::span<const uint8_t> bytes, const Header& header, UpperLayer* upper) {
  *upper = UpperLayer{};
  const size_t packet_end = kHeaderBytes + header.payload_length;
  const size_t readable_end = packet_end < bytes.size() ? packet_end : bytes.size();
  uint8_t protocol = header.next_header;
  size_t protocol_at = offset::kNextHeader;  // where `protocol` was read
  size_t at = kHeaderBytes;
  while (IsWalked(protocol)) {
    if (protocol == kHopByHop && at != kHeaderBytes) {  // section 4.1: only behind the IPv6 header
      return RefuseAndReport(ParseError::kBadExtension, protocol_at, kCodeUnknownNextHeader, upper);
    }
    if (readable_end < at + kExtensionUnit) {
      return Refuse(ParseError::kBadExtension, at, upper);
    }
    size_t size = 0;
    const ParseError error =
        CheckExtension(bytes, protocol, at, readable_end, header, upper, &size);
    if (error != ParseError::kNone) {
      return error;
    }
    protocol = bytes[at];
    protocol_at = at;
    at += size;
  }
  upper->protocol = protocol;
  upper->offset = static_cast<uint32_t>(at);
  upper->length = static_cast<uint32_t>(packet_end - at);
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
