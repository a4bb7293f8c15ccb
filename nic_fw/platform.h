// The firmware's only way out: a flat table of imports that a backend fills in.
//
// The firmware (nic_fw/) runs on a core that has an SRAM, a doorbell FIFO, DMA engines that reach
// host memory, and a link with a receive and a transmit engine. A backend supplies these as C
// functions: sim/lanai on a host thread in real time, sim/ns3 in virtual time, later an
// instruction-set simulator. The firmware never reads a clock: `now` is an argument of
// `qpip_fw_step`, and calls of the table made inside a step are stamped by the backend with `now`
// plus the cycles charged so far.
//
// Rules every backend keeps
//  * Asynchrony: an operation given a non-zero `tag` is finished only when `dma_poll` returns the
//    tag, never inside the call that starts it. A backend whose engines take no time says so
//    (`dma_at_once`): the tag is then there when that call returns, and the firmware asks for it in
//    the same handler instead of going round.
//  * Order: DMA operations of one direction (out of host memory, into it) complete in the order
//    they were issued; a NIC may have an engine for each. Posted writes (`dma_write` with
//    tag 0) become visible to the host after every earlier write and placement and before any
//    later one; `interrupt` is ordered behind them (as a PCI MSI write is).
//  * Capacity: at least `NicConfig::dma_slots` tagged operations may be outstanding; within that
//    the table's DMA calls are never refused. Posted writes are never refused.
//  * Memory order on shared words: `dma_read` observes everything the host wrote before it rang
//    the doorbell that caused the read (the host's store-release, the FIFO's acquire). The last
//    four bytes of a `dma_write` flagged kDmaPublish are stored last, with release order.
//    `host_load` is a load-acquire.
//  * Threads: the table is called from one thread at a time, the one that runs `qpip_fw_step`.
//
// Everything here is plain C layout, so that the same image can be linked for a bare 32-bit core.
#pragma once

#include <cstdint>

#include "nic_fw/abi/doorbell.h"

