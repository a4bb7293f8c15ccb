// The MPA connection set-up of both roles, with RFC 6581's negotiation (RFC 5044 section 7.1, RFC
// 6581 sections 5 and 9).
//
//     initiator                                       responder
//     BeginInitiator ── Request ────────────────────> OnStartupBytes: kRequest
//                                                     the application decides, in its own time
//     OnStartupBytes: kAccepted <───────── Reply ──── Accept
//                     kRejected <───────── Reply ──── Reject
//     RTR, if agreed on; OnReadySent
//     first FPDU ───────────────────────────────────> OnFirstFpdu: only now may it send any
//
// The caller keeps the bytes that have come until the machine says that it has a frame, so nothing
// of the private data is copied here. One deadline covers all of it (7.1.2 rules 8 and 10). Where
// it ends badly the TCP connection is closed; where it is rejected it may be used for other things.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/iwarp/startup_frame.h"
#include "protocols/iwarp/terminate.h"

namespace qpip::iwarp {

enum class StartupState : uint8_t {
  kIdle = 0,
  kAwaitReply,      ///< initiator: the Request is out
  kSendReady,       ///< initiator: accepted; the RTR goes before all else
  kAwaitRequest,    ///< responder
  kDeciding,        ///< responder: a Request is here, the application has not answered
  kAwaitFirstFpdu,  ///< responder: the Reply is out
  kOperational,     ///< Full Operation, both ways
  kRejected,
  kFailed,  ///< see Startup::error, timed_out and cause
};
const char* StartupStateName(StartupState state);

/// What an end wants, and has.
struct StartupOptions {
  bool enhanced = true;       ///< initiator: negotiate depths, and the RTR (revision 2)
  bool markers = false;       ///< have the peer put markers into what it sends
  bool crc = true;            ///< off only at both ends together (RFC 5044 4.4)
  uint16_t ird = 1;           ///< requests of the peer this end would like to take at once
  uint16_t most_ird = 128;    ///< ... and could, if the peer wants it
  uint16_t ord = 1;           ///< requests this end would like to have under way
  uint16_t least_ord = 0;     ///< responder: below it the connection is rejected
  bool peer_to_peer = false;  ///< initiator: the responder may send first
  uint8_t ready = kReadyByWrite | kReadyByRead;  ///< RTRs that this end can make, or take
  uint32_t timeout_ms = 10000;                   ///< for all of the set-up; 0: none
};

/// What was agreed on. Valid from kSendReady, kAwaitFirstFpdu and kOperational on.
struct StartupAgreement {
  bool crc = true;
  bool send_markers = false;
  bool receive_markers = false;
  bool enhanced = false;
  uint8_t revision = kRevision1;
  uint16_t ird = 0;
  uint16_t ord = 0;
  bool peer_to_peer = false;
  uint8_t ready = 0;  ///< initiator: the one RTR to make, of ReadyToReceive
  EnhancedData peer;  ///< as the peer said it, for the application (RFC 6581 9.1)
};

struct Startup {
  StartupState state = StartupState::kIdle;
  StartupError error = StartupError::kNone;  ///< kFailed: of the peer's frame
  bool timed_out = false;                    ///< kFailed
  Cause cause = Cause::kNone;  ///< kFailed: a Terminate says so to the peer, before TCP is closed
  bool peer_crc = false;       ///< of the peer's frame
  bool peer_markers = false;
  uint64_t deadline_ns = 0;  ///< 0: none
  StartupOptions options;
  StartupAgreement agreement;
};

struct StartupEvent {
  enum class Kind : uint8_t {
    kNone = 0,  ///< the frame is not all here: come again with `needed` bytes
    kRequest,   ///< answer it with Accept or Reject
    kAccepted,
    kRejected,
    kFailed,
  };
  Kind kind = Kind::kNone;
  size_t needed = 0;
  StartupFrame frame;  ///< kRequest, kAccepted, kRejected: it points into the bytes given
};

/// Starts as initiator at `now_ns`. Returns the Request to send.
StartupFrame BeginInitiator(Startup& startup, const StartupOptions& options,
                            std::span<const uint8_t> private_data, uint64_t now_ns);
/// Starts as responder.
void BeginResponder(Startup& startup, const StartupOptions& options, uint64_t now_ns);

/// `bytes` are all that have come since then, in kAwaitReply, kAwaitRequest or kDeciding. In
/// kDeciding nothing more may come: kFailed then.
StartupEvent OnStartupBytes(Startup& startup, std::span<const uint8_t> bytes);

/// kDeciding: the Reply to send. It rejects when the peer takes fewer requests than `options`
/// insist on; the state says so.
StartupFrame Accept(Startup& startup, const StartupOptions& options,
                    std::span<const uint8_t> private_data);
StartupFrame Reject(Startup& startup, std::span<const uint8_t> private_data);

/// kSendReady: the RTR has gone out.
void OnReadySent(Startup& startup);
/// kAwaitFirstFpdu: one has come, and was good.
void OnFirstFpdu(Startup& startup);

/// When OnStartupTimer has something to do; 0: never.
inline uint64_t StartupDeadline(const Startup& startup) { return startup.deadline_ns; }
/// True when the set-up has failed with this.
bool OnStartupTimer(Startup& startup, uint64_t now_ns);

/// Whether FPDUs may be sent. In kSendReady: the RTR, and nothing else.
inline bool MaySendFpdus(const Startup& startup) {
  return startup.state == StartupState::kOperational;
}

}  // namespace qpip::iwarp
