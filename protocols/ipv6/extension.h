// The walk over IPv6 extension headers (RFC 8200 section 4).
//
// What a stranger can make a node do here is bounded: so many headers, options and bytes of them
// are looked at, as RFC 8504 section 5.3 allows; a packet with more is dropped.
#pragma once

#include <cstdint>
#include <span>

#include "protocols/ipv6/header.h"

namespace qpip::ipv6 {

inline constexpr uint32_t kMaxExtensionHeaders = 8;
inline constexpr uint32_t kMaxExtensionBytes = 512;
inline constexpr uint32_t kMaxOptions = 16;  ///< in one header, padding included

/// A Fragment header (RFC 8200 section 4.5) that does not stand for a whole packet.
struct FragmentInfo {
  uint32_t identification = 0;
  uint32_t offset = 0;     ///< bytes, a multiple of 8
  uint32_t header_at = 0;  ///< where the Fragment header stands
  uint8_t next_header = 0;
  bool more = false;  ///< further fragments follow
};

/// Where the upper layer starts.
struct UpperLayer {
  uint8_t protocol = 0;         ///< next header value behind all extension headers
  uint32_t offset = 0;          ///< bytes from the start of the IPv6 header
  uint32_t length = 0;          ///< bytes of the upper-layer packet
  uint32_t next_header_at = 0;  ///< where the byte that names `protocol` stands
  /// For errors: where the byte that was refused stands, and whether an ICMPv6 parameter problem
  /// (code in `icmp_code`) is the answer rather than silence.
  uint32_t pointer = 0;
  bool send_parameter_problem = false;
  uint8_t icmp_code = 0;
  bool fragment_header = false;  ///< there is one, be it an atomic fragment's
  /// kFragmented: `offset` and `length` are of the bytes behind the Fragment header, and
  /// `next_header_at` is that of the byte that says there is one.
  FragmentInfo fragment;
};

/// Walks hop-by-hop, destination options, routing (no segments left) and atomic fragment headers.
/// Answers kFragmented at the first Fragment header that is not an atomic fragment's.
ParseError FindUpperLayer(std::span<const uint8_t> bytes, const Header& header, UpperLayer* upper);

/// Whether a packet, be it one that FindUpperLayer refused, carries an ICMPv6 error message or
/// redirect, or may do so for all that can be told: it is never answered by an error (RFC 4443
/// section 2.4(e)).
bool CarriesIcmpError(std::span<const uint8_t> bytes, const Header& header);

/// Whether a first fragment holds all headers up to the upper layer's, that included, as RFC 8200
/// section 4.5 and RFC 7112 demand. What the core cannot read is not held against it.
bool HasWholeHeaderChain(std::span<const uint8_t> bytes, const Header& header);

}  // namespace qpip::ipv6
