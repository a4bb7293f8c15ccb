#include "protocols/iwarp/startup.h"

#include "protocols/common/assert.h"

namespace qpip::iwarp {
namespace {

constexpr uint16_t Least(uint16_t a, uint16_t b) { return a < b ? a : b; }
constexpr uint16_t Most(uint16_t a, uint16_t b) { return a > b ? a : b; }

/// The state where nothing more is waited for.
void End(Startup& startup, StartupState state) {
  startup.state = state;
  startup.deadline_ns = 0;
}

StartupEvent Failed(Startup& startup, StartupError error, Cause cause) {
  End(startup, StartupState::kFailed);
  startup.error = error;
  startup.cause = cause;
  StartupEvent event;
  event.kind = StartupEvent::Kind::kFailed;
  return event;
}

void Begin(Startup& startup, const StartupOptions& options, StartupState state, uint64_t now_ns) {
  startup = Startup{};
  startup.state = state;
  startup.options = options;
  startup.deadline_ns =
      options.timeout_ms == 0 ? 0 : now_ns + uint64_t{options.timeout_ms} * 1000000;
}

/// Of the RTRs in `both`, the one to make: a Write costs the peer least, a Send takes a receive.
uint8_t ChooseReady(uint8_t both, uint16_t ord) {
  if ((both & kReadyByWrite) != 0) return kReadyByWrite;
  if ((both & kReadyByRead) != 0 && ord != 0) return kReadyByRead;
  return both & kReadyBySend;
}

/// What both frames say of CRCs and markers.
void AgreeOnFraming(Startup& startup) {
  StartupAgreement& agreement = startup.agreement;
  agreement.crc = startup.options.crc || startup.peer_crc;
  agreement.send_markers = startup.peer_markers;
  agreement.receive_markers = startup.options.markers;
}

/// RFC 6581 9.1, the initiator's side. kNone: it can be met.
Cause TakeDepths(Startup& startup, const EnhancedData& reply) {
  const StartupOptions& options = startup.options;
  StartupAgreement& agreement = startup.agreement;
  agreement.ird = options.ird;
  agreement.ord = options.ord;
  if (reply.ord != kNotNegotiated && options.ird != kNotNegotiated) {
    if (reply.ord > Most(options.ird, options.most_ird)) return Cause::kInsufficientIrd;
    agreement.ird = Most(options.ird, reply.ord);
  }
  if (reply.ird != kNotNegotiated && options.ord != kNotNegotiated) {
    agreement.ord = Least(options.ord, reply.ird);
  }
  if (!options.peer_to_peer) return Cause::kNone;
  agreement.peer_to_peer = true;
  agreement.ready = ChooseReady(options.ready & reply.ready, agreement.ord);
  return agreement.ready != 0 ? Cause::kNone : Cause::kNoMatchingRtr;
}

StartupEvent OnReply(Startup& startup, const StartupFrame& frame) {
  StartupEvent event;
  event.frame = frame;
  const StartupOptions& options = startup.options;
  if (frame.enhanced) startup.agreement.peer = frame.depths;
  startup.agreement.enhanced = frame.enhanced;  // RFC 6581 9.1: a rejection tells depths, too
  if (frame.reject) {
    End(startup, StartupState::kRejected);
    event.kind = StartupEvent::Kind::kRejected;
    return event;
  }
  if (frame.enhanced != options.enhanced) {
    return Failed(startup, StartupError::kNotEnhanced, Cause::kMpaCatastrophic);
  }
  if (frame.enhanced && frame.depths.peer_to_peer != options.peer_to_peer) {
    return Failed(startup, StartupError::kNotPeerToPeer, Cause::kNoMatchingRtr);
  }
  AgreeOnFraming(startup);
  startup.agreement.revision = frame.revision;
  startup.agreement.ird = options.ird;
  startup.agreement.ord = options.ord;
  if (frame.enhanced) {
    const Cause cause = TakeDepths(startup, frame.depths);
    if (cause != Cause::kNone) return Failed(startup, StartupError::kNone, cause);
  }
  event.kind = StartupEvent::Kind::kAccepted;
  if (startup.agreement.peer_to_peer) {
    startup.state = StartupState::kSendReady;
  } else {
    End(startup, StartupState::kOperational);
  }
  return event;
}

/// RFC 6581 9.1 and 9.2, the responder's side: what its Reply says, and what it goes by itself.
EnhancedData AnswerDepths(Startup& startup) {
  const StartupOptions& options = startup.options;
  StartupAgreement& agreement = startup.agreement;
  const EnhancedData& peer = agreement.peer;
  EnhancedData reply;
  reply.peer_to_peer = peer.peer_to_peer;
  if (peer.peer_to_peer) {
    const uint8_t both = options.ready & peer.ready;
    reply.ready = both != 0 ? both : options.ready;
  }
  const bool by_read = (reply.ready & kReadyByRead) != 0;
  if (peer.ord == kNotNegotiated) {
    agreement.ird = options.ird;
    reply.ird = kNotNegotiated;
  } else {
    const uint16_t wanted = peer.ord == 0 && by_read ? 1 : peer.ord;
    agreement.ird = Least(Most(options.ird, options.most_ird), wanted);
    reply.ird = agreement.ird;
  }
  if (peer.ird == kNotNegotiated) {
    agreement.ord = options.ord;
    reply.ord = kNotNegotiated;
  } else {
    agreement.ord = Least(options.ord, peer.ird);
    reply.ord = agreement.ord;
  }
  agreement.peer_to_peer = peer.peer_to_peer;
  return reply;
}

StartupFrame ReplyOf(const Startup& startup, std::span<const uint8_t> private_data) {
  StartupFrame frame;
  frame.reply = true;
  frame.markers = startup.options.markers;
  frame.crc = startup.options.crc;
  frame.revision = startup.agreement.revision;
  frame.enhanced = startup.agreement.enhanced;  // RFC 6581 section 10: as the Request was
  frame.private_data = private_data;
  return frame;
}

}  // namespace

const char* StartupStateName(StartupState state) {
  switch (state) {
    case StartupState::kIdle:
      return "idle";
    case StartupState::kAwaitReply:
      return "await_reply";
    case StartupState::kSendReady:
      return "send_ready";
    case StartupState::kAwaitRequest:
      return "await_request";
    case StartupState::kDeciding:
      return "deciding";
    case StartupState::kAwaitFirstFpdu:
      return "await_first_fpdu";
    case StartupState::kOperational:
      return "operational";
    case StartupState::kRejected:
      return "rejected";
    case StartupState::kFailed:
      return "failed";
  }
  return "unknown";
}

StartupFrame BeginInitiator(Startup& startup, const StartupOptions& options,
                            std::span<const uint8_t> private_data, uint64_t now_ns) {
  Begin(startup, options, StartupState::kAwaitReply, now_ns);
  // Without enhanced data there is no way to ask for it.
  startup.options.peer_to_peer = options.peer_to_peer && options.enhanced;
  StartupFrame frame;
  frame.markers = options.markers;
  frame.crc = options.crc;
  frame.revision = options.enhanced ? kRevision2 : kRevision1;
  frame.enhanced = options.enhanced;
  frame.depths.ird = options.ird;
  frame.depths.ord = options.ord;
  frame.depths.peer_to_peer = startup.options.peer_to_peer;
  frame.depths.ready = startup.options.peer_to_peer ? options.ready : 0;
  frame.private_data = private_data;
  return frame;
}

void BeginResponder(Startup& startup, const StartupOptions& options, uint64_t now_ns) {
  Begin(startup, options, StartupState::kAwaitRequest, now_ns);
}

StartupEvent OnStartupBytes(Startup& startup, std::span<const uint8_t> bytes) {
  const bool reply = startup.state == StartupState::kAwaitReply;
  StartupEvent event;
  size_t frame_bytes = 0;
  const StartupError error = ParseStartup(bytes, reply, &event.frame, &frame_bytes);
  if (error == StartupError::kTooShort) {
    event.needed = frame_bytes;
    return event;
  }
  if (error != StartupError::kNone) return Failed(startup, error, Cause::kNone);
  // Neither end may go on before the other has answered (7.1.2 rules 2 to 4).
  if (bytes.size() != frame_bytes) {
    return Failed(startup, StartupError::kTrailing, Cause::kNone);
  }
  if (startup.state == StartupState::kDeciding) return event;
  startup.peer_crc = event.frame.crc;
  startup.peer_markers = event.frame.markers;
  if (reply) return OnReply(startup, event.frame);
  startup.state = StartupState::kDeciding;
  startup.agreement.enhanced = event.frame.enhanced;
  startup.agreement.revision = event.frame.revision;
  startup.agreement.peer = event.frame.depths;
  event.kind = StartupEvent::Kind::kRequest;
  return event;
}

StartupFrame Accept(Startup& startup, const StartupOptions& options,
                    std::span<const uint8_t> private_data) {
  QPIP_ASSERT(startup.state == StartupState::kDeciding);
  startup.options = options;
  AgreeOnFraming(startup);
  StartupAgreement& agreement = startup.agreement;
  agreement.ird = options.ird;
  agreement.ord = options.ord;
  StartupFrame frame = ReplyOf(startup, private_data);
  if (frame.enhanced) {
    frame.depths = AnswerDepths(startup);
    if (agreement.ord < options.least_ord) {
      frame.depths.ord = options.least_ord;  // what would do
      frame.reject = true;
      End(startup, StartupState::kRejected);
      return frame;
    }
  }
  startup.state = StartupState::kAwaitFirstFpdu;
  return frame;
}

StartupFrame Reject(Startup& startup, std::span<const uint8_t> private_data) {
  QPIP_ASSERT(startup.state == StartupState::kDeciding);
  StartupFrame frame = ReplyOf(startup, private_data);
  frame.reject = true;
  if (frame.enhanced) frame.depths = AnswerDepths(startup);
  End(startup, StartupState::kRejected);
  return frame;
}

void OnReadySent(Startup& startup) {
  QPIP_ASSERT(startup.state == StartupState::kSendReady);
  End(startup, StartupState::kOperational);
}

void OnFirstFpdu(Startup& startup) {
  if (startup.state == StartupState::kAwaitFirstFpdu) End(startup, StartupState::kOperational);
}

bool OnStartupTimer(Startup& startup, uint64_t now_ns) {
  if (startup.deadline_ns == 0 || now_ns < startup.deadline_ns) return false;
  End(startup, StartupState::kFailed);
  startup.timed_out = true;
  return true;
}

}  // namespace qpip::iwarp
