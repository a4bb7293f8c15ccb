// Completion queue entries (CQEs): written by the firmware over DMA, polled by the host.
//
// A completion queue is a power-of-two ring of 64-byte entries, one cache line each, so that a
// poll that finds nothing touches one line that stays in the processor's cache (paper section
// 5.1). The last word, `valid`, is stored last and with release order; it holds the lap number of
// the ring (index / size + 1), so the host needs no producer index and never clears an entry.
#pragma once

#include <cstdint>
#include <type_traits>

#include "nic_fw/abi/work_queue.h"

namespace qpip::abi {

/// What completed.
enum class CompletionOpcode : uint8_t {
  kSend = 0,
  kRecv = 1,
};

/// Status of a completion. Host_lib maps each to one `ibv_wc_status`.
enum class CompletionStatus : uint8_t {
  kSuccess = 0,
  kLocalLengthError = 1,       ///< message longer than the posted receive, or WQE over the limits
  kLocalProtectionError = 2,   ///< key, bounds, rights or protection domain refused the access
  kLocalQpOperationError = 3,  ///< malformed WQE: opcode, sge_count, zero length on TCP
  kRemoteAborted = 4,          ///< the peer sent RST, or its port died
  kRetryExceeded = 5,          ///< retransmissions exhausted, peer unreachable
  kFlushed = 6,                ///< outstanding when the queue pair left the connected state
  kResponseTimeout = 7,        ///< user time-out
  // RDMA: what a peer's Terminate says of the request.
  kRemoteAccessError = 8,     ///< key, bounds, rights
  kRemoteInvalidRequest = 9,  ///< no receive for it, or too short a one
  kRemoteOperationError = 10,
  kBadKey = 11,  ///< a local invalidate of what is none
};

/// One completion.
struct alignas(64) Cqe {
  uint32_t qp = 0;         ///< queue pair handle
  uint32_t wqe_index = 0;  ///< free-running index of the WQE; earlier send WQEs are done too
  uint32_t byte_length =
      0;  ///< bytes placed or sent; 0 with kSuccess on a TCP receive: end of stream
  uint32_t immediate = 0;        ///< kCqeImmediate: first half of the data, in network order
  uint8_t opcode = 0;            ///< CompletionOpcode
  uint8_t status = 0;            ///< CompletionStatus
  uint16_t peer_port = 0;        ///< UDP receive: source port, host byte order
  uint32_t vendor_error = 0;     ///< DropReason or detail, for diagnosis
  Ip6Address peer_address = {};  ///< UDP receive: source address
  uint32_t flags = 0;            ///< CqeFlags
  uint32_t key = 0;              ///< kCqeInvalidated
  uint32_t reserved[3] = {};     ///< zero
  uint32_t valid = 0;            ///< lap number, stored last
};
static_assert(sizeof(Cqe) == 64 && std::is_trivially_copyable_v<Cqe>);

/// Flags of a completion.
enum CqeFlags : uint32_t {
  kCqeEndOfStream = 1u << 0,  ///< the peer's FIN: no more data will come
  kCqeSolicited = 1u << 1,    ///< RDMA: the peer asks for an event
  kCqeInvalidated = 1u << 2,  ///< RDMA receive: the peer's Send has invalidated the key `key`
  kCqeImmediate = 1u << 3,    ///< RDMA receive: immediate data, and nothing else
};

/// The lap number that makes entry `index` (free-running) of a ring of 2^log2_size entries valid.
constexpr uint32_t CqeLap(uint32_t index, uint32_t log2_size) {
  return ((index >> log2_size) & 0x7fffffffu) + 1;
}

}  // namespace qpip::abi
