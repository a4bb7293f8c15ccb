#include "protocols/ipv6/extension.h"

#include "protocols/common/byte_order.h"
#include "protocols/icmpv6/message.h"
#include "protocols/icmpv6/neighbour.h"

namespace qpip::ipv6 {
namespace {

// Extension headers (RFC 8200 sections 4.3 to 4.6): next header, then length or reserved.
constexpr size_t kExtensionUnit = 8;    // bytes; also the least an extension header has
constexpr size_t kExtensionLength = 1;  // in units, not counting the first
constexpr size_t kRoutingType = 2;
constexpr size_t kSegmentsLeft = 3;
constexpr size_t kFragmentOffset = 2;  // 13 bits of offset, 2 reserved, 1 "more fragments"
constexpr size_t kIdentification = 4;
constexpr uint16_t kOffsetBits = 0xfff8;  // with the reserved bits off, the offset in bytes
constexpr uint16_t kMoreBit = 1;

// Options (section 4.2): type, length of data, data. Pad1 has a type only.
constexpr uint8_t kPad1 = 0;
constexpr uint8_t kPadN = 1;

// ICMPv6 types: errors are below, and a redirect is as good as one.
constexpr uint8_t kFirstInformational = 128;

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

/// An option at `at` that is not padding. None is known, so each gets what its type asks for
/// (router alert, for one: skip). Jumbo payload asks to be reported.
ParseError CheckOption(uint8_t type, size_t at, const Header& header, UpperLayer* upper) {
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
      return RefuseAndReport(ParseError::kUnknownOption, at, icmpv6::kUnknownOption, upper);
  }
  return ParseError::kNone;
}

/// The options in [start, end) of `bytes`.
ParseError CheckOptions(std::span<const uint8_t> bytes, size_t start, size_t end,
                        const Header& header, UpperLayer* upper) {
  size_t at = start;
  for (uint32_t seen = 0; at < end; ++seen) {
    if (seen == kMaxOptions) return Refuse(ParseError::kChainTooLong, at, upper);
    const uint8_t type = bytes[at];
    if (type == kPad1) {
      ++at;
      continue;
    }
    if (end - at < 2) {  // no room for the length: the header's own is wrong
      return RefuseAndReport(ParseError::kBadExtension, at, icmpv6::kErroneousField, upper);
    }
    if (end - at - 2 < bytes[at + 1]) {
      return RefuseAndReport(ParseError::kBadExtension, at + 1, icmpv6::kErroneousField, upper);
    }
    if (type != kPadN) {
      const ParseError error = CheckOption(type, at, header, upper);
      if (error != ParseError::kNone) return error;
    }
    at += size_t{2} + bytes[at + 1];
  }
  return ParseError::kNone;
}

/// The walk's place in a packet.
struct Walk {
  size_t readable_end;  ///< of what the core can read of the packet
  size_t packet_end;
  uint8_t protocol;
  size_t protocol_at;  ///< where `protocol` was read
  size_t at = kHeaderBytes;
};

/// A Fragment header at `walk.at`, which is known to be there.
ParseError CheckFragment(std::span<const uint8_t> bytes, const Walk& walk, UpperLayer* upper) {
  const uint16_t field = LoadBe16(&bytes[walk.at + kFragmentOffset]);
  upper->fragment_header = true;
  FragmentInfo& fragment = upper->fragment;
  fragment.offset = field & kOffsetBits;
  fragment.more = (field & kMoreBit) != 0;
  // An atomic fragment is a whole packet and processed as such (RFC 6946 section 4).
  if (fragment.offset == 0 && !fragment.more) return ParseError::kNone;
  fragment.identification = LoadBe32(&bytes[walk.at + kIdentification]);
  fragment.header_at = static_cast<uint32_t>(walk.at);
  fragment.next_header = bytes[walk.at];
  upper->protocol = kFragment;
  upper->next_header_at = static_cast<uint32_t>(walk.protocol_at);
  upper->offset = static_cast<uint32_t>(walk.at + kExtensionUnit);
  upper->length = static_cast<uint32_t>(walk.packet_end - walk.at - kExtensionUnit);
  return ParseError::kFragmented;
}

/// The extension header at `walk.at`, of which the first unit is known to be there. `*size` is its
/// length, known to be there as well when the answer is kNone.
ParseError CheckExtension(std::span<const uint8_t> bytes, const Walk& walk, const Header& header,
                          UpperLayer* upper, size_t* size) {
  if (walk.protocol == kFragment) {
    *size = kExtensionUnit;  // it has no length field
    return CheckFragment(bytes, walk, upper);
  }
  *size = (size_t{bytes[walk.at + kExtensionLength]} + 1) * kExtensionUnit;
  const size_t end = walk.at + *size;
  if (end > walk.packet_end) {
    return RefuseAndReport(ParseError::kBadExtension, walk.at + kExtensionLength,
                           icmpv6::kErroneousField, upper);
  }
  if (end > walk.readable_end || end > kHeaderBytes + kMaxExtensionBytes) {
    return Refuse(ParseError::kChainTooLong, walk.at, upper);
  }
  if (walk.protocol == kRouting) {
    // Section 4.4: no type is known here. With no segments left it is of no concern, otherwise the
    // type is pointed at. That includes type 0 (RFC 5095 section 3).
    return bytes[walk.at + kSegmentsLeft] == 0
               ? ParseError::kNone
               : RefuseAndReport(ParseError::kRoutingHeader, walk.at + kRoutingType,
                                 icmpv6::kErroneousField, upper);
  }
  return CheckOptions(bytes, walk.at + 2, end, header, upper);
}

constexpr bool IsWalked(uint8_t protocol) {
  return protocol == kHopByHop || protocol == kDestinationOptions || protocol == kRouting ||
         protocol == kFragment;
}

Walk StartWalk(std::span<const uint8_t> bytes, const Header& header) {
  const size_t packet_end = kHeaderBytes + header.payload_length;
  const size_t readable_end = packet_end < bytes.size() ? packet_end : bytes.size();
  return {readable_end, packet_end, header.next_header, offset::kNextHeader};
}

}  // namespace

