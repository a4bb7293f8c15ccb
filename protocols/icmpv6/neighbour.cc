#include "protocols/icmpv6/neighbour.h"

#include <cstring>

#include "protocols/common/byte_order.h"

namespace qpip::icmpv6 {
namespace {

enum Option : uint8_t { kSourceLink = 1, kTargetLink = 2, kPrefix = 3, kMtu = 5 };

constexpr size_t kOptionUnit = 8;
constexpr size_t kPrefixOptionBytes = 32;

constexpr uint8_t kRouterFlag = 0x80;
constexpr uint8_t kSolicitedFlag = 0x40;
constexpr uint8_t kOverrideFlag = 0x20;
constexpr uint8_t kOnLinkFlag = 0x80;
constexpr uint8_t kAutonomousFlag = 0x40;

/// Bytes in front of the options; 0 for other types.
size_t FixedBytes(uint8_t type) {
  switch (type) {
    case kRouterSolicitation:
      return 8;
    case kRouterAdvertisement:
      return 16;
    case kNeighbourSolicitation:
    case kNeighbourAdvertisement:
      return 24;
    default:
      return 0;
  }
}

/// An address of a group is nobody's: what is meant for one host would go to all (RFC 1812 3.3.2
/// has routers not believe it). Returns false when it is one.
bool ReadLink(const uint8_t* option, LinkAddress* link) {
  constexpr uint8_t kGroup = 1;
  if ((option[2] & kGroup) != 0) return false;
  std::memcpy(link->data(), option + 2, link->size());
  return true;
}

void ReadPrefix(const uint8_t* option, NeighbourMessage* message) {
  // A prefix of more than 128 bits says nothing.
  if (option[2] > 128 || message->prefix_count == kMaxPrefixes) return;
  PrefixInformation& prefix = message->prefixes[message->prefix_count++];
  prefix.length = option[2];
  prefix.on_link = (option[3] & kOnLinkFlag) != 0;
  prefix.autonomous = (option[3] & kAutonomousFlag) != 0;
  prefix.valid_lifetime = LoadBe32(option + 4);
  prefix.preferred_lifetime = LoadBe32(option + 8);
  std::memcpy(prefix.prefix.bytes, option + 16, sizeof prefix.prefix.bytes);
}

// RFC 4861 4.6. An option that is shorter than its kind needs is skipped like an unknown one.
NeighbourError ReadOptions(std::span<const uint8_t> rest, NeighbourMessage* message) {
  while (!rest.empty()) {
    if (rest.size() < 2) return NeighbourError::kBadOptionLength;
    const uint8_t* option = rest.data();
    const size_t bytes = option[1] * kOptionUnit;
    if (bytes == 0 || bytes > rest.size()) return NeighbourError::kBadOptionLength;
    switch (option[0]) {
      case kSourceLink:
        if (ReadLink(option, &message->source_link)) message->has_source_link = true;
        break;
      case kTargetLink:
        if (ReadLink(option, &message->target_link)) message->has_target_link = true;
        break;
      case kPrefix:
        if (bytes >= kPrefixOptionBytes) ReadPrefix(option, message);
        break;
      case kMtu:
        message->has_mtu = true;
        message->mtu = LoadBe32(option + 4);
        break;
      default:
        break;
    }
    rest = rest.subspan(bytes);
  }
  return NeighbourError::kNone;
}

bool IsSolicitedNode(const ipv6::Address& address) { return SolicitedNode(address) == address; }

// What RFC 4861 demands of the addresses, each type for itself.
NeighbourError CheckAddresses(const NeighbourEnvelope& envelope, const NeighbourMessage& message) {
  const bool unspecified = envelope.source.IsUnspecified();
  switch (message.type) {
    case kRouterSolicitation:  // 6.1.1
      return unspecified && message.has_source_link ? NeighbourError::kSourceOption
                                                    : NeighbourError::kNone;
    case kRouterAdvertisement:  // 6.1.2
      return IsLinkLocal(envelope.source) ? NeighbourError::kNone : NeighbourError::kBadSource;
    case kNeighbourSolicitation:  // 7.1.1
      if (message.target.IsMulticast()) return NeighbourError::kBadTarget;
      if (!unspecified) return NeighbourError::kNone;
      if (!IsSolicitedNode(envelope.destination)) return NeighbourError::kBadDestination;
      return message.has_source_link ? NeighbourError::kSourceOption : NeighbourError::kNone;
    default:  // 7.1.2
      if (message.target.IsMulticast()) return NeighbourError::kBadTarget;
      return envelope.destination.IsMulticast() && message.solicited
                 ? NeighbourError::kBadDestination
                 : NeighbourError::kNone;
  }
}

}  // namespace

const char* NeighbourErrorName(NeighbourError error) {
  switch (error) {
    case NeighbourError::kNone:
      return "none";
    case NeighbourError::kTooShort:
      return "too_short";
    case NeighbourError::kNotNeighbour:
      return "not_neighbour";
    case NeighbourError::kBadHopLimit:
      return "bad_hop_limit";
    case NeighbourError::kBadCode:
      return "bad_code";
    case NeighbourError::kBadOptionLength:
      return "bad_option_length";
    case NeighbourError::kBadTarget:
      return "bad_target";
    case NeighbourError::kBadSource:
      return "bad_source";
    case NeighbourError::kBadDestination:
      return "bad_destination";
    case NeighbourError::kSourceOption:
      return "source_option";
  }
  return "unknown";
}

NeighbourError ParseNeighbour(std::span<const uint8_t> bytes, const NeighbourEnvelope& envelope,
                              NeighbourMessage* message) {
  *message = NeighbourMessage{};
  if (bytes.size() < 8) return NeighbourError::kTooShort;
  const uint8_t* p = bytes.data();
  const size_t fixed = FixedBytes(p[0]);
  if (fixed == 0) return NeighbourError::kNotNeighbour;
  if (envelope.hop_limit != kNeighbourHopLimit) return NeighbourError::kBadHopLimit;
  if (p[1] != 0) return NeighbourError::kBadCode;
  if (bytes.size() < fixed) return NeighbourError::kTooShort;
  message->type = p[0];
  if (message->type == kRouterAdvertisement) {
    message->hop_limit = p[4];
    message->router_lifetime = LoadBe16(p + 6);
    message->reachable_ms = LoadBe32(p + 8);
    message->retransmit_ms = LoadBe32(p + 12);
  } else if (message->type != kRouterSolicitation) {
    std::memcpy(message->target.bytes, p + 8, sizeof message->target.bytes);
  }
  if (message->type == kNeighbourAdvertisement) {
    message->router = (p[4] & kRouterFlag) != 0;
    message->solicited = (p[4] & kSolicitedFlag) != 0;
    message->override_entry = (p[4] & kOverrideFlag) != 0;
  }
  const NeighbourError error = ReadOptions(bytes.subspan(fixed), message);
  return error != NeighbourError::kNone ? error : CheckAddresses(envelope, *message);
}

size_t EmitNeighbour(const NeighbourMessage& message,
                     std::span<uint8_t, kMaxNeighbourMessage> out) {
  if (message.type == kRouterAdvertisement || FixedBytes(message.type) == 0) return 0;
  uint8_t* p = out.data();
  std::memset(p, 0, out.size());
  p[0] = message.type;
  size_t bytes = FixedBytes(message.type);
  if (message.type != kRouterSolicitation) {
    std::memcpy(p + 8, message.target.bytes, sizeof message.target.bytes);
  }
  if (message.type == kNeighbourAdvertisement) {
    p[4] = static_cast<uint8_t>((message.router ? kRouterFlag : 0) |
                                (message.solicited ? kSolicitedFlag : 0) |
                                (message.override_entry ? kOverrideFlag : 0));
  }
  const bool target = message.type == kNeighbourAdvertisement;
  if (target ? message.has_target_link : message.has_source_link) {
    p[bytes] = target ? kTargetLink : kSourceLink;
    p[bytes + 1] = 1;
    const LinkAddress& link = target ? message.target_link : message.source_link;
    std::memcpy(p + bytes + 2, link.data(), link.size());
    bytes += kOptionUnit;
  }
  return bytes;
}

ipv6::Address SolicitedNode(const ipv6::Address& address) {
  ipv6::Address group{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0}};
  std::memcpy(group.bytes + 13, address.bytes + 13, 3);
  return group;
}

bool PrefixMatches(const ipv6::Address& a, const ipv6::Address& b, uint32_t length) {
  const uint32_t whole = length / 8;
  if (std::memcmp(a.bytes, b.bytes, whole) != 0) return false;
  const uint32_t rest = length % 8;
  if (rest == 0) return true;
  return ((a.bytes[whole] ^ b.bytes[whole]) >> (8 - rest)) == 0;
}

}  // namespace qpip::icmpv6
