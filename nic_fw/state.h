// What the firmware keeps in SRAM: plain structures, linked by 32-bit handles, no pointers.
//
// `FirmwareState` is at the start of the arena; tables follow it at the offsets it records
// (layout.cc). `Nic` is a view of one arena for the length of one step; it is never stored.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "nic_fw/abi/command.h"
#include "nic_fw/abi/completion.h"
#include "nic_fw/abi/counters.h"
#include "nic_fw/config.h"
#include "nic_fw/hardware.h"
#include "nic_fw/platform.h"
#include "nic_fw/queue_pair.h"
#include "protocols/common/ipv6_address.h"
#include "protocols/common/siphash.h"
#include "protocols/tcp/handshake.h"
#include "protocols/tcp/header.h"
#include "protocols/tcp/isn.h"
#include "protocols/tcp/tcb.h"

namespace qpip::fw {

struct CompletionQueueState {
  uint64_t ring = 0;
  uint64_t consumer_address = 0;
  uint32_t producer = 0;
  uint32_t consumer_seen = 0;
  uint32_t armed_index = 0;
  uint32_t references = 0;
  uint8_t log2_size = 0;
  bool in_use = false;
  bool armed = false;
  bool armed_solicited = false;  ///< armed: for solicited ones, and failures, alone
  uint32_t solicited_end = 0;    ///< behind the last of those
  bool failed = false;
};

/// A registered memory region (memory.h).
enum class RegionState : uint8_t {
  kFree = 0,
  kValid = 1,
  kInvalidated = 2,  ///< good for nothing but to be deregistered
};

struct Region {
  uint64_t iova = 0;
  uint64_t length = 0;
  uint64_t base = 0;            ///< contiguous: DMA address of the first byte
  uint32_t first_page = kNone;  ///< paged: index of the first translation entry
  uint32_t page_count = 0;
  uint32_t protection_domain = 0;
  uint32_t access = 0;
  uint32_t queue_pair = kNone;  ///< of peers' streams, the only one that may use it
  Link link;                    ///< free_regions
  uint16_t uses = 0;            ///< registrations of this slot, modulo 2^16
  uint16_t tag = 0;             ///< of its key: memory_key.h
  uint8_t page_shift = 0;
  RegionState state = RegionState::kFree;
  bool window = false;      ///< a memory window (memory_window.h)
  uint32_t parent = kNone;  ///< slot of the region that the window was bound to last
};

struct ListenerState {
  uint16_t port = 0;
  uint16_t backlog_limit = 0;
  uint16_t backlog_count = 0;
  uint16_t proven_count = 0;  ///< of backlog_count: Waiting::kProven
  bool in_use = false;
  bool flooded = false;                   ///< the second before was: OnCookieSent (listener.cc)
  List offered;                           ///< queue pairs in kOffered
  List half_open;                         ///< ... in SYN-RECEIVED, the oldest first
  uint64_t last_cookie_at = tcp::kNever;  ///< kNever: none was sent
  uint64_t second_began_at = 0;           ///< that `unanswered` counts
  uint32_t unanswered = 0;                ///< cookies sent that have not come back
  uint32_t repeats_saved = 64;            ///< eighths of a SYN-ACK: MayRepeatSynAck
  uint64_t repeats_saved_at = 0;          ///< when the last one for time was added
};

/// What somebody in the backlog waits for.
enum class Waiting : uint8_t {
  kSyn = 0,        ///< has sent a SYN, which is not answered: an idle queue pair
  kHandshake = 1,  ///< was answered by a queue pair that somebody else has got: to be proven
  kProven = 2,     ///< has acknowledged our SYN-ACK: an idle queue pair
};

/// A peer without a queue pair.
struct BacklogEntry {
  bool in_use = false;
  Waiting waiting = Waiting::kSyn;
  uint32_t listener = kNone;
  uint64_t arrived_at = 0;
  tcp::FourTuple tuple;
  tcp::Handshake handshake;  ///< kSyn: of the SYN alone
  // kProven: what the ACK said.
  uint16_t ack_window = 0;
  uint32_t ack_ts_value = 0;
};

/// A SYN that was answered by a cookie a moment ago.
struct AnsweredSyn {
  uint32_t tag = 0;  ///< hash of the 4-tuple and of its sequence number
  uint64_t at = 0;
};
inline constexpr uint32_t kAnsweredSyns = 64;

/// Slots of what is known of datagrams that a router may refuse: path_mtu.cc.
inline constexpr uint32_t kDatagramsSent = 256;

/// Which part of a datagram a context is.
enum class DatagramPart : uint8_t {
  kWhole = 0,
  kSummed = 1,    ///< fetched for its sum alone
  kFragment = 2,  ///< leaves as a fragment
};

/// A part of a datagram that leaves in fragments.
struct DatagramFragment {
  uint32_t identification = 0;
  uint32_t offset = 0;           ///< of UDP header and payload
  uint32_t datagram_length = 0;  ///< payload bytes of all parts
  uint16_t sum = 0;              ///< of them
};

/// A segment or datagram between the scheduler and the wire: its payload is being fetched.
struct TransmitContext {
  Link link;  ///< free list, or the queue pair's refused frames
  uint32_t qp = kNone;
  uint32_t payload = 0;
  uint32_t length = 0;        ///< bytes of the payload
  uint32_t segment_size = 0;  ///< TCP: as FrameOut's
  uint32_t wqe_index = 0;
  uint32_t sum = 0;
  uint64_t started_at = 0;
  bool last_of_message = false;
  bool retransmission = false;
  bool ecn_capable = false;    ///< TCP: travels as ECT(0)
  bool header_is_new = false;  ///< TCP: nothing has happened since it was made
  tcp::Header header;          ///< TCP
  ipv6::Address peer_address;  ///< UDP
  uint16_t peer_port = 0;
  uint8_t wqe_flags = 0;
  DatagramPart part = DatagramPart::kWhole;
  DatagramFragment fragment;     ///< not of kWhole
  bool is_request_less = false;  ///< TCP: its text is no work request's
  bool seal = false;             ///< RDMA: a whole FPDU, whose end is put behind what was fetched
  bool seal_crc = false;         ///< ... with a CRC
  uint32_t head_crc = 0;         ///< of `framing_header`
  uint8_t framing_bytes = 0;     ///< TCP: of `framing_header`, in front of the payload
  uint8_t framing_header[FramingState::kMostHeaderBytes] = {};
};

/// A received segment or datagram whose text is being placed.
struct ReceiveContext {
  Link link;  ///< free list, or the queue pair's placement list
  uint32_t qp = kNone;
  uint32_t frame = 0;
  uint32_t offset = 0;           ///< in the frame, of the next byte to issue
  uint32_t remaining = 0;        ///< bytes not yet issued
  uint32_t in_flight = 0;        ///< bytes of the operation under way (0: none)
  uint32_t stripped = 0;         ///< bytes of headers in front of them
  tcp::SequenceNumber sequence;  ///< TCP: of the byte at `offset`
  uint32_t wqe_index = 0;        ///< the WQE that operation goes to
  uint32_t slot = 0;             ///< a fragment: where its packet is put together
  uint32_t filled_after = 0;     ///< bytes of that WQE filled behind the operation
  bool push = false;
  bool detached = false;       ///< its connection is over: free it when the operation completes
  bool to_pool = false;        ///< that operation goes to the overflow pool
  bool held = false;           ///< text behind a gap, on its way to its place in the pool
  bool fills_wqe = false;      ///< that operation completes the WQE
  bool ends_message = false;   ///< its last byte is the last of a message
  bool issued = false;         ///< an operation is under way, perhaps one without bytes
  ipv6::Address peer_address;  ///< UDP
  uint16_t peer_port = 0;
};

struct PathMtuEntry;
struct ReassemblySlot;
struct LinkState;
struct Neighbour;
struct WaitingPacket;
struct RdmaState;
struct RdmaDelivery;

/// Where the table of `T` begins, bytes from the start of the arena.
template <typename T>
struct TableOffset {
  uint32_t bytes = 0;
};

/// The tables of the arena. How many entries each has, and what they begin as, is its row in
/// layout.cc.
struct Tables {
  TableOffset<QueuePair> queue_pairs;
  TableOffset<SendRecord> send_records;
  TableOffset<CompletionQueueState> completion_queues;
  TableOffset<Region> regions;
  TableOffset<uint64_t> page_entries;
  TableOffset<ListenerState> listeners;
  TableOffset<BacklogEntry> backlog;
  TableOffset<uint32_t> demux;   ///< first queue pair of each hash bucket
  TableOffset<uint32_t> timers;  ///< heap of queue pairs
  TableOffset<TransmitContext> transmit_contexts;
  TableOffset<ReceiveContext> receive_contexts;
  TableOffset<uint8_t> wqe_cache;
  TableOffset<ReassemblySlot> reassembly;
  TableOffset<tcp::HeldRange> held_ranges;
  TableOffset<tcp::SentRun> sent_runs;
  TableOffset<PathMtuEntry> path_mtus;
  TableOffset<LinkState> link;              ///< one entry, on Ethernet only
  TableOffset<Neighbour> neighbours;        ///< on Ethernet only, like the rest
  TableOffset<uint32_t> neighbour_buckets;  ///< first neighbour of each hash bucket
  TableOffset<WaitingPacket> waiting_packets;
  TableOffset<RdmaState> rdma;                ///< where there are RDMA queue pairs, as the next
  TableOffset<RdmaDelivery> rdma_deliveries;  ///< one a receive context
};

struct FirmwareState {
  uint32_t magic = 0;
  uint32_t next_fsm = 0;             ///< whose turn it is
  bool backlog_due = false;          ///< what somebody in a backlog waits for may be there
  uint32_t busy_doorbell_turns = 0;  ///< that have found doorbells, since the flag was read
  NicConfig config;
  ArenaBytes bytes;