ParseError FindUpperLayer(std::span<const uint8_t> bytes, const Header& header, UpperLayer* upper) {
  *upper = UpperLayer{};
  Walk walk = StartWalk(bytes, header);
  for (uint32_t seen = 0; IsWalked(walk.protocol); ++seen) {
    // Section 4.1: only behind the IPv6 header.
    if (walk.protocol == kHopByHop && walk.at != kHeaderBytes) {
      return RefuseAndReport(ParseError::kBadExtension, walk.protocol_at,
                             icmpv6::kUnknownNextHeader, upper);
    }
    if (seen == kMaxExtensionHeaders) return Refuse(ParseError::kChainTooLong, walk.at, upper);
    if (walk.packet_end < walk.at + kExtensionUnit) {
      // What names a header that does not fit is what is wrong.
      return RefuseAndReport(ParseError::kBadExtension, walk.protocol_at, icmpv6::kErroneousField,
                             upper);
    }
    if (walk.readable_end < walk.at + kExtensionUnit) {
      return Refuse(ParseError::kChainTooLong, walk.at, upper);
    }
    size_t size = 0;
    const ParseError error = CheckExtension(bytes, walk, header, upper, &size);
    if (error != ParseError::kNone) return error;
    walk.protocol = bytes[walk.at];
    walk.protocol_at = walk.at;
    walk.at += size;
  }
  upper->protocol = walk.protocol;
  upper->next_header_at = static_cast<uint32_t>(walk.protocol_at);
  upper->offset = static_cast<uint32_t>(walk.at);
  upper->length = static_cast<uint32_t>(walk.packet_end - walk.at);
  return ParseError::kNone;
}

namespace {

/// Follows the chain by its lengths alone, to its end or as far as it can be read. `*later`: it is
/// another than the first fragment, so that what follows is no header.
Walk FollowChain(std::span<const uint8_t> bytes, const Header& header, bool* later) {
  Walk walk = StartWalk(bytes, header);
  *later = false;
  for (uint32_t seen = 0; IsWalked(walk.protocol) && seen <= kMaxExtensionHeaders; ++seen) {
    if (walk.readable_end < walk.at + kExtensionUnit) break;
    const bool fragment = walk.protocol == kFragment;
    *later = fragment && (LoadBe16(&bytes[walk.at + kFragmentOffset]) & kOffsetBits) != 0;
    const size_t units = fragment ? 1 : size_t{bytes[walk.at + kExtensionLength]} + 1;
    walk.protocol = bytes[walk.at];
    walk.at += units * kExtensionUnit;
    if (*later) break;
  }
  return walk;
}

/// Bytes of the header that an upper layer begins with, at least.
constexpr size_t UpperHeaderBytes(uint8_t protocol) {
  switch (protocol) {
    case kTcp:
      return 20;
    case kUdp:
    case kIcmpv6:
      return 8;
    default:
      return IsWalked(protocol) ? kExtensionUnit : 0;
  }
}

}  // namespace

bool CarriesIcmpError(std::span<const uint8_t> bytes, const Header& header) {
  bool later = false;
  const Walk walk = FollowChain(bytes, header, &later);
  if (walk.protocol != kIcmpv6) return false;
  // The message's header is in the first fragment only; of the others it is not known.
  if (later) return true;
  if (walk.at >= walk.readable_end) return true;
  return bytes[walk.at] < kFirstInformational || bytes[walk.at] == icmpv6::kRedirect;
}

bool HasWholeHeaderChain(std::span<const uint8_t> bytes, const Header& header) {
  bool later = false;
  const Walk walk = FollowChain(bytes, header, &later);
  return walk.at + UpperHeaderBytes(walk.protocol) <= walk.packet_end;
}

}  // namespace qpip::ipv6