namespace qpip::fw {

/// The stages whose cycles are accounted: the rows of the paper's Tables 2 and 3, plus the ones
/// the tables leave out. X(enumerator, "name", is_receive_side)
#define QPIP_STAGES(X)                                      \
  X(kTxDoorbellProcess, "tx doorbell process", false)       \
  X(kTxSchedule, "tx schedule", false)                      \
  X(kTxGetWr, "tx get wr", false)                           \
  X(kTxGetData, "tx get data", false)                       \
  X(kTxBuildTransportHeader, "tx build tcp/udp hdr", false) \
  X(kTxBuildIpHeader, "tx build ip hdr", false)             \
  X(kTxSend, "tx send", false)                              \
  X(kTxUpdate, "tx update", false)                          \
  X(kRxDoorbellProcess, "rx doorbell process", true)        \
  X(kRxMediaReceive, "rx media rcv", true)                  \
  X(kRxIpParse, "rx ip parse", true)                        \
  X(kRxTransportParse, "rx tcp/udp parse", true)            \
  X(kRxGetWr, "rx get wr", true)                            \
  X(kRxPutData, "rx put data", true)                        \
  X(kRxUpdate, "rx update", true)                           \
  X(kChecksum, "firmware checksum", true)                   \
  X(kManagement, "management", false)                       \
  X(kTimer, "timer", false)

#define QPIP_STAGE_ENUMERATOR(name, text, receive) name,
enum class Stage : uint8_t { QPIP_STAGES(QPIP_STAGE_ENUMERATOR) kCount };
#undef QPIP_STAGE_ENUMERATOR
inline constexpr uint32_t kStageCount = static_cast<uint32_t>(Stage::kCount);

/// What a charged stage worked on: the two columns of the tables, and the rest.
///
/// What `units` of a charge counts: bytes of payload or of what is summed (kTxGetData, kTxSend,
/// kRxMediaReceive, kRxPutData, kChecksum), WQEs fetched (kTxGetWr, kRxGetWr), multiplications of
/// the RTT estimator (kRxTransportParse), work requests that an acknowledgement completed
/// (kRxUpdate of kAck and kDataAck); zero elsewhere.
enum class Variant : uint8_t {
  kData = 0,      ///< a segment or datagram with payload
  kAck = 1,       ///< a pure acknowledgement
  kDataAck = 2,   ///< a data segment that also acknowledges new data
  kControl = 3,   ///< SYN, FIN, RST, ICMP, commands
  kDatagram = 4,  ///< a UDP datagram
  kCount = 5,
};

/// One contiguous piece of host memory, already translated and checked. Without initial values: a
/// list of as many as there may be is not cleared for the one or two that are written.
struct DmaSegment {
  uint64_t address;   ///< DMA address
  uint32_t length;    ///< bytes
  uint32_t reserved;  ///< zero
};

/// Pieces one DMA operation may have; a longer list is cut into several operations.
inline constexpr uint32_t kMaxDmaSegments = 20;

/// Result of an operation with a tag.
struct DmaCompletion {
  uint32_t tag = 0;     ///< as given when it was started
  uint32_t status = 0;  ///< DmaStatus
  uint32_t sum = 0;     ///< kDmaSum: 16-bit one's complement sum of the bytes moved, not inverted,
                        ///< of the bytes as network-order 16-bit words, first byte high
};
enum DmaStatus : uint32_t {
  kDmaOk = 0,
  kDmaFault = 1,
  kDmaRevoked = 2,  ///< payload_place, frame_read: the frame's sender had taken its payload back
};

enum DmaFlags : uint32_t {
  kDmaSum = 1u << 0,      ///< return the Internet checksum of the payload (LANai's DMA could)
  kDmaPublish = 1u << 1,  ///< dma_write: store the last four bytes last, with release order
  kDmaCopy = 1u << 2,     ///< payload_fetch: the frame must not refer to host memory once
                          ///< `frame_send` has returned (datagrams: no lease)
};

/// A frame that the receive engine holds for the firmware.
struct FrameIn {
  const uint8_t* header = nullptr;  ///< first `header_length` bytes, readable by the core
  uint32_t header_length = 0;       ///< min(length, at least kMaxHeaderBytes)
  uint32_t length = 0;              ///< bytes of the whole frame, from the IPv6 header on
  uint32_t frame = 0;               ///< handle, 1 to 2^31 - 1; release with `frame_release`
  uint32_t flags = 0;               ///< FrameFlags
  uint32_t sum = 0;                 ///< kFrameSumValid: one's complement sum of bytes 40..length
};
enum FrameFlags : uint32_t {
  kFrameSumValid = 1u << 0,  ///< the receive engine summed the bytes behind the IPv6 header
  kFrameTrusted = 1u << 1,   ///< the wire vouches for the content: no checksum to verify
  kFramePeerDown = 1u << 2,  ///< no frame: `header` holds 16 bytes, the address of a port that
                             ///< died or detached; its connections are to be reset. The
                             ///< unspecified address: everybody's, the link itself is gone
};

/// Bytes of a received frame the core can read; IPv6 with extension headers and TCP fit.
inline constexpr uint32_t kMaxHeaderBytes = 256;

/// A frame to send: a header from SRAM and, behind it, a payload the DMA engine has fetched.
struct FrameOut {
  const void* header = nullptr;  ///< copied before the call returns
  uint32_t header_length = 0;    ///< at most 2048
  uint32_t payload = 0;          ///< handle from payload_fetch or payload_from_frame, or 0;
                                 ///< consumed unless the answer is kSendBusy or kSendStopped
  uint32_t segment_size = 0;     ///< TCP: the link engine cuts the payload into segments of so many
                                 ///< bytes and computes their checksums; 0: it does not. Only
                                 ///< where the backend offers it
  uint8_t link_address[6] = {};  ///< Ethernet: whom it goes to; the link engine writes the rest of
                                 ///< the link's header, and takes it off received frames
  uint32_t owner = 0;            ///< whose payload it is, for lease_revoke
};
enum SendStatus : uint32_t {
  kSendOk = 0,
  kSendBusy = 1,     ///< no room towards this destination now; try again later
  kSendNoRoute = 2,  ///< nobody has this address; the payload handle is consumed
  kSendStopped = 3,  ///< kSendBusy, and whoever is to make room has read nothing for long
};

/// A state transition or a work request's progress, for traces. `value` depends on `kind`.
struct TraceRecord {
  uint32_t kind = 0;    ///< TraceKind
  uint32_t object = 0;  ///< a handle, see TraceKind
  uint32_t from = 0;    ///< see TraceKind
  uint32_t to = 0;      ///< see TraceKind
};
enum TraceKind : uint32_t {
  kTraceTcpState = 1,         ///< object: QP; from, to: tcp::State
  kTraceQpState = 2,          ///< object: QP; from, to: QpState
  kTraceSendFetched = 3,      ///< object: QP; from: WQE index
  kTraceSendSent = 4,         ///< object: QP; from: WQE index (its last byte sent the first time)
  kTraceSendAcked = 5,        ///< object: QP; from: WQE index
  kTraceSendCompleted = 6,    ///< object: QP; from: WQE index; to: status
  kTraceRecvCompleted = 7,    ///< object: QP; from: WQE index; to: status
  kTraceDrop = 8,             ///< from: DropReason
  kTraceSendPosted = 9,       ///< object: QP; from: producer index seen by the doorbell FSM
  kTraceNeighbourState = 10,  ///< object: index; from, to: NeighbourState
  kTraceAddressState = 11,    ///< from, to: AddressState
  kTraceSynsWaiting = 12,     ///< object: listener; from, to: how many wait for a queue pair
  kTraceCongestion = 13,      ///< object: QP; from: congestion window, bytes; to: smoothed round
                              ///< trip, us. After a segment has arrived or a timer fired
};

enum class InterruptKind : uint32_t { kCompletion = 0, kEvent = 1 };

/// The table. `charge` and `trace` may be null; all others are required.
struct Platform {
  void* context = nullptr;   ///< first argument of every call
  uint32_t dma_at_once = 0;  ///< not 0: what is started has finished when the call returns

