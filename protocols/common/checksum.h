// The Internet checksum (RFC 1071), as sums that can be combined.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/common/ipv6_address.h"

namespace qpip {

/// One's complement sum of `bytes` taken as big-endian 16-bit words (an odd last byte is padded
/// with zero), folded to 16 bits, not inverted, plus `initial`.
uint16_t ChecksumAdd(std::span<const uint8_t> bytes, uint32_t initial = 0);

/// One's complement addition of two folded sums.
constexpr uint16_t ChecksumCombine(uint16_t a, uint16_t b) {
  const uint32_t sum = static_cast<uint32_t>(a) + b;
  return static_cast<uint16_t>((sum & 0xffffu) + (sum >> 16));
}

/// The sum of the second part of a byte sequence whose first part has an odd length is swapped.
constexpr uint16_t ChecksumAtOffset(uint16_t sum, size_t offset) {
  return (offset & 1) != 0 ? static_cast<uint16_t>((sum << 8) | (sum >> 8)) : sum;
}

/// a - b in one's complement: the sum of what remains when `b` is taken out of `a`.
constexpr uint16_t ChecksumSubtract(uint16_t a, uint16_t b) {
  return ChecksumCombine(a, static_cast<uint16_t>(~b));
}

/// Sum of the IPv6 pseudo-header (RFC 8200 section 8.1).
uint16_t PseudoHeaderSum(const ipv6::Address& source, const ipv6::Address& destination,
                         uint32_t upper_layer_length, uint8_t next_header);

}  // namespace qpip
