// The receiver of DDP segments: which of them are in order, what is to become of them, and with
// which Terminate the others are refused (RFC 5041 sections 5 to 7, RFC 5040 sections 4, 5 and 7,
// RFC 7306 section 8).
//
//     an ULPDU's first bytes ──> PlanSegment ──> SegmentPlan   where its bytes belong, or why not
//     all of it is here ───────> CommitSegment                 only now the next one can be planned
//
// The machine knows no memory. What a tagged segment or a request names is looked up by the owner,
// whose answer CauseOfAccess turns into a refusal; receives are the owner's too, and so are the
// requests of this end, of which the machine is told the one whose response comes next.
//
// Segments come in the order in which they were sent, since TCP's bytes do. Messages of different
// queues, and tagged ones, may be mixed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/iwarp/ddp.h"
#include "protocols/iwarp/rdmap.h"
#include "protocols/iwarp/terminate.h"

namespace qpip::iwarp {

/// The response that comes next: to the oldest request of this end that has not been answered.
struct AwaitedResponse {
  enum class Kind : uint8_t { kNone = 0, kRead = 1, kAtomic = 2 };
  Kind kind = Kind::kNone;
  uint32_t stag = 0;        ///< kRead: the request's sink
  uint64_t offset = 0;      ///< kRead: where its next byte goes
  uint32_t left = 0;        ///< kRead: bytes that are still to come
  uint32_t identifier = 0;  ///< kAtomic: the request's
};

/// A queue of untagged messages.
struct UntaggedQueue {
  uint32_t message_sequence = 1;  ///< of the message at hand
  uint32_t message_offset = 0;    ///< bytes of it that are here
  bool open = false;              ///< some segment of it is
  Opcode opcode = Opcode::kSend;  ///< its, when open
};

struct RdmaReceiver {
  bool extensions = true;      ///< RFC 7306 is spoken
  uint16_t most_requests = 0;  ///< IRD: requests of the peer that may be unanswered at once
  uint16_t requests = 0;       ///< ... and how many are
  bool over = false;  ///< a Terminate came, or a segment was refused: nothing more is taken
  AwaitedResponse awaited;
  UntaggedQueue queues[kQueues];
};

/// What the receive queue has for the message at hand.
struct ReceiveRoom {
  bool posted = false;
  uint32_t bytes = 0;  ///< of that receive
};

struct SegmentPlan {
  Cause refusal = Cause::kNone;  ///< kNone: it is in order as far as the machine can tell
  bool header_known = false;     ///< `ddp` is filled in
  DdpHeader ddp;
  Opcode opcode = Opcode::kSend;
  uint32_t header_bytes = 0;   ///< of the ULPDU: what was looked at
  uint32_t payload_bytes = 0;  ///< ... and those behind them, which go to a buffer
  bool message_ends = false;
  uint32_t message_length = 0;  ///< untagged: bytes of the message up to the end of this segment
  // What the headers behind DDP's say, by opcode.
  ReadRequest read;
  AtomicRequest atomic;
  AtomicResponse atomic_response;
  uint64_t immediate = 0;
  Terminate terminate;
};

/// How many of an ULPDU's first bytes PlanSegment wants. `begin`: at least the first two of them.
size_t HeadBytes(std::span<const uint8_t> begin, uint32_t ulpdu_length);

/// Decides. `head`: HeadBytes of the ULPDU, whose first bytes they are. Changes nothing.
SegmentPlan PlanSegment(const RdmaReceiver& receiver, std::span<const uint8_t> head,
                        uint32_t ulpdu_length, const ReceiveRoom& room);

/// The segment is whole, and what it carries is placed; or it is refused.
void CommitSegment(RdmaReceiver& receiver, const SegmentPlan& plan);

/// A request of the peer has been answered, to the last byte.
void OnRequestAnswered(RdmaReceiver& receiver);

/// What is next to come back of this end's requests.
void AwaitRead(RdmaReceiver& receiver, const ReadRequest& request);
void AwaitAtomic(RdmaReceiver& receiver, uint32_t identifier);

/// What the owner's table says of an STag and a range.
enum class AccessVerdict : uint8_t {
  kGranted = 0,
  kInvalidStag,    ///< there is none, or no longer
  kNotAssociated,  ///< another stream's, or another protection domain's
  kBounds,
  kWrap,        ///< offset and length go beyond 2^64
  kNoRight,     ///< not for this kind of access
  kMisaligned,  ///< an atomic operation's address is no multiple of 8
};
/// How a message is refused over it. kGranted: kNone.
Cause CauseOfAccess(AccessVerdict verdict, Opcode opcode);

/// The Terminate that tells the peer of `refusal`, of the planned segment's or what was found out
/// later about it.
Terminate TerminateFor(const SegmentPlan& plan, Cause refusal, uint32_t ulpdu_length);

}  // namespace qpip::iwarp
