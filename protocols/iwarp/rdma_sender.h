// The sender of RDMAP messages: what may go now, with which numbers, and what is to come back (RFC
// 5040 sections 5 and 6.1, RFC 7306 section 5.4).
//
//     a work request ──> HoldOf ──> kGo ──> StartOperation ──> a Message, and its bytes if the
//                                                              machine makes them
//     a peer's request, in order and granted ──> Owe ──> StartResponse, oldest first
//     a response is whole ──> TakeAnswered: which work request it is of
//     something is wrong  ──> StartTerminate: the last message
//
// A read or an atomic operation is a request and its response. The peer takes ORD of them at once,
// answers in order, and so the oldest is always the one whose response comes next (KeepAwaited).
//
// Tables of requests are the caller's, rings in spans that stay the same: one of ORD entries for
// those of this end, one of IRD for the peer's.
#pragma once

#include <cstdint>
#include <span>

#include "protocols/iwarp/message_layout.h"
#include "protocols/iwarp/rdma_receiver.h"
#include "protocols/iwarp/rdmap.h"
#include "protocols/iwarp/terminate.h"

namespace qpip::iwarp {

/// What a work request asks for.
struct Operation {
  Opcode opcode = Opcode::kSend;  ///< a Send, a Write, Immediate Data, or a request
  bool fence = false;             ///< not before all requests in front of it have been answered
  uint32_t length = 0;            ///< Send, Write: bytes of the message
  uint32_t stag = 0;              ///< Write: the peer's
  uint64_t tagged_offset = 0;     ///< Write
  uint32_t invalidate_stag = 0;   ///< Sends that invalidate
  uint64_t immediate = 0;         ///< Immediate Data
  ReadRequest read;               ///< kReadRequest; its sink is this end's own, and comes back
  AtomicRequest atomic;           ///< kAtomicRequest
};

/// A request that has not been answered. Of this end: `work` names its work request.
struct PendingRequest {
  bool is_atomic = false;
  uint32_t work = 0;
  ReadRequest read;
  uint32_t identifier = 0;  ///< of an atomic operation
  uint64_t original = 0;    ///< the peer's atomic operation: what memory held
};

/// A ring in a span of PendingRequest.
struct RequestRing {
  uint16_t first = 0;
  uint16_t count = 0;
};

struct RdmaSender {
  uint16_t most_requests = 0;  ///< ORD
  bool over = false;           ///< a Terminate has been started: nothing may follow it
  uint32_t message_sequences[kQueues] = {1, 1, 1, 1};  ///< of the next message of each queue
  RequestRing asked;                                   ///< of this end
  RequestRing owed;                                    ///< of the peer, not answered yet
};

/// Why a work request has to wait, and all behind it.
enum class Hold : uint8_t {
  kGo = 0,
  kFence,  ///< requests in front of it have not been answered
  kDepth,  ///< as many as ORD are under way
  kOver,   ///< for ever
};
Hold HoldOf(const RdmaSender& sender, const Operation& operation);

/// A message to be laid out. Of those whose bytes are no work request's, they are in `control`.
struct StartedMessage {
  Message message;
  uint8_t control[kMaxTerminateBytes] = {};
  uint32_t control_bytes = 0;
};

/// kGo: the operation's message. `work` names it, for TakeAnswered.
StartedMessage StartOperation(RdmaSender& sender, std::span<PendingRequest> asked,
                              const Operation& operation, uint32_t work);

/// A request of the peer that may be carried out; an atomic operation has been, and found
/// `original`. The receiver has seen that there is room for it (RdmaReceiver::most_requests).
void Owe(RdmaSender& sender, std::span<PendingRequest> owed, const SegmentPlan& plan,
         uint64_t original);
inline bool OwesResponse(const RdmaSender& sender) {
  return sender.owed.count != 0 && !sender.over;
}
/// The response to the oldest, which `*request` receives: a read's bytes lie at its source.
StartedMessage StartResponse(RdmaSender& sender, std::span<const PendingRequest> owed,
                             PendingRequest* request);

/// Tells the receiver which response comes next, where it does not know.
void KeepAwaited(const RdmaSender& sender, std::span<const PendingRequest> asked,
                 RdmaReceiver& receiver);
/// A response is whole: the oldest request is answered. Returns it.
PendingRequest TakeAnswered(RdmaSender& sender, std::span<const PendingRequest> asked);

/// The last message (RFC 5040 5.4). Once a stream.
StartedMessage StartTerminate(RdmaSender& sender, const Terminate& terminate);

/// How far a work request is: where its message ends in the stream, or the how manieth request it
/// was, modulo 2^32.
struct WorkProgress {
  bool is_request = false;
  uint32_t end = 0;
};
/// Whether it is done when all before `acknowledged` has been, and `answered` requests: a Send or
/// Write with its last acknowledged byte, a request with its response (5.5 rules 14 and 19).
/// Completions are in order (rule 15): the oldest that is not done holds back the others.
bool IsDone(const WorkProgress& work, uint32_t acknowledged, uint32_t answered);

}  // namespace qpip::iwarp
