// The FPDU receiver: finds FPDUs in a stream that comes in pieces of any size, checks markers and
// CRC, and hands on what the upper layer's units are made of (RFC 5044 sections 4 and 6).
//
//     bytes, as they come ──> StepFpdu ──> kText   some bytes of the ULPDU, and their place in it
//                                          kEnd    the FPDU is whole, and good
//                                          kHold   its CRC counts, and it is not all here: keep
//                                                  the bytes, come again with more behind them
//                                          kBad    the stream is over (section 8)
//
// With a CRC nothing of an FPDU is handed on before all of it has been here, at once, and was good.
// Without one text is handed on as it comes; it may be placed, but counts only with kEnd.
//
// Whoever does not look at the bytes himself, since an engine moves and sums them, walks the parts:
// NextPart, then TakePart or TakeSummed. StepFpdu is made of these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/iwarp/fpdu.h"

namespace qpip::iwarp {

/// Why a stream cannot be read on.
enum class FpduError : uint8_t {
  kNone = 0,
  kTooLong,    ///< an ULPDU of more than the most that is taken
  kBadMarker,  ///< a marker that does not point to where its FPDU starts
  kBadCrc,
};
const char* FpduErrorName(FpduError error);

/// One direction of a connection.
struct FpduReceiver {
  bool markers = false;                ///< the peer puts them in
  bool check_crc = true;               ///< CRCs were agreed on
  uint16_t most = kMaxMulpdu;          ///< longest ULPDU that is taken, bytes
  FpduError error = FpduError::kNone;  ///< once set nothing more is taken

  Fpdu fpdu;        ///< at hand; its length once it is known
  uint32_t at = 0;  ///< bytes of it that were taken
  bool length_known = false;
  bool checked = false;      ///< all of it has been looked at: its CRC is good
  uint32_t crc = 0;          ///< of the bytes taken
  uint8_t gathered[4] = {};  ///< of a length field, marker or CRC that comes in parts
};

/// A receiver of a direction, before its first FPDU.
FpduReceiver MakeFpduReceiver(bool markers, bool check_crc);

/// What the next bytes are, and how many of them at most.
PartAt NextPart(const FpduReceiver& receiver);

/// Takes `bytes`, not more than the part has. Answers what is wrong with them.
FpduError TakePart(FpduReceiver& receiver, const PartAt& part, std::span<const uint8_t> bytes);
/// Takes `length` bytes of the ULPDU or the pad, with which the CRC becomes `crc`.
void TakeSummed(FpduReceiver& receiver, uint32_t length, uint32_t crc);

/// Whether the byte taken last was the last of an FPDU, or there was none yet.
inline bool BetweenFpdus(const FpduReceiver& receiver) { return receiver.at == 0; }

struct FpduStep {
  enum class Kind : uint8_t { kNothing = 0, kText = 1, kEnd = 2, kHold = 3, kBad = 4 };
  Kind kind = Kind::kNothing;  ///< kNothing: all bytes were taken, none is to be handed on
  size_t consumed = 0;         ///< bytes that were taken; those behind them are for the next step
  std::span<const uint8_t> text;  ///< kText: among those taken
  uint32_t offset = 0;            ///< kText: of its first byte in the ULPDU
  uint32_t ulpdu_length = 0;      ///< kText, kEnd
  size_t needed = 0;              ///< kHold: come again with at least so many bytes
};

/// The next step over `bytes`, which follow those that were taken. With kHold none is taken.
FpduStep StepFpdu(FpduReceiver& receiver, std::span<const uint8_t> bytes);

}  // namespace qpip::iwarp
