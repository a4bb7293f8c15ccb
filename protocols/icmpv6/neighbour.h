// Neighbour discovery codec (RFC 4861): router and neighbour solicitations and advertisements, on
// links with 48-bit addresses (RFC 2464).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/common/ipv6_address.h"

namespace qpip::icmpv6 {

enum NeighbourType : uint8_t {
  kRouterSolicitation = 133,
  kRouterAdvertisement = 134,
  kNeighbourSolicitation = 135,
  kNeighbourAdvertisement = 136,
  kRedirect = 137,  ///< known by number only
};
constexpr bool IsNeighbourDiscovery(uint8_t type) {
  return type >= kRouterSolicitation && type <= kNeighbourAdvertisement;
}

using LinkAddress = std::array<uint8_t, 6>;

inline constexpr uint8_t kNeighbourHopLimit = 255;  ///< proves that no router passed the message on
inline constexpr size_t kMaxNeighbourMessage = 32;  ///< bytes of the longest that is emitted
inline constexpr uint32_t kMaxPrefixes = 4;         ///< prefix options kept of one advertisement
inline constexpr uint32_t kInfinite = 0xffffffffu;  ///< lifetime without an end

/// Why a message was refused (RFC 4861 6.1.1, 6.1.2, 7.1.1, 7.1.2: silently discarded).
enum class NeighbourError : uint8_t {
  kNone = 0,
  kTooShort,         ///< shorter than the fixed part of its type
  kNotNeighbour,     ///< another type
  kBadHopLimit,      ///< not 255: it came from another link
  kBadCode,          ///< not 0
  kBadOptionLength,  ///< an option of length 0, or one that runs over the end
  kBadTarget,        ///< a multicast target
  kBadSource,        ///< a source that this type may not have
  kBadDestination,   ///< a destination that this type may not have
  kSourceOption,     ///< a source link-layer address of an unspecified source
};
const char* NeighbourErrorName(NeighbourError error);

/// Prefix information option (RFC 4861 4.6.2). Lifetimes in seconds.
struct PrefixInformation {
  ipv6::Address prefix;
  uint8_t length = 0;  ///< bits, at most 128
  bool on_link = false;
  bool autonomous = false;
  uint32_t valid_lifetime = 0;
  uint32_t preferred_lifetime = 0;
};

/// Any of the four messages as plain values; fields that its type does not have are ignored.
struct NeighbourMessage {
  uint8_t type = 0;      ///< NeighbourType
  ipv6::Address target;  ///< neighbour messages

  // Neighbour advertisement.
  bool router = false;
  bool solicited = false;
  bool override_entry = false;

  // Router advertisement.
  uint8_t hop_limit = 0;         ///< 0: unspecified
  uint16_t router_lifetime = 0;  ///< seconds; 0: no default router
  uint32_t reachable_ms = 0;     ///< 0: unspecified
  uint32_t retransmit_ms = 0;    ///< 0: unspecified

  // Options. Of several of one kind the last counts, prefixes beyond kMaxPrefixes are left out.
  bool has_source_link = false;
  bool has_target_link = false;
  bool has_mtu = false;
  LinkAddress source_link = {};
  LinkAddress target_link = {};
  uint32_t mtu = 0;
  uint32_t prefix_count = 0;
  std::array<PrefixInformation, kMaxPrefixes> prefixes = {};
};

/// What the IPv6 header says about a message.
struct NeighbourEnvelope {
  ipv6::Address source;
  ipv6::Address destination;
  uint8_t hop_limit = 0;
};

/// Parses and validates; `bytes` is the whole ICMPv6 message. Unknown options are skipped. The
/// checksum is not looked at.
NeighbourError ParseNeighbour(std::span<const uint8_t> bytes, const NeighbourEnvelope& envelope,
                              NeighbourMessage* message);

/// Writes a solicitation or a neighbour advertisement with its link-layer address option, checksum
/// 0. Returns its length; 0 for a router advertisement, which hosts do not send.
size_t EmitNeighbour(const NeighbourMessage& message, std::span<uint8_t, kMaxNeighbourMessage> out);

/// ff02::1:ffXX:XXXX (RFC 4291 2.7.1).
ipv6::Address SolicitedNode(const ipv6::Address& address);
inline constexpr ipv6::Address kAllNodes{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
inline constexpr ipv6::Address kAllRouters{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
/// fe80::/10.
constexpr bool IsLinkLocal(const ipv6::Address& address) {
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}
/// The Ethernet address of a multicast group (RFC 2464 section 7).
constexpr LinkAddress MulticastLink(const ipv6::Address& group) {
  return {0x33, 0x33, group.bytes[12], group.bytes[13], group.bytes[14], group.bytes[15]};
}
/// Whether the first `length` bits (at most 128) agree.
bool PrefixMatches(const ipv6::Address& a, const ipv6::Address& b, uint32_t length);

}  // namespace qpip::icmpv6
