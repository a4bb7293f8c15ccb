// A queue pair as it lies in SRAM, in parts by role: a function takes the part it needs, so that
// its signature says what it may touch.
//
//     send, recv       work queues: rings in host memory, indices, cached entries
//     placement        received text on its way to receives; the end of the stream
//     pool             received text for which there was no receive
//     refused          frames that the wire did not take
//     host_memory      what still refers to the application's memory
//     ending           how it ends, and how far that is
//     notices          what the host has not asked for
//     links, timer     the lists it is on
//     tuple, tcb       the connection
#pragma once

#include <cstdint>
#include <type_traits>

#include "nic_fw/abi/command.h"
#include "nic_fw/list.h"
#include "protocols/tcp/isn.h"
#include "protocols/tcp/tcb.h"

namespace qpip::fw {

/// Life of a queue pair. Transitions are traced by SetQpState (events.h).
enum class QpState : uint8_t {
  kFree = 0,
  kIdle = 1,        ///< created; receives may be posted
  kOffered = 2,     ///< waiting in a listener for a connection
  kConnecting = 3,  ///< handshake under way
  kConnected = 4,   ///< data may flow (UDP: bound)
  kDraining = 5,    ///< connection over; DMA or leases of its memory outstanding before the flush
  kClosed = 6,      ///< flushed; only kDestroyQp is left
  kOrphan = 7,      ///< destroyed by the host; the TCP machine finishes FIN or TIME-WAIT alone
};

/// A window of consecutive work queue entries cached in SRAM.
struct WqeWindow {
  uint32_t first = 0;     ///< index of the first cached entry
  uint32_t count = 0;     ///< valid entries
  uint32_t fetching = 0;  ///< entries being fetched (0: no DMA outstanding)
  bool Holds(uint32_t index) const { return index - first < count; }
};

/// One posted send, from its fetch to its acknowledgement: the retransmission store. Boundaries of
/// messages survive because every message keeps where it lies in the sequence space.
struct SendRecord {
  tcp::SequenceNumber start;   ///< sequence number of the message's first byte
  uint32_t length = 0;         ///< bytes of sequence space, what the framing adds included; never 0
  uint32_t flags = 0;          ///< abi::SendWqeFlags
  uint32_t message_bytes = 0;  ///< of the application
};

/// A datagram that leaves in fragments.
struct FragmentedSend {
  uint32_t chunk = 0;  ///< bytes a fragment; 0: none is under way
  uint32_t next = 0;   ///< bytes of UDP header and payload that are being fetched or have been
  uint32_t identification = 0;
  uint32_t being_summed = 0;  ///< parts
  uint16_t sum = 0;
  bool summing = false;  ///< the first of two passes
};

/// What the send and the receive queue have in common: a ring in host memory, and a few of its
/// entries cached in SRAM (work_queue.h). Indices are free-running.
struct WorkQueue {
  uint32_t owner = 0;  ///< handle of the queue pair
  uint32_t cq = 0;
  uint64_t ring = 0;        ///< host memory
  uint32_t cache = 0;       ///< cached entries: offset in the arena
  uint8_t log2_depth = 0;   ///< entries
  uint8_t log2_stride = 0;  ///< bytes an entry
  uint8_t framing = 0;      ///< id of the row in framing.h
  uint32_t producer = 0;    ///< posted by the host
  WqeWindow window;
};

/// completed <= announced <= producer.
struct SendQueue : WorkQueue {
  uint32_t records = 0;    ///< SendRecords: offset in the arena
  uint32_t announced = 0;  ///< fetched, validated, in the retransmission store
  uint32_t completed = 0;
  uint32_t cursor = 0;       ///< hint: record that holds snd.nxt
  FragmentedSend fragments;  ///< UDP: of `announced`
  bool shutdown_wanted = false;
  bool waits_for_text = false;  ///< what goes next must not overtake text that is being fetched
  uint16_t text_fetching = 0;   ///< TCP: segments whose text is being fetched
};

/// next <= producer.
struct ReceiveQueue : WorkQueue {
  uint32_t posted_bytes = 0;    ///< modulo 2^32, from the doorbell
  uint32_t consumed_bytes = 0;  ///< modulo 2^32: lengths of completed receives
  uint32_t next = 0;            ///< the WQE being filled
  uint32_t filled = 0;          ///< bytes of it placed or being placed
};

/// Progress of the peer's FIN towards the host.
enum EosStage : uint8_t {
  kEosNone = 0,
  kEosPending = 1,    ///< FIN is in order; data before it is not all delivered
  kEosDelivered = 2,  ///< the end-of-stream completion was written
};

/// Where a stream stands between two messages, for framings that put headers into it.
struct FramingState {
  static constexpr uint32_t kMostHeaderBytes = 32;
  uint32_t message_rest = 0;  ///< bytes of the present message still to come
  uint8_t header_have = 0;    ///< bytes of `header` that have come
  uint8_t header[kMostHeaderBytes] = {};
};

/// Text on its way to receives.
struct Placement {
  List contexts;           ///< receive contexts in stream order
  uint32_t datagrams = 0;  ///< UDP: contexts that have no receive yet
  uint32_t stripped =
      0;  ///< bytes of headers taken out of the stream, but not yet counted as placed
  FramingState framing;
  uint8_t end_of_stream = 0;  ///< EosStage
};

/// Out of the overflow pool, record by record.
struct PoolDrain {
  uint32_t cached = 0;  ///< records in `words`
  uint32_t position = 0;
  uint32_t rest = 0;     ///< bytes of the current record still in the pool
  uint32_t issued = 0;   ///< bytes of the copy under way (0: none)
  bool push = false;     ///< the current record ends a message
  bool reading = false;  ///< a record fetch is under way
  uint32_t words[8] = {};
};

/// overflow_pool.h.
struct OverflowPool {
  uint64_t ring = 0;            ///< host memory: bytes
  uint64_t records = 0;         ///< host memory: a word a stored segment
  uint32_t bytes = 0;           ///< size of the ring
  uint32_t used = 0;            ///< bytes in the pool
  uint32_t pending = 0;         ///< bytes on their way into it
  uint32_t read = 0;            ///< offset of the oldest byte
  uint32_t place = 0;           ///< offset where the next byte to be placed would lie: each byte of
                                ///< the window has its place in the ring, used or not
  uint32_t record_read = 0;     ///< index of the oldest record
  uint32_t record_count = 0;    ///< records whose bytes are placed
  uint32_t record_written = 0;  ///< index of the next record to write
  PoolDrain drain;
};

/// What still refers to host memory, before that may be given back.
struct HostMemoryUse {
  uint32_t dma_outstanding = 0;
  uint64_t lease = 0;         ///< of the frame that left last
  uint64_t repeat_lease = 0;  ///< of text sent again: what was sent first may be acknowledged
                              ///< before the wire has read it
};

struct Ending {
  uint32_t error_index = 0;         ///< WQE to blame, valid with a status below
  uint8_t send_status = 0;          ///< abi::CompletionStatus of WQE error_index, when it is a send
  uint8_t recv_status = 0;          ///< the same for a receive (always recv.next)
  uint8_t head_status = 0;          ///< status of the first flushed WQE of each queue
  uint8_t reason = 0;               ///< abi::DisconnectReason
  bool transport_done = false;      ///< FIN both ways: only delivery to the host remains
  bool connected_reported = false;  ///< kEstablished was sent: kDisconnected must follow
  bool peer_closed_reported = false;
  bool destroy_wanted = false;
  bool orphaned = false;  ///< kDestroyQp was answered; host memory is gone
  uint32_t destroy_command = 0;
  /// kOrphan: give up then, whatever the peer does. kDraining: revoke leases then, whoever has
  /// them.
  uint64_t deadline = tcp::kNever;
};

/// What the host has not asked for (TakeNotices): ICMPv6 errors (icmp_errors.h), urgent data.
struct Notices {
  bool path_failed = false;      ///< TCP: since something was last acknowledged
  bool announced = false;        ///< the host knows that there are some
  uint32_t pending = 0;          ///< abi::NoticeFlags not yet taken
  uint32_t icmp_errors = 0;      ///< how many
  uint32_t last_icmp_error = 0;  ///< type << 8 | code
  uint32_t urgent_end = 0;       ///< TCP: behind the peer's urgent data, from the first byte on
};

/// The lists a queue pair can be on.
struct QueuePairLinks {
  Link active;    ///< the transmit scheduler's
  Link batch;     ///< placements done, an acknowledgement may be due
  Link listener;  ///< a listener's idle queue pairs, or its handshakes
  Link drain;     ///< kDraining, waits for DMA or leases
  Link refused;   ///< frames refused by the wire
  uint32_t demux_next = kNone;
  bool in_demux = false;
};

/// Position in the heap of timers.h, and the deadline it is filed under.
struct TimerEntry {
  uint32_t position = kNone;
  uint64_t deadline = tcp::kNever;
};

struct QueuePair {
  uint32_t handle = 0;
  QpState state = QpState::kFree;
  abi::QpType type = abi::QpType::kTcp;
  uint8_t traffic_class = 0;  ///< DiffServ code point of its packets, in the upper six bits
  bool fresh = false;         ///< which of the transmit scheduler's lists it is on (schedule.h)
  int32_t deficit = 0;        ///< the transmit scheduler's credit, bytes
  uint32_t protection_domain = 0;
  uint64_t indices = 0;  ///< host memory: abi::QueueIndices
  uint32_t listener = kNone;
  uint32_t rdma = kNone;  ///< RDMA: its entry in that table

  SendQueue send;
  ReceiveQueue recv;
  Placement placement;
  OverflowPool pool;
  List refused;  ///< transmit contexts whose frames the wire refused, in order
  HostMemoryUse host_memory;
  Ending ending;
  Notices notices;
  QueuePairLinks links;
  TimerEntry timer;

  tcp::FourTuple tuple;  ///< UDP: local_port only
  tcp::Tcb tcb;
};
static_assert(std::is_trivially_copyable_v<QueuePair>);

}  // namespace qpip::fw
