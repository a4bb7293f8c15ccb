// What an RDMA queue pair has in SRAM beyond what every queue pair has. A table of its own
// (NicConfig::max_rdma_qps): it is large, and few need it.
//
//     sender, asked, owed    protocols/iwarp/rdma_sender.h: what may go, requests of both ends
//     messages               what lies where in the sequence space, until it is acknowledged
//     receiver, gather       segments in order; an FPDU that comes in several frames
//     waiting                messages that have come before a receive for them (rdma_waiting.h)
//     ending                 why the stream ends, and how far that is
#pragma once

#include "nic_fw/abi/command.h"
#include "nic_fw/state.h"
#include "protocols/iwarp/crc32c.h"
#include "protocols/iwarp/message_layout.h"
#include "protocols/iwarp/rdma_receiver.h"
#include "protocols/iwarp/rdma_sender.h"

namespace qpip::fw {

/// Where a message's bytes are.
enum class MessageSource : uint8_t {
  kWorkRequest = 0,  ///< in the list, or the entry, of a send WQE
  kControl = 1,      ///< in RdmaMessage::control
  kMemory = 2,       ///< a read's source: in a region that the peer has named
  kStartup = 3,      ///< as kWorkRequest, and no FPDUs: MPA's Request or Reply
};

/// A message in the sequence space.
struct RdmaMessage {
  tcp::SequenceNumber start;
  uint32_t bytes = 0;  ///< of sequence space
  iwarp::Message message;
  uint32_t mulpdu = 0;
  uint32_t wqe_index = 0;  ///< kWorkRequest, kStartup
  MessageSource source = MessageSource::kWorkRequest;
  uint8_t control[iwarp::kMaxTerminateBytes] = {};
  uint32_t source_stag = 0;  ///< kMemory
  uint64_t source_offset = 0;
  iwarp::MessageLayout layout() const { return iwarp::LayOut(message, 0, mulpdu, false); }
};

/// A ring of them.
inline constexpr uint32_t kRdmaMessages = 64;

/// Where the response to a request of this end goes.
struct ResponseSink {
  abi::Sge list[abi::kMaxReadSge];
  uint8_t count = 0;
};

/// An FPDU that comes in several frames: its bytes go to the start of the overflow pool, and on
/// from there when all are here.
struct FpduGather {
  static constexpr uint32_t kHeadBytes =
      iwarp::kLengthBytes + iwarp::kUntaggedBytes + iwarp::kMaxTerminateBytes;
  uint32_t operations = 0;  ///< under way, into the pool
  uint32_t have = 0;        ///< bytes that are placed or being placed; 0: none is being gathered
  uint32_t total = 0;       ///< bytes of the FPDU; 0: not known yet
  uint32_t held = 0;        ///< bytes of its last part, which count when what it says is accepted
  bool held_ends_frame = false;  ///< ... behind which its frame has nothing
  uint32_t crc = 0;              ///< of `have` bytes, its own field excluded
  uint8_t head[kHeadBytes] = {};
  uint8_t field[iwarp::kCrcBytes] = {};  ///< the CRC that it came with
};

/// What becomes of a segment once its bytes are in place.
struct RdmaDelivery {
  enum class Kind : uint8_t {
    kNothing = 0,  ///< a segment that does not end its message, a Write, text that is dropped
    kReceive,      ///< a Send or immediate data
    kRequest,      ///< of the peer's
    kAnswer,       ///< to the oldest request of this end
    kTerminate,
    kWaiting,  ///< a segment of a message that has no receive yet: it is where such wait
  };
  Kind kind = Kind::kNothing;
  bool gathers = false;       ///< it goes to the pool, to be gathered
  bool ends_frame = false;    ///< behind it its frame has nothing
  uint32_t operations = 0;    ///< under way
  uint32_t status = 0;        ///< DmaStatus of those that were the worst
  uint32_t stream_bytes = 0;  ///< that count as placed with it
  uint32_t wqe_index = 0;     ///< kReceive
  uint32_t byte_length = 0;   ///< kReceive
  uint32_t ulpdu_length = 0;
  iwarp::SegmentPlan plan;
};

/// Segments of messages that no receive has been posted for: FPDUs, without pad and CRC, in a ring
/// in the overflow pool, none of them across its end.
struct WaitingSends {
  uint32_t bytes =
      0;              ///< of all of them. OverflowPool::used is that, and of the one being gathered
  uint32_t read = 0;  ///< place of the oldest
  uint32_t write = 0;  ///< ... where the next one goes
  uint32_t limit = 0;  ///< where they end before they go on at the ring's start; 0: they do not
  uint32_t ready = 0;  ///< bytes of those that are in place
  bool head_known = false;  ///< `head` has the oldest's first bytes
  uint8_t head[FpduGather::kHeadBytes] = {};
  iwarp::UntaggedQueue queue;  ///< where the oldest one stands among its message's segments
};
/// Bytes that one takes there.
constexpr uint32_t WaitingBytes(uint32_t ulpdu_length) {
  return iwarp::kLengthBytes + ulpdu_length;
}

enum class RdmaEnding : uint8_t {
  kOpen = 0,
  kRefused = 1,      ///< a segment was refused: `terminate` is to be sent
  kTerminating = 2,  ///< it has been put into the sequence space
};

struct RdmaState {
  uint32_t next_free = kNone;
  bool connected = false;
  bool crc = true;
  bool waits = false;        ///< for a receive, instead of refusing what has none
  bool await_first = false;  ///< responder: no FPDU before the peer's first
  uint16_t ird = 0;
  uint16_t ord = 0;

