// A handshake without a Tcb: its SYN-ACK is out, and whoever is there when the ACK comes may go on.
#pragma once

#include <cstdint>

#include "protocols/tcp/header.h"
#include "protocols/tcp/options.h"
#include "protocols/tcp/sequence_number.h"
#include "protocols/tcp/tcb.h"

namespace qpip::tcp {

/// What both ends have said in it.
struct Handshake {
  Header syn;  ///< the peer's, as far as it counts
  SequenceNumber iss;
  uint16_t window = 0;       ///< that our SYN-ACK offered, bytes: as much of it as has to be kept
  uint8_t window_scale = 0;  ///< that it offered
};

/// Window that has to be kept, bytes: whoever takes a handshake over must have it.
inline constexpr uint16_t kHandshakeWindow = 4096;

/// What a segment says of a handshake that its sender may have been answered in.
enum class Proof : uint8_t {
  kNone = 0,   ///< nothing: it fits no such handshake
  kLater = 1,  ///< the SYN-ACK was seen, but what was sent before this segment is missing
  kGood = 2,   ///< the SYN-ACK was seen, and this is the first segment behind it
};

/// What `header` proves of `handshake`.
Proof CheckProof(const Handshake& handshake, const Header& header);

/// What a Tcb in SYN-RECEIVED by a passive open has to leave behind for another one.
Handshake SuspendHandshake(const Tcb& tcb);

/// SYN-RECEIVED, as it was when the SYN-ACK was sent. The peer's ACK goes to OnSegment next. Set
/// Tcb::ts_offset afterwards, as after OpenPassive.
void ResumeHandshake(Tcb& tcb, const Options& options, const Handshake& handshake, uint64_t now);

}  // namespace qpip::tcp
