// FPDUs: how an upper layer's unit (ULPDU) lies in the stream of an MPA connection (RFC 5044
// section 4).
//
//     start
//     | marker? | length 2 | ULPDU ... | pad 0-3 | CRC 4 |       all but markers: a multiple of 4
//                     | marker |                              wherever the offset is one of 512
//
// Places in a stream are counted from the first byte of Full Operation in that direction, modulo
// 2^32 (of which 512 is a divisor, so markers stay where they are when it wraps). A marker that
// falls between two FPDUs is the first part of the second one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qpip::iwarp {

inline constexpr uint32_t kLengthBytes = 2;  ///< the ULPDU_Length field
inline constexpr uint32_t kMarkerBytes = 4;
inline constexpr uint32_t kMarkerInterval = 512;
/// Least and most that MULPDU may be (RFC 5044 section 3); no sender may exceed the second.
inline constexpr uint32_t kMinMulpdu = 128;
inline constexpr uint32_t kMaxMulpdu = 64768;

/// Where an FPDU lies and how long its ULPDU is: all its layout follows from.
struct Fpdu {
  uint32_t start = 0;         ///< in the stream: behind the previous one; a multiple of 4
  uint32_t ulpdu_length = 0;  ///< bytes, at most 65535
  bool markers = false;       ///< of this direction
};

/// Zero bytes behind the ULPDU, 0 to 3.
constexpr uint32_t PadBytes(uint32_t ulpdu_length) {
  return (0u - (kLengthBytes + ulpdu_length)) & 3u;
}

/// Bytes of an FPDU without its markers.
constexpr uint32_t ContentBytes(uint32_t ulpdu_length) {
  return kLengthBytes + ulpdu_length + PadBytes(ulpdu_length) + 4;
}

/// A stretch of FPDUs that begins at `start`, with markers: how many there are among and before its
/// first `content` bytes that are none, and how many bytes that are none lie before place `at`.
uint64_t MarkersBefore(uint32_t start, uint64_t content);
uint64_t ContentBefore(uint32_t start, uint64_t at);

/// How many markers it has.
uint32_t MarkerCount(const Fpdu& fpdu);
/// Bytes of the stream that it takes, markers included.
uint32_t FpduBytes(const Fpdu& fpdu);

/// The largest ULPDU whose FPDU fits a segment of `emss` bytes wherever markers may fall (RFC 5044
/// section 4.5); never below kMinMulpdu or above kMaxMulpdu.
uint32_t Mulpdu(uint32_t emss, bool markers);

enum class FpduPart : uint8_t {
  kMarker = 0,
  kLength = 1,
  kUlpdu = 2,
  kPad = 3,
  kCrc = 4,
};

/// What lies at a place of an FPDU.
struct PartAt {
  FpduPart part = FpduPart::kLength;
  uint32_t offset = 0;   ///< in the part: of the ULPDU, of this marker, ...
  uint32_t length = 0;   ///< bytes from there to the part's end, or to a marker inside it
  uint32_t pointer = 0;  ///< kMarker: its FPDUPTR
};

/// `at`: bytes from the FPDU's start, below FpduBytes.
PartAt FindPart(const Fpdu& fpdu, uint32_t at);

}  // namespace qpip::iwarp
