// UDP header codec (RFC 768, RFC 8200 section 8.1: the checksum is not optional).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::udp {

namespace offset {
inline constexpr size_t kSourcePort = 0;
inline constexpr size_t kDestinationPort = 2;
inline constexpr size_t kLength = 4;
inline constexpr size_t kChecksum = 6;
}  // namespace offset

inline constexpr size_t kHeaderBytes = 8;

enum class ParseError : uint8_t {
  kNone = 0,
  kTooShort,      ///< fewer than 8 bytes
  kBadLength,     ///< length field below 8 or beyond the packet
  kZeroChecksum,  ///< forbidden over IPv6
  kZeroPort,      ///< destination port 0
};
const char* ParseErrorName(ParseError error);

struct Header {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint16_t length = 0;  ///< header and payload
  uint16_t checksum = 0;
};

/// Parses. `upper_layer_length` is what IPv6 says; `checksum_expected` false on a trusted wire,
/// where a zero checksum means "not filled in".
ParseError Parse(std::span<const uint8_t> bytes, uint32_t upper_layer_length,
                 bool checksum_expected, Header* header);

/// Writes the 8-byte header as given.
void Emit(const Header& header, std::span<uint8_t, kHeaderBytes> out);

/// The value for the checksum field: the inverted sum, with 0 sent as 0xffff.
constexpr uint16_t FinishChecksum(uint16_t sum) {
  const uint16_t inverted = static_cast<uint16_t>(~sum);
  return inverted == 0 ? uint16_t{0xffff} : inverted;
}

}  // namespace qpip::udp