  Tables tables;
  uint32_t demux_mask = 0;

  // Scheduler and lists.
  List active;  ///< have something to send, as they had before
  List fresh;   ///< have something to send, and had nothing
  uint32_t fresh_turns_in_a_row = 0;
  List batch;
  List drain;
  List refused;
  List free_transmit;
  List free_receive;
  List free_regions;           ///< the one that has been free longest first
  uint32_t rdma_touched = 0;   ///< entries of the table that were ever in use
  uint32_t rdma_free = kNone;  ///< of those, the first that is free
  uint32_t bound_regions = 0;  ///< of the others, those that are bound to a queue pair
  uint32_t windows = 0;        ///< memory windows that there are
  uint32_t quantum = 0;
  uint32_t timer_count = 0;
  uint32_t last_tcp_qp = kNone;  ///< demultiplexer's one-entry cache

  // Management.
  uint32_t command_producer = 0;
  uint32_t command_consumer = 0;
  uint32_t event_producer = 0;
  uint8_t command_stage = 0;  ///< CommandStage
  uint32_t command_region = kNone;
  uint32_t command_pages_done = 0;
  abi::Command command;

  // Secrets and rate limits.
  SipHashKey hash_key;
  SipHashKey isn_key;
  uint64_t icmp_tokens_at = 0;
  uint32_t icmp_tokens = 0;