  iwarp::RdmaSender sender;
  iwarp::PendingRequest asked[abi::kMaxRdmaDepth];
  ResponseSink sinks[abi::kMaxRdmaDepth];  ///< of `asked`
  iwarp::PendingRequest owed[abi::kMaxRdmaDepth];
  uint32_t requests_started = 0;  ///< of this end, modulo 2^32
  uint32_t requests_answered = 0;

  RdmaMessage messages[kRdmaMessages];
  uint32_t message_first = 0;  ///< free-running
  uint32_t message_count = 0;

  iwarp::RdmaReceiver receiver;
  uint32_t write_bytes = 0;  ///< of the peer's last Write; 0 behind a message for a receive
  bool write_open = false;   ///< ... whose end has not come
  FpduGather gather;
  WaitingSends waiting;
  bool delivering = false;  ///< `gathered` is on its way out of the pool
  RdmaDelivery gathered;

  RdmaEnding ending = RdmaEnding::kOpen;
  bool faulty = false;     ///< what was to take effect could not, and nothing behind it does
  bool peer_lost = false;  ///< the connection has failed, and is kept for `waiting` (LosePeer)
  bool terminate_received = false;
  iwarp::Terminate terminate;  ///< to be sent, or sent; or received

  RdmaMessage& message(uint32_t index) { return messages[index % kRdmaMessages]; }
};
static_assert(std::is_trivially_copyable_v<RdmaState>);

inline bool IsRdma(const WorkQueue& queue) {
  return queue.framing == static_cast<uint8_t>(abi::Framing::kMpa);
}
inline RdmaState& RdmaOf(const Nic& nic, const QueuePair& q) {
  QPIP_ASSERT(q.rdma != kNone);
  return nic.Table(nic.state.tables.rdma)[q.rdma];
}
/// Text that comes is of no use any more: the stream ends by a Terminate.
inline bool RefusesText(const Nic& nic, const QueuePair& q) {
  return IsRdma(q.recv) && RdmaOf(nic, q).ending != RdmaEnding::kOpen;
}
/// What a receive context delivers.
inline RdmaDelivery& DeliveryOf(const Nic& nic, uint32_t context) {
  return nic.Table(nic.state.tables.rdma_deliveries)[context];
}

}  // namespace qpip::fw
