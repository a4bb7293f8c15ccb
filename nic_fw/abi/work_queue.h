// Work queues: rings of work queue entries (WQEs) in host memory, written by the host, fetched by
// the firmware over DMA ("Get WR" of the paper's Tables 2 and 3).
//
// A ring has a power-of-two number of entries of a power-of-two stride. Indices are free-running
// 32-bit counters; always mask the index. An entry belongs to the firmware from the doorbell that
// covers it until its completion (or that of a later entry of the same queue) has been polled.
#pragma once

#include <cstdint>
#include <type_traits>

namespace qpip::abi {

/// An IPv6 address in network byte order.
struct Ip6Address {
  uint8_t bytes[16] = {};                                        ///< as in the IPv6 header
  constexpr bool operator==(const Ip6Address&) const = default;  ///< bytewise
};
static_assert(sizeof(Ip6Address) == 16);

/// One scatter/gather element. Host-written.
struct Sge {
  uint64_t address = 0;  ///< I/O virtual address inside the region that `key` names
  uint32_t length = 0;   ///< bytes
  uint32_t key = 0;      ///< local key of a memory region in the queue pair's protection domain
};
static_assert(sizeof(Sge) == 16 && std::is_trivially_copyable_v<Sge>);

/// Operation of a send WQE. All but kSend are for the `mpa` framing.
enum class SendOpcode : uint8_t {
  kSend = 1,
  kSendWithInvalidate = 2,  ///< `immediate`: the peer's key
  kRdmaWrite = 3,
  kRdmaWriteWithImmediate = 4,
  kRdmaRead = 5,           ///< at most kMaxReadSge elements
  kAtomicFetchAdd = 6,     ///< one element of 8 bytes; `operand`
  kAtomicCompareSwap = 7,  ///< likewise; `compare`, `operand`
  kLocalInvalidate = 8,    ///< `remote_key`: of this NIC; no bytes
  kBindWindow = 10,  ///< `immediate`: a key of the window; `remote_key`: the new one; `compare`: a
                     ///< region's key, AccessFlags << 32; from `remote_address` on, `operand` bytes
  kStartup = 9,      ///< MPA's Request or Reply: bytes as they are, in front of all FPDUs
};

/// Largest scatter list of a read.
inline constexpr uint32_t kMaxReadSge = 4;

/// Flags of a send WQE.
enum SendWqeFlags : uint8_t {
  kSendSignaled = 1u << 0,  ///< write a completion on success (errors always complete)
  kSendInline = 1u << 1,    ///< payload follows the header in the entry, `inline_length` bytes
  kSendUrgent = 1u << 2,    ///< TCP: the message ends urgent data (RFC 9293 3.8.5)
  kSendFence = 1u << 3,     ///< RDMA: not before all reads and atomic operations posted earlier are
                            ///< done
  kSendSolicited = 1u << 4,  ///< RDMA: a Send asks for an event at the peer
};

/// Largest scatter/gather list of one work request.
inline constexpr uint32_t kMaxSge = 16;

/// Host memory in which one fragmented packet is put together: the largest fragmentable part.
inline constexpr uint32_t kReassemblySlotBytes = 65536;

/// Header of a send WQE; `sge_count` `Sge`s or `inline_length` bytes follow it in the entry.
struct SendWqe {
  uint8_t opcode = 0;            ///< SendOpcode
  uint8_t flags = 0;             ///< SendWqeFlags
  uint8_t sge_count = 0;         ///< elements, at most kMaxSge
  uint8_t reserved0 = 0;         ///< zero
  uint32_t length = 0;           ///< bytes of the whole message: the sum of the list
  uint16_t inline_length = 0;    ///< bytes of inline payload
  uint16_t peer_port = 0;        ///< UDP: destination port, host byte order
  uint32_t immediate = 0;        ///< RDMA: immediate data in network order, or a key
  Ip6Address peer_address = {};  ///< UDP: destination address
  uint64_t remote_address = 0;   ///< RDMA: peer's address
  uint32_t remote_key = 0;       ///< RDMA: peer's key
  uint32_t reserved1 = 0;        ///< zero
  uint64_t operand = 0;          ///< atomic operations: what is added, or put in
  uint64_t compare = 0;          ///< kAtomicCompareSwap
};
static_assert(sizeof(SendWqe) == 64 && std::is_trivially_copyable_v<SendWqe>);

/// Header of a receive WQE; `sge_count` `Sge`s follow it.
struct RecvWqe {
  uint8_t sge_count = 0;      ///< elements, at most kMaxSge
  uint8_t reserved0[3] = {};  ///< zero
  uint32_t length = 0;        ///< bytes the list can take
  uint64_t reserved1 = 0;     ///< zero
};
static_assert(sizeof(RecvWqe) == 16 && std::is_trivially_copyable_v<RecvWqe>);

/// Smallest power-of-two stride that holds a send WQE with the given limits.
constexpr uint32_t SendStride(uint32_t max_sge, uint32_t max_inline) {
  const uint32_t list = max_sge * static_cast<uint32_t>(sizeof(Sge));
  const uint32_t need =
      static_cast<uint32_t>(sizeof(SendWqe)) + (list > max_inline ? list : max_inline);
  uint32_t stride = 64;
  while (stride < need) stride <<= 1;
  return stride;
}

/// Smallest power-of-two stride that holds a receive WQE with the given limit.
constexpr uint32_t RecvStride(uint32_t max_sge) {
  const uint32_t need =
      static_cast<uint32_t>(sizeof(RecvWqe)) + max_sge * static_cast<uint32_t>(sizeof(Sge));
  uint32_t stride = 32;
  while (stride < need) stride <<= 1;
  return stride;
}

/// Largest entry either queue may have.
inline constexpr uint32_t kMaxWqeStride = 512;
static_assert(SendStride(kMaxSge, 0) <= kMaxWqeStride && RecvStride(kMaxSge) <= kMaxWqeStride);

}  // namespace qpip::abi
