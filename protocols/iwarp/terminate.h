// Terminate: why an RDMAP stream ends, told to the peer (RFC 5040 section 4.8, RFC 5041 section
// 7.2, RFC 5044 section 8, RFC 6581 section 8).
//
//     | layer 4 | type 4 | code 8 | M D R | 0 13 | length 16? | DDP header? | RDMAP header? |
//
// M: the length of the refused DDP segment is there; D: its header; R: the Read Request behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/iwarp/ddp.h"
#include "protocols/iwarp/rdmap.h"

namespace qpip::iwarp {

/// Layers.
inline constexpr uint8_t kLayerRdmap = 0;
inline constexpr uint8_t kLayerDdp = 1;
inline constexpr uint8_t kLayerMpa = 2;

/// All that the RFCs name. X(enumerator, layer, type, code, "name")
#define QPIP_TERMINATE_CAUSES(X)                                           \
  X(kRdmapCatastrophic, 0, 0, 0x00, "rdmap_catastrophic")                  \
  X(kInvalidStag, 0, 1, 0x00, "invalid_stag")                              \
  X(kBoundsViolation, 0, 1, 0x01, "bounds_violation")                      \
  X(kAccessViolation, 0, 1, 0x02, "access_violation")                      \
  X(kStagNotAssociated, 0, 1, 0x03, "stag_not_associated")                 \
  X(kOffsetWrap, 0, 1, 0x04, "offset_wrap")                                \
  X(kCannotInvalidate, 0, 1, 0x09, "cannot_invalidate")                    \
  X(kProtectionUnspecified, 0, 1, 0xff, "protection_unspecified")          \
  X(kInvalidRdmapVersion, 0, 2, 0x05, "invalid_rdmap_version")             \
  X(kUnexpectedOpcode, 0, 2, 0x06, "unexpected_opcode")                    \
  X(kStreamCatastrophic, 0, 2, 0x07, "stream_catastrophic")                \
  X(kGlobalCatastrophic, 0, 2, 0x08, "global_catastrophic")                \
  X(kOperationCannotInvalidate, 0, 2, 0x09, "operation_cannot_invalidate") \
  X(kOperationUnspecified, 0, 2, 0xff, "operation_unspecified")            \
  X(kDdpCatastrophic, 1, 0, 0x00, "ddp_catastrophic")                      \
  X(kTaggedInvalidStag, 1, 1, 0x00, "tagged_invalid_stag")                 \
  X(kTaggedBounds, 1, 1, 0x01, "tagged_bounds")                            \
  X(kTaggedNotAssociated, 1, 1, 0x02, "tagged_not_associated")             \
  X(kTaggedWrap, 1, 1, 0x03, "tagged_wrap")                                \
  X(kTaggedVersion, 1, 1, 0x04, "tagged_version")                          \
  X(kInvalidQueue, 1, 2, 0x01, "invalid_queue")                            \
  X(kNoBuffer, 1, 2, 0x02, "no_buffer")                                    \
  X(kInvalidMessageSequence, 1, 2, 0x03, "invalid_message_sequence")       \
  X(kInvalidMessageOffset, 1, 2, 0x04, "invalid_message_offset")           \
  X(kMessageTooLong, 1, 2, 0x05, "message_too_long")                       \
  X(kUntaggedVersion, 1, 2, 0x06, "untagged_version")                      \
  X(kConnectionLost, 2, 0, 0x01, "connection_lost")                        \
  X(kBadCrc, 2, 0, 0x02, "bad_crc")                                        \
  X(kBadMarker, 2, 0, 0x03, "bad_marker")                                  \
  X(kBadStartupFrame, 2, 0, 0x04, "bad_startup_frame")                     \
  X(kMpaCatastrophic, 2, 0, 0x05, "mpa_catastrophic")                      \
  X(kInsufficientIrd, 2, 0, 0x06, "insufficient_ird")                      \
  X(kNoMatchingRtr, 2, 0, 0x07, "no_matching_rtr")

#define QPIP_TERMINATE_ENUMERATOR(name, layer, type, code, text) name,
/// kNone: nothing is wrong. kUnknown: what a peer says that is on no list.
enum class Cause : uint8_t { kNone, QPIP_TERMINATE_CAUSES(QPIP_TERMINATE_ENUMERATOR) kUnknown };
#undef QPIP_TERMINATE_ENUMERATOR

/// "none", "invalid_stag", ... Static.
const char* CauseName(Cause cause);

/// The three numbers.
struct CauseCode {
  uint8_t layer = 0;  ///< 4 bits
  uint8_t type = 0;   ///< 4 bits
  uint8_t code = 0;
  bool operator==(const CauseCode&) const = default;
};
/// kNone and kUnknown: RDMAP's catastrophic error, which has no code.
CauseCode CodeOf(Cause cause);
/// kUnknown where the list has no such numbers. RDMAP's catastrophic error may have any code.
Cause CauseOf(const CauseCode& code);
/// ... or what they would mean with layer and type exchanged, as Linux's siw has sent them.
Cause GuessCause(const CauseCode& code);

inline constexpr size_t kTerminateControlBytes = 4;
inline constexpr size_t kMaxTerminateBytes =
    kTerminateControlBytes + 2 + kUntaggedBytes + kReadRequestBytes;

/// Why a Terminate was refused.
enum class TerminateError : uint8_t {
  kNone = 0,
  kTooShort,          ///< fewer bytes than its own flags announce
  kHeaderWithoutDdp,  ///< an RDMAP header, but no DDP header in front of it
  kNotReadRequest,    ///< an RDMAP header behind the DDP header of a tagged segment
};
const char* TerminateErrorName(TerminateError error);

/// A Terminate message's own bytes, behind its DDP header.
struct Terminate {
  CauseCode code;
  bool has_length = false;   ///< M: `segment_length` counts (it is there with D too)
  bool has_ddp = false;      ///< D
  bool has_request = false;  ///< R
  uint16_t segment_length = 0;
  DdpHeader ddp;        ///< of the refused segment
  ReadRequest request;  ///< behind it
  bool operator==(const Terminate&) const = default;
};
/// Reserved bits are not looked at.
TerminateError ParseTerminate(std::span<const uint8_t> bytes, Terminate* terminate);
size_t TerminateBytes(const Terminate& terminate);
/// Writes TerminateBytes(terminate) bytes and returns that number; `out` must hold them.
size_t EmitTerminate(const Terminate& terminate, std::span<uint8_t> out);

/// What `cause` quotes of the segment that it refuses (RFC 5040 figure 10): `ddp` and, of a Read
/// Request, `request`; nullptr: there is none.
Terminate MakeTerminate(Cause cause, const DdpHeader* ddp, uint16_t segment_length,
                        const ReadRequest* request);

}  // namespace qpip::iwarp
