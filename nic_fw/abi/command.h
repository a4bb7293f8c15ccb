// Commands and events: the management FSM's side of the ABI (paper section 3.1).
//
// The command ring is a power-of-two ring of 128-byte entries in host memory, written by the host
// and announced by a kCommand doorbell. Every command is answered by exactly one kCommandDone
// event that carries its `id`. Events are 64-byte entries in a ring of their own; like a CQE, an
// event is valid when its last word holds the lap number (see CqeLap). The host must give the
// event ring room for `kEventsPerQp` events a queue pair plus one a command in flight; then it
// cannot overflow.
#pragma once

#include <cstdint>
#include <type_traits>

#include "nic_fw/abi/work_queue.h"

namespace qpip::abi {

enum class CommandOpcode : uint8_t {
  kNop = 0,
  kRegisterMemory = 1,
  kDeregisterMemory = 2,
  kCreateCq = 3,
  kDestroyCq = 4,
  kCreateQp = 5,
  kDestroyQp = 6,
  kConnect = 7,
  kListen = 8,
  kCloseListener = 9,
  kOffer = 10,     ///< give an idle queue pair to a listener, to be mated with a connection
  kShutdown = 11,  ///< FIN after all posted sends: half-close
  kAbort = 12,     ///< RST, flush
  kBindUdp = 13,
  kQueryQp = 14,
  kQueryCounters = 15,
  kTakeNotices = 16,  ///< what a kNotice event has told of
  kAdopt = 17,        ///< give a stream's connection to an idle RDMA queue pair
  kQueryTerminate = 18,
  kAllocateWindow =
      19,  ///< a memory window, to be bound by a work request (SendOpcode::kBindWindow)
};

/// Result of a command.
enum class CommandStatus : uint8_t {
  kOk = 0,
  kBadCommand = 1,    ///< unknown opcode or a field out of range
  kNoResource = 2,    ///< a table is full
  kBadHandle = 3,     ///< no such queue pair, completion queue, listener or key
  kBadState = 4,      ///< not possible in the object's present state
  kAddressInUse = 5,  ///< port or 4-tuple taken
  kBusy = 6,          ///< kDestroyCq: queue pairs are bound to it
};

enum class QpType : uint8_t { kTcp = 1, kUdp = 2 };

/// How messages are found in the byte stream (docs/architecture.md, "Framing").
enum class Framing : uint8_t {
  kSegment = 1,  ///< a message ends with the last byte of a segment that carries PSH
  kStream = 2,   ///< no boundaries: a receive completes with what has arrived
  kMpa = 3,      ///< RDMA: iWARP (RFC 5040, 5041, 5044); connected by kAdopt
};

/// Memory region rights, with the values of `enum ibv_access_flags`.
enum AccessFlags : uint32_t {
  kAccessLocalWrite = 1u << 0,
  kAccessRemoteWrite = 1u << 1,
  kAccessRemoteRead = 1u << 2,
  kAccessRemoteAtomic = 1u << 3,
  kAccessBindWindow = 1u << 4,  ///< memory windows may be bound to it
  kAccessZeroBased = 1u << 5,   ///< peers' offsets begin at 0, not at `iova`
};

/// A region that peers of all queue pairs of its domain may use.
inline constexpr uint32_t kAnyQueuePair = 0xffffffff;

/// kRegisterMemory. The region is `page_count` pages of 2^page_shift bytes whose DMA addresses are
/// a `uint64_t` list at `page_list`; with `page_count` 0 it is DMA-contiguous and starts at
/// `page_list`. Rights for peers to write need kAccessLocalWrite. Answer: `result[0]` is the key.
struct RegisterMemory {
  uint64_t iova = 0;                    ///< I/O virtual address of the first byte
  uint64_t length = 0;                  ///< bytes
  uint64_t page_list = 0;               ///< DMA address, see above
  uint32_t page_count = 0;              ///< 0: contiguous
  uint32_t page_shift = 0;              ///< 12 to 30
  uint32_t access = 0;                  ///< AccessFlags
  uint32_t protection_domain = 0;       ///< whose queue pairs may reach it
  uint32_t queue_pair = kAnyQueuePair;  ///< handle: of peers only this one's, and while it is there
  uint32_t reserved = 0;                ///< zero
};

/// kDeregisterMemory. Windows that are bound to the region are dead with it. Of a window any key
/// that it has had will do.
struct DeregisterMemory {
  uint32_t key = 0;  ///< dead at once
};

/// kAllocateWindow. Answer: `result[0]` is its key, dead until it is bound. Each binding chooses
/// the key's lower eight bits (kWindowKeyBits) anew; the others stay.
struct AllocateWindow {
  uint32_t protection_domain = 0;  ///< whose queue pairs may bind it, and to whose regions
};
inline constexpr uint32_t kWindowKeyBits = 0xff;

/// kCreateCq. Answer: `result[0]` is the handle.
struct CreateCq {
  uint64_t ring = 0;       ///< DMA address of 2^log2_size Cqes
  uint64_t consumer = 0;   ///< DMA address of a uint64_t the host keeps its consumer index in
  uint32_t log2_size = 0;  ///< 1 to 20
};

enum CreateQpFlags : uint8_t {
  kQpNagle = 1u << 0,           ///< TCP, stream framing: what is less than a segment waits for ACKs
  kQpWaitForReceive = 1u << 1,  ///< RDMA: a message without a receive waits for one, and does not
                                ///< end the stream; the pool has kRdmaWaitingBytes more for it
};

/// kCreateQp. All memory is DMA-contiguous and 64-byte aligned. Answer: `result[0]` is the handle.
struct CreateQp {
  uint64_t send_ring = 0;          ///< DMA address of the send WQEs
  uint64_t recv_ring = 0;          ///< DMA address of the receive WQEs
  uint64_t indices = 0;            ///< DMA address of a QueueIndices
  uint64_t overflow_pool = 0;      ///< TCP: bytes acknowledged for want of a receive go here
  uint64_t overflow_records = 0;   ///< TCP: uint32_t a stored segment, `overflow_bytes` of them
  uint32_t overflow_bytes = 0;     ///< TCP: size of the pool and upper bound of the window
  uint32_t send_cq = 0;            ///< handle
  uint32_t recv_cq = 0;            ///< handle, may be the same
  uint32_t protection_domain = 0;  ///< whose regions it may reach
  uint8_t type = 0;                ///< QpType
  uint8_t framing = 0;             ///< Framing
  uint8_t send_log2_depth = 0;     ///< 0 to 15
  uint8_t recv_log2_depth = 0;     ///< 0 to 15
  uint8_t send_log2_stride = 0;    ///< 6 to 9
  uint8_t recv_log2_stride = 0;    ///< 5 to 9
  uint8_t ack_every = 0;           ///< acknowledge at least every n-th full segment; 0: NIC default
  uint8_t flags = 0;               ///< CreateQpFlags
  uint32_t ack_delay_us = 0;       ///< delayed-ACK timer; 0: NIC default
  uint32_t user_timeout_ms = 0;    ///< give up unacknowledged data after this; 0: NIC default
  uint8_t traffic_class = 0;      ///< of its packets: DiffServ in the upper six bits, the rest zero
  uint8_t reserved[3] = {};       ///< zero
  uint32_t keepalive_idle_s = 0;  ///< probe a peer that is silent for so long; 0: NIC default
};

/// kDestroyQp, kShutdown, kAbort, kQueryQp. Answer of kQueryQp: QpState, tcp::State, congestion
/// window and send window, bytes.
///
/// kTakeNotices: NoticeFlags since the last time; the position behind the peer's urgent data, bytes
/// since the connection began, modulo 2^32; how many ICMPv6 errors have come; type << 8 | code of
/// the last.
struct QpCommand {
  uint32_t qp = 0;  ///< handle
};

/// kDestroyCq. Answered kBusy while queue pairs are bound to it.
struct DestroyCq {
  uint32_t cq = 0;  ///< handle
};

/// kConnect. `local_port` 0 asks for an ephemeral one. Answered when SYN is queued; then one
/// kEstablished or kConnectFailed event follows.
struct Connect {
  uint32_t qp = 0;                 ///< queue pair, idle
  uint16_t local_port = 0;         ///< host byte order
  uint16_t remote_port = 0;        ///< host byte order, not 0
  Ip6Address remote_address = {};  ///< unicast
};

/// kListen. Answer: `result[0]` is the listener's handle, `result[1]` the port.
struct Listen {
  uint16_t port = 0;     ///< 0 asks for an ephemeral one
  uint16_t backlog = 0;  ///< SYNs that may wait for an idle queue pair
};

/// kCloseListener.
struct CloseListener {
  uint32_t listener = 0;  ///< handle
};

/// kOffer.
struct Offer {
  uint32_t listener = 0;  ///< handle
  uint32_t qp = 0;        ///< queue pair, idle, TCP
};

/// kBindUdp. Answer: `result[0]` is the port.
struct BindUdp {
  uint32_t qp = 0;    ///< queue pair, idle
  uint16_t port = 0;  ///< 0 asks for an ephemeral one
};

enum AdoptFlags : uint16_t {
  kAdoptCrc = 1u << 0,        ///< CRCs were agreed on
  kAdoptResponder = 1u << 1,  ///< nothing is sent before the peer's first FPDU, but for what
                              ///< kSendStartup has
};

/// kAdopt: `carrier`'s connection, on which nothing is under way in either direction, becomes
/// `qp`'s; `carrier` is closed. FPDUs begin with the next byte in, and out with the first after
/// what kSendStartup has. Answered kBusy when something of the carrier's is still under way,
/// kBadState when one of the two is not as it has to be. A kEstablished event of `qp` goes before
/// the answer.
struct Adopt {
  uint32_t qp = 0;        ///< handle: RDMA, idle
  uint32_t carrier = 0;   ///< handle: stream framing, connected, with a pool not larger than `qp`'s
  uint16_t flags = 0;     ///< AdoptFlags
  uint16_t ird = 0;       ///< requests of the peer that are taken at once, at most kMaxRdmaDepth
  uint16_t ord = 0;       ///< requests that may be under way at once, at most kMaxRdmaDepth
  uint16_t reserved = 0;  ///< zero
};
inline constexpr uint16_t kMaxRdmaDepth = 32;
/// Least overflow pool of an RDMA queue pair, bytes: the largest FPDU fits.
inline constexpr uint32_t kMinRdmaPool = 68 * 1024;
/// kQpWaitForReceive: of the overflow pool, bytes that are not advertised.
inline constexpr uint32_t kRdmaWaitingBytes = 2 * kMinRdmaPool;

/// kQueryTerminate's first answer: TerminateAnswer bits; the second: layer << 16 | type << 8 |
/// code.
enum TerminateAnswer : uint32_t {
  kTerminateSent = 1u << 0,
  kTerminateReceived = 1u << 1,
};

/// kQueryCounters: the NIC's counters (abi/counters.h) as `uint64_t`s to `address`.
struct QueryCounters {
  uint64_t address = 0;  ///< DMA address, 8-byte aligned
  uint32_t bytes = 0;    ///< room there; what does not fit is left out
};

/// One command. Host-written.
struct Command {
  uint8_t opcode = 0;        ///< CommandOpcode
  uint8_t reserved[3] = {};  ///< zero
  uint32_t id = 0;           ///< chosen by the host, returned in the answer
  union {
    RegisterMemory register_memory;
    DeregisterMemory deregister_memory;
    AllocateWindow allocate_window;
    CreateCq create_cq;
    DestroyCq destroy_cq;
    CreateQp create_qp;
    QpCommand qp;
    Connect connect;
    Listen listen;
    CloseListener close_listener;
    Offer offer;
    BindUdp bind_udp;
    Adopt adopt;
    QueryCounters query_counters;
    uint8_t raw[120];
  };
  constexpr Command() : raw{} {}
};
static_assert(sizeof(Command) == 128 && std::is_trivially_copyable_v<Command>);

enum class EventKind : uint8_t {
  kNone = 0,
  kCommandDone = 1,    ///< status: CommandStatus
  kEstablished = 2,    ///< a queue pair is connected (connect or mated by a listener)
  kConnectFailed = 3,  ///< status: DisconnectReason
  kPeerClosed = 4,     ///< FIN received, all its data delivered or in the overflow pool
  kDisconnected = 5,   ///< connection over in both directions; status: DisconnectReason
  kQpError = 6,        ///< a UDP queue pair failed; status: DisconnectReason
  kCqError = 7,        ///< completion queue overrun
  kNotice = 8,  ///< something that does not end a queue pair; none follows before kTakeNotices
};

/// What a notice is about. Bits of kTakeNotices' first answer.
enum NoticeFlags : uint32_t {
  kNoticeUrgent = 1u << 0,           ///< TCP: the peer has said how far its urgent data reaches
  kNoticeIcmpError = 1u << 1,        ///< an ICMPv6 error about what the queue pair has sent
  kNoticeRetransmissions = 1u << 2,  ///< TCP: three time-outs in a row (RFC 9293 3.8.3, R1)
};

/// Why a connection ended or never was.
enum class DisconnectReason : uint8_t {
  kNone = 0,
  kClosed = 1,       ///< FIN both ways
  kReset = 2,        ///< RST received
  kRefused = 3,      ///< RST, or ICMPv6 port unreachable, in answer to SYN
  kTimedOut = 4,     ///< retransmissions or user time-out exhausted
  kUnreachable = 5,  ///< the peer's port left the fabric, or a router said that it cannot be
                     ///< reached: at the handshake, or before a time-out
  kAborted = 6,      ///< kAbort or kDestroyQp here
  kLocalError = 7,   ///< a bad work request or a message longer than its receive
  kTerminated = 8,   ///< RDMA: a Terminate was sent or received
};

/// Events a queue pair can have outstanding at most; sizes the event ring.
inline constexpr uint32_t kEventsPerQp = 5;

/// One event. Firmware-written.
struct alignas(64) Event {
  uint8_t kind = 0;                ///< EventKind
  uint8_t status = 0;              ///< meaning depends on `kind`
  uint16_t local_port = 0;         ///< host byte order
  uint16_t remote_port = 0;        ///< host byte order
  uint16_t reserved0 = 0;          ///< zero
  uint32_t id = 0;                 ///< kCommandDone: the command's
  uint32_t object = 0;             ///< queue pair or completion queue
  Ip6Address remote_address = {};  ///< of connection events
  uint32_t result[4] = {};         ///< kCommandDone: answers, see the command
  uint32_t listener = 0;           ///< kEstablished by a listener: its handle + 1, else 0
  uint32_t reserved1[2] = {};      ///< zero
  uint32_t valid = 0;              ///< lap number, stored last
};
static_assert(sizeof(Event) == 64 && std::is_trivially_copyable_v<Event>);

}  // namespace qpip::abi