  // --- Doorbell FIFO
  /// Takes the oldest doorbell. Returns 0 when the FIFO is empty.
  uint32_t (*doorbell_pop)(void* context, abi::Doorbell* out) = nullptr;
  /// Reads and clears the sticky overflow flag.
  uint32_t (*doorbell_overflowed)(void* context) = nullptr;

  // --- Host memory: control
  /// Starts a read of host memory into SRAM; `to` must stay untouched until completion.
  void (*dma_read)(void* context, uint64_t from, void* to, uint32_t length, uint32_t tag) = nullptr;
  /// Starts a write of SRAM to host memory. With tag 0 it is posted: at most 64 bytes, copied
  /// before the call returns, no completion.
  void (*dma_write)(void* context, uint64_t to, const void* from, uint32_t length, uint32_t tag,
                    uint32_t flags) = nullptr;
  /// Starts a copy inside host memory (overflow pool to a posted receive). Equal total lengths.
  void (*dma_copy)(void* context, const DmaSegment* from, uint32_t from_count, const DmaSegment* to,
                   uint32_t to_count, uint32_t tag) = nullptr;
  /// Load-acquire of an aligned 64-bit word of host memory (programmed I/O, slow on hardware).
  uint64_t (*host_load)(void* context, uint64_t address) = nullptr;
  /// Takes the oldest finished operation. Returns 0 when there is none.
  uint32_t (*dma_poll)(void* context, DmaCompletion* out) = nullptr;

