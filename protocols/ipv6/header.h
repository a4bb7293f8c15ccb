// IPv6 header codec (RFC 8200 section 3). Extension headers are in extension.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/common/ipv6_address.h"

namespace qpip::ipv6 {

namespace offset {
inline constexpr size_t kVersionClassFlow = 0;
inline constexpr size_t kPayloadLength = 4;
inline constexpr size_t kNextHeader = 6;
inline constexpr size_t kHopLimit = 7;
inline constexpr size_t kSource = 8;
inline constexpr size_t kDestination = 24;
}  // namespace offset

inline constexpr size_t kHeaderBytes = 40;
inline constexpr uint32_t kMinMtu = 1280;
inline constexpr uint32_t kMaxPayload = 65535;  ///< without jumbograms

enum NextHeader : uint8_t {
  kHopByHop = 0,
  kTcp = 6,
  kUdp = 17,
  kRouting = 43,
  kFragment = 44,
  kEsp = 50,
  kAuthentication = 51,
  kIcmpv6 = 58,
  kNoNextHeader = 59,
  kDestinationOptions = 60,
};

enum class ParseError : uint8_t {
  kNone = 0,
  kTooShort,          ///< fewer than 40 bytes
  kBadVersion,        ///< version is not 6
  kBadPayloadLength,  ///< payload length says more than the frame holds
  kBadSource,         ///< source is multicast
  kBadExtension,      ///< an extension header runs over the packet, or stands where it may not
  kUnknownOption,     ///< an option whose type says "discard" (RFC 8200 4.2)
  kRoutingHeader,     ///< segments left is not zero (RFC 8200 4.4)
  kChainTooLong,      ///< more headers, options or bytes of them than are looked at
  kFragmented,        ///< a fragment of a larger packet: no error, but no upper layer yet
};
const char* ParseErrorName(ParseError error);

struct Header {
  uint8_t traffic_class = 0;
  uint8_t next_header = 0;
  uint8_t hop_limit = 64;
  uint32_t flow_label = 0;  ///< 20 bits
  uint16_t payload_length = 0;
  Address source;
  Address destination;
};

/// Parses the fixed header. `frame_length` is the length of the whole frame, of which `bytes` are
/// readable; trailing bytes behind the payload (link padding) are allowed.
ParseError Parse(std::span<const uint8_t> bytes, uint32_t frame_length, Header* header);

/// Writes the 40-byte header.
void Emit(const Header& header, std::span<uint8_t, kHeaderBytes> out);

}  // namespace qpip::ipv6
