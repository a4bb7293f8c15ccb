// TCP header codec (RFC 9293 section 3.1) with the options QPIP speaks: MSS, window scale,
// SACK-permitted and SACK blocks (RFC 2018), timestamps (RFC 7323), user timeout (RFC 5482).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/tcp/sequence_number.h"

namespace qpip::tcp {

namespace offset {  // bytes from the start of the header
inline constexpr size_t kSourcePort = 0;
inline constexpr size_t kDestinationPort = 2;
inline constexpr size_t kSequence = 4;
inline constexpr size_t kAcknowledgement = 8;
inline constexpr size_t kDataOffset = 12;
inline constexpr size_t kFlags = 13;
inline constexpr size_t kWindow = 14;
inline constexpr size_t kChecksum = 16;
inline constexpr size_t kUrgentPointer = 18;
inline constexpr size_t kOptions = 20;
}  // namespace offset

inline constexpr size_t kMinHeaderBytes = 20;
inline constexpr size_t kMaxHeaderBytes = 60;
/// Bytes that the timestamps option costs every segment, with its two NOPs (RFC 7323 appendix A).
inline constexpr uint32_t kTimestampBytes = 12;

enum Flags : uint8_t {
  kFin = 0x01,
  kSyn = 0x02,
  kRst = 0x04,
  kPsh = 0x08,
  kAck = 0x10,
  kUrg = 0x20,
  kEce = 0x40,
  kCwr = 0x80,
};

/// Why a header was refused.
enum class ParseError : uint8_t {
  kNone = 0,
  kTooShort,         ///< fewer bytes than the fixed header
  kBadDataOffset,    ///< data offset below 5 words or beyond the packet
  kBadOptionLength,  ///< an option runs over the header, or has an impossible length
};
const char* ParseErrorName(ParseError error);

/// One SACK block, host byte order.
struct SackBlock {
  SequenceNumber start;
  SequenceNumber end;
};

/// A header as plain values, host byte order.
struct Header {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  SequenceNumber sequence;
  SequenceNumber acknowledgement;
  uint8_t flags = 0;    ///< Flags
  uint16_t window = 0;  ///< as on the wire, not scaled
  uint16_t checksum = 0;
  uint16_t urgent_pointer = 0;
  // Options; each is present only when its flag is set.
  bool has_mss = false;
  bool has_window_scale = false;
  bool has_timestamps = false;
  bool sack_permitted = false;
  uint8_t window_scale = 0;  ///< at most 14 (RFC 7323 2.3)
  uint8_t sack_count = 0;
  bool has_user_timeout = false;
  uint16_t mss = 0;
  uint32_t user_timeout_s = 0;  ///< RFC 5482: up to 32767 minutes
  uint32_t ts_value = 0;
  uint32_t ts_echo = 0;
  std::array<SackBlock, 4> sack = {};

  constexpr bool Has(uint8_t flag) const { return (flags & flag) != 0; }
  /// Sequence space used by SYN and FIN.
  constexpr uint32_t ControlLength() const { return (Has(kSyn) ? 1u : 0u) + (Has(kFin) ? 1u : 0u); }
};

/// Parses the header at the start of `bytes` (which may go on with text, or be cut after the
/// header). `*header_bytes` receives its length with options. Does not look at the checksum.
ParseError Parse(std::span<const uint8_t> bytes, Header* header, size_t* header_bytes);

/// Bytes Emit will write: 20 to 60, a multiple of 4.
size_t EmitSize(const Header& header);

/// Writes the header with a zero checksum field. `out` must hold EmitSize(header) bytes. Returns
/// the bytes written. Option layout is RFC 7323 appendix A's (NOP NOP timestamps).
size_t Emit(const Header& header, std::span<uint8_t> out);

}  // namespace qpip::tcp