  AnsweredSyn answered_syns[kAnsweredSyns];
  uint16_t datagrams_sent[kDatagramsSent] = {};  ///< when, in ticks; 0: never

  uint64_t reassembly_deadline = tcp::kNever;  ///< not later than any slot's
  uint64_t path_mtu_deadline = tcp::kNever;  ///< not later than any entry's; kNever: there is none

  uint64_t notifications = 0;
  uint32_t dma_under_way = 0;      ///< operations whose completion dma_poll has not returned
  uint32_t unfiled_timer = kNone;  ///< queue pair whose deadline is to be filed: timers.h
  uint64_t last_step_at = 0;
  uint64_t lists_stuck_since = 0;  ///< `drain` and `refused`: when one last moved on or grew
  uint64_t counters[abi::kCounterWords] = {};
};

enum CommandStage : uint8_t {
  kCommandIdle = 0,
  kCommandFetching = 1,
  kCommandPages = 2,     ///< page list on its way into the translation table
  kCommandCounters = 3,  ///< counters on their way to the host
};

/// Kind of a DMA operation, in the upper byte of its tag; the lower bytes hold an index + 1.
enum class Tag : uint32_t {
  kCommand = 1,
  kSendWqe = 2,
  kRecvWqe = 3,
  kTransmit = 4,
  kPlace = 5,
  kDrainRecords = 6,
  kDrainCopy = 7,
  kFragment = 8,
  kAnswer = 9,
};
constexpr uint32_t MakeTag(Tag kind, uint32_t index) {
  return (static_cast<uint32_t>(kind) << 24) | (index + 1);
}

/// The column that payload of a queue pair is charged to.
inline Variant PayloadVariant(abi::QpType type) {
  return type == abi::QpType::kUdp ? Variant::kDatagram : Variant::kData;
}

/// One arena, one step. The tables that every packet meets are looked up once.
struct Nic {
  Nic(void* arena, const Platform& platform, uint64_t now_ns)
      : base(static_cast<uint8_t*>(arena)),
        state(*static_cast<FirmwareState*>(arena)),
        hardware(platform, state.dma_under_way),
        now(now_ns),
        queue_pairs(Table(state.tables.queue_pairs)),
        receive_contexts(Table(state.tables.receive_contexts)),
        transmit_contexts(Table(state.tables.transmit_contexts)) {}

