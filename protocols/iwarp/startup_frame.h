// MPA Request and Reply frames: what opens a connection before its first FPDU (RFC 5044 section
// 7.1.1, RFC 6581 sections 6 and 9).
//
//     | key 16 | M C R S 0000 | revision 8 | length 16 | private data, at most 512 bytes |
//                                                       | A B | IRD 14 | C D | ORD 14 | ...   if S
//
// Parse looks at the first bytes of what it is given, never keeps a pointer but into that, and
// refuses with a named reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::iwarp {

inline constexpr size_t kStartupHeaderBytes = 20;
inline constexpr size_t kEnhancedBytes = 4;
inline constexpr size_t kMaxPrivateBytes = 512;  ///< of the field, the enhanced data included
inline constexpr size_t kMaxStartupBytes = kStartupHeaderBytes + kMaxPrivateBytes;

inline constexpr uint8_t kRevision1 = 1;  ///< RFC 5044
inline constexpr uint8_t kRevision2 = 2;  ///< RFC 6581

/// IRD or ORD that is not negotiated: it is the application's matter (RFC 6581 section 9.1).
inline constexpr uint16_t kNotNegotiated = 0x3fff;
inline constexpr uint16_t kMaxDepth = 0x3ffe;

/// What an initiator may say that it is ready with (RFC 6581 section 9.2).
enum ReadyToReceive : uint8_t {
  kReadyBySend = 1u << 0,   ///< B: an empty Send
  kReadyByWrite = 1u << 1,  ///< C: an empty RDMA Write
  kReadyByRead = 1u << 2,   ///< D: an empty RDMA Read
};

/// Why a frame was refused.
enum class StartupError : uint8_t {
  kNone = 0,
  kTooShort,        ///< fewer bytes than the frame has: on a stream, read on
  kBadKey,          ///< no MPA frame
  kSameRole,        ///< a Request where a Reply is due, or the other way round (7.1.2 rule 8)
  kBadRevision,     ///< neither 1 nor 2
  kTooLong,         ///< more than 512 bytes of private data
  kTooFewEnhanced,  ///< the enhanced data are said to be there, and are not
  kTrailing,        ///< bytes behind the frame, where none may come before the other end's
  kNotEnhanced,     ///< an accepting Reply without enhanced data, to a Request with them
  kNotPeerToPeer,   ///< a Reply for another connection model than was asked for
};
const char* StartupErrorName(StartupError error);

/// RFC 6581's part of the private data.
struct EnhancedData {
  uint16_t ird = 0;           ///< 0 to 0x3fff
  uint16_t ord = 0;           ///< 0 to 0x3fff
  bool peer_to_peer = false;  ///< A
  uint8_t ready = 0;          ///< B, C, D: ReadyToReceive; 0 unless peer_to_peer
  bool operator==(const EnhancedData&) const = default;
};

struct StartupFrame {
  bool reply = false;
  bool markers = false;   ///< M: the FPDUs that this end receives are to have markers
  bool crc = false;       ///< C: this end wants CRCs
  bool reject = false;    ///< R: of a Reply; not looked at in a Request
  bool enhanced = false;  ///< S: `depths` is there
  uint8_t revision = kRevision1;
  EnhancedData depths;
  std::span<const uint8_t> private_data;  ///< the application's, behind the enhanced data
};

/// Parses the frame at the start of `bytes`, of the kind that `reply` says. `*frame_bytes` receives
/// its length; with kTooShort, how many bytes are to be there before it is tried again. Reserved
/// bits are not looked at; S counts from revision 2 on.
StartupError ParseStartup(std::span<const uint8_t> bytes, bool reply, StartupFrame* frame,
                          size_t* frame_bytes);
size_t StartupBytes(const StartupFrame& frame);
/// Writes StartupBytes(frame) bytes and returns that number; `out` must hold them.
size_t EmitStartup(const StartupFrame& frame, std::span<uint8_t> out);

}  // namespace qpip::iwarp