  // --- Payload on its way out
  /// Whether `payload_fetch` would find a packet buffer now. Lets the transmit FSM leave a turn
  /// before it has spent anything on it; the backend steps the core when a buffer comes free.
  uint32_t (*payload_room)(void* context) = nullptr;
  /// Starts fetching payload from host memory. Returns a payload handle (not 0), or 0 when no
  /// packet buffer is free. With kDmaSum the completion carries the checksum. A backend may keep
  /// a reference instead of a copy: the memory must then stay unchanged until the frame's lease
  /// has ended.
  uint32_t (*payload_fetch)(void* context, const DmaSegment* from, uint32_t count, uint32_t flags,
                            uint32_t tag) = nullptr;
  /// Payload that is part of a received frame (echo, ICMP errors), synchronous. The frame may be
  /// released afterwards. `*sum` receives the bytes' checksum. Returns 0 when no buffer is free.
  uint32_t (*payload_from_frame)(void* context, uint32_t frame, uint32_t offset, uint32_t length,
                                 uint32_t* sum) = nullptr;
  /// Makes `payload` the NIC's own, for a packet that waits: `head_length` bytes of SRAM and,
  /// behind them, what was fetched, if `payload` is not 0, are in a packet buffer afterwards, and
  /// host memory may change. Returns the handle of both together; 0: no buffer is free, and
  /// `payload` is as it was. With bytes of SRAM only on Ethernet; without, a backend whose
  /// `payload_fetch` copies may answer 0 and do nothing.
  uint32_t (*payload_keep)(void* context, uint32_t payload, const void* head,
                           uint32_t head_length) = nullptr;
  /// Puts the end of an FPDU behind what was fetched: `pad` zero bytes, 0 to 3, and four bytes of
  /// CRC32C (RFC 5044 4.4). With `with_crc` that is of the bytes that `crc` is of, those fetched,
  /// and the pad; `payload` is the NIC's own then, so that nobody changes what was summed. Without,
  /// the four bytes are zero. Answers the CRC.
  uint32_t (*payload_seal)(void* context, uint32_t payload, uint32_t pad, uint32_t with_crc,
                           uint32_t crc) = nullptr;
  /// The CRC32C of bytes of host memory behind those that `crc` is of: the engine reads them and
  /// keeps nothing. For the rare FPDU that is not sent in one piece.
  uint32_t (*memory_crc)(void* context, const DmaSegment* from, uint32_t count,
                         uint32_t crc) = nullptr;
  /// Stores `desired` in an aligned 64-bit word of host memory if it holds `expected`, atomically
  /// towards the host's processors and other devices. Answers what it held.
  uint64_t (*host_swap)(void* context, uint64_t address, uint64_t expected,
                        uint64_t desired) = nullptr;
  /// Gives back a payload that was not sent.
  void (*payload_release)(void* context, uint32_t payload) = nullptr;

  // --- Link
  /// Sends one IPv6 packet to whoever owns its destination address. `*lease` receives a
  /// token that is not 0 when the wire refers to the payload's host memory rather than a copy.
  uint32_t (*frame_send)(void* context, const FrameOut* frame, uint64_t* lease) = nullptr;
  /// Whether the wire may still read the host memory behind `lease`: 0, no; otherwise one more than
  /// the milliseconds for which the frame's receiver has read nothing of what waits for it. Leases
  /// of one destination end in the order they were given, so the last one of a queue pair covers
  /// all before it.
  uint32_t (*lease_pending)(void* context, uint64_t lease) = nullptr;
  /// Ends what `owner`'s frames up to the one behind `lease` refer to, without waiting for their
  /// receivers: the memory may change afterwards, and a receiver that comes to it later delivers
  /// nothing of it (kDmaRevoked there).
  void (*lease_revoke)(void* context, uint64_t lease, uint32_t owner) = nullptr;
  /// Takes the oldest received frame or link event. Returns 0 when there is none.
  uint32_t (*frame_poll)(void* context, FrameIn* out) = nullptr;
  /// Starts moving `to`'s total length of bytes of a received frame, from `offset`, to host memory.
  void (*payload_place)(void* context, uint32_t frame, uint32_t offset, const DmaSegment* to,
                        uint32_t count, uint32_t tag) = nullptr;
  /// One's complement sum over a part of a received frame, computed by the core itself.
  uint32_t (*frame_sum)(void* context, uint32_t frame, uint32_t offset, uint32_t length) = nullptr;
  /// The CRC32C of a part of a received frame behind the bytes that `crc` is of.
  uint32_t (*frame_crc)(void* context, uint32_t frame, uint32_t offset, uint32_t length,
                        uint32_t crc) = nullptr;
  /// Reads a few bytes of a received frame into SRAM, done by the core itself, synchronous. Answers
  /// DmaStatus.
  uint32_t (*frame_read)(void* context, uint32_t frame, uint32_t offset, uint32_t length,
                         void* to) = nullptr;
  /// Returns the frame's buffer to the receive engine.
  void (*frame_release)(void* context, uint32_t frame) = nullptr;

  // --- Events to the host, randomness, accounting
  /// `kind`: InterruptKind; `object`: the CQ.
  void (*interrupt)(void* context, uint32_t kind, uint32_t object) = nullptr;
  uint64_t (*random)(void* context) = nullptr;  ///< not guessable: keys and ISNs depend on it
  /// Marks the end of a stage. Virtual time spends the profile's cost; real time attributes the
  /// cycles since the previous mark. `units` is a byte or item count where cost depends on it.
  void (*charge)(void* context, Stage stage, Variant variant, uint32_t units) = nullptr;
  void (*trace)(void* context, const TraceRecord* record) = nullptr;  ///< `record` is the caller's
};

}  // namespace qpip::fw