  uint8_t* const base;
  FirmwareState& state;
  const Hardware hardware;
  const uint64_t now;
  QueuePair* const queue_pairs;
  ReceiveContext* const receive_contexts;
  TransmitContext* const transmit_contexts;

  template <typename T>
  T* Table(uint32_t offset) const {
    return reinterpret_cast<T*>(base + offset);
  }
  template <typename T>
  T* Table(TableOffset<T> table) const {
    return Table<T>(table.bytes);
  }
  QueuePair& qp(uint32_t handle) const { return queue_pairs[handle]; }
  CompletionQueueState& cq(uint32_t handle) const {
    return Table(state.tables.completion_queues)[handle];
  }
  Region& region(uint32_t index) const { return Table(state.tables.regions)[index]; }
  ListenerState& listener(uint32_t index) const { return Table(state.tables.listeners)[index]; }
  BacklogEntry& backlog(uint32_t index) const { return Table(state.tables.backlog)[index]; }
  TransmitContext& transmit(uint32_t index) const { return transmit_contexts[index]; }
  ReceiveContext& receive(uint32_t index) const { return receive_contexts[index]; }
  SendRecord& record(const SendQueue& send, uint32_t index) const {
    const uint32_t mask = (1u << send.log2_depth) - 1;
    return Table<SendRecord>(send.records)[index & mask];
  }
  void Count(abi::NicCounter counter, uint64_t by = 1) const {
    state.counters[static_cast<uint32_t>(counter)] += by;
  }
  void Drop(abi::DropReason reason) const {
    state.counters[abi::kNicCounterCount + static_cast<uint32_t>(reason)] += 1;
    Trace(kTraceDrop, 0, static_cast<uint32_t>(reason), 0);
  }
  void Charge(Stage stage, Variant variant, uint32_t units = 0) const {
    hardware.Charge(stage, variant, units);
  }
  void Trace(TraceKind kind, uint32_t object, uint32_t from, uint32_t to) const {
    hardware.Trace({kind, object, from, to});
  }
};

/// The queue pair that the host names, or nullptr: handles come from outside, and one that the host
/// has let go of is none of its any more.
inline QueuePair* QueuePairOfHost(const Nic& nic, uint32_t handle) {
  if (handle >= nic.state.config.max_qps) return nullptr;
  QueuePair& q = nic.qp(handle);
  const bool there = q.state != QpState::kFree && !q.ending.orphaned && !q.ending.destroy_wanted;
  return there ? &q : nullptr;
}

/// What lies in a formatted arena, for those that only look: test benches, debuggers.
inline const FirmwareState& StateOf(const void* arena) {
  return *static_cast<const FirmwareState*>(arena);
}
inline const QueuePair& QueuePairOf(const void* arena, uint32_t handle) {
  const auto* table = static_cast<const uint8_t*>(arena) + StateOf(arena).tables.queue_pairs.bytes;
  return reinterpret_cast<const QueuePair*>(table)[handle];
}

inline ipv6::Address OwnAddress(const Nic& nic) {
  ipv6::Address address;
  std::memcpy(address.bytes, nic.state.config.address.bytes, sizeof(address.bytes));
  return address;
}

// How to reach the links of queue pairs and contexts (list.h).
template <auto kList>
struct QueuePairLink {
  const Nic& nic;
  Link& operator()(uint32_t handle) const { return nic.qp(handle).links.*kList; }
};
using ActiveLink = QueuePairLink<&QueuePairLinks::active>;
using BatchLink = QueuePairLink<&QueuePairLinks::batch>;
using ListenerLink = QueuePairLink<&QueuePairLinks::listener>;
using DrainLink = QueuePairLink<&QueuePairLinks::drain>;
using RefusedLink = QueuePairLink<&QueuePairLinks::refused>;

struct TransmitLink {
  const Nic& nic;
  Link& operator()(uint32_t index) const { return nic.transmit(index).link; }
};
struct RegionLink {
  const Nic& nic;
  Link& operator()(uint32_t index) const { return nic.region(index).link; }
};
struct ReceiveLink {
  const Nic& nic;
  Link& operator()(uint32_t index) const { return nic.receive(index).link; }
};

}  // namespace qpip::fw
