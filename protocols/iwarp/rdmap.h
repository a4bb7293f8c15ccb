// RDMAP codec: operation codes and the headers that some messages have behind DDP's (RFC 5040
// section 4, RFC 7306 sections 4 to 6). Terminate's is in terminate.h.
//
// Everything is big-endian. Parse functions look at the first bytes of what they are given and
// refuse with a named reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/iwarp/ddp.h"

namespace qpip::iwarp {

inline constexpr uint8_t kRdmapVersion = 1;

/// Queues of untagged messages (RFC 6580, RFC 7306 section 10.2).
inline constexpr uint32_t kSendQueue = 0;
inline constexpr uint32_t kRequestQueue = 1;  ///< RDMA Read Requests and Atomic Requests
inline constexpr uint32_t kTerminateQueue = 2;
inline constexpr uint32_t kAtomicResponseQueue = 3;
inline constexpr uint32_t kQueues = 4;

inline constexpr size_t kReadRequestBytes = 28;
inline constexpr size_t kImmediateBytes = 8;
inline constexpr size_t kAtomicRequestBytes = 52;
inline constexpr size_t kAtomicResponseBytes = 12;

/// Messages. X(enumerator, code, "name")
#define QPIP_RDMAP_OPCODES(X)                                 \
  X(kWrite, 0, "write")                                       \
  X(kReadRequest, 1, "read_request")                          \
  X(kReadResponse, 2, "read_response")                        \
  X(kSend, 3, "send")                                         \
  X(kSendInvalidate, 4, "send_invalidate")                    \
  X(kSendSolicited, 5, "send_solicited")                      \
  X(kSendSolicitedInvalidate, 6, "send_solicited_invalidate") \
  X(kTerminate, 7, "terminate")                               \
  X(kImmediate, 8, "immediate")                               \
  X(kImmediateSolicited, 9, "immediate_solicited")            \
  X(kAtomicRequest, 10, "atomic_request")                     \
  X(kAtomicResponse, 11, "atomic_response")

#define QPIP_RDMAP_ENUMERATOR(name, code, text) name = code,
enum class Opcode : uint8_t { QPIP_RDMAP_OPCODES(QPIP_RDMAP_ENUMERATOR) };
#undef QPIP_RDMAP_ENUMERATOR

/// "write", "read_request", ...; "unknown" for a code that is reserved. Static.
const char* OpcodeName(Opcode opcode);
/// False for the codes 12 to 15.
constexpr bool IsKnown(Opcode opcode) { return opcode <= Opcode::kAtomicResponse; }
/// RFC 7306's.
constexpr bool IsExtension(Opcode opcode) {
  return opcode >= Opcode::kImmediate && opcode <= Opcode::kAtomicResponse;
}
constexpr bool IsTagged(Opcode opcode) {
  return opcode == Opcode::kWrite || opcode == Opcode::kReadResponse;
}
constexpr bool IsSend(Opcode opcode) {
  return opcode >= Opcode::kSend && opcode <= Opcode::kSendSolicitedInvalidate;
}
constexpr bool IsImmediate(Opcode opcode) {
  return opcode == Opcode::kImmediate || opcode == Opcode::kImmediateSolicited;
}
constexpr bool Invalidates(Opcode opcode) {
  return opcode == Opcode::kSendInvalidate || opcode == Opcode::kSendSolicitedInvalidate;
}
constexpr bool IsSolicited(Opcode opcode) {
  return opcode == Opcode::kSendSolicited || opcode == Opcode::kSendSolicitedInvalidate ||
         opcode == Opcode::kImmediateSolicited;
}
/// Of an untagged message.
constexpr uint32_t QueueOf(Opcode opcode) {
  if (opcode == Opcode::kReadRequest || opcode == Opcode::kAtomicRequest) return kRequestQueue;
  if (opcode == Opcode::kTerminate) return kTerminateQueue;
  return opcode == Opcode::kAtomicResponse ? kAtomicResponseQueue : kSendQueue;
}

/// The control field: | RV 2 | 00 | opcode 4 |
constexpr uint8_t RdmapControl(Opcode opcode, uint8_t version = kRdmapVersion) {
  return static_cast<uint8_t>(version << 6 | static_cast<uint8_t>(opcode));
}
constexpr uint8_t VersionOf(uint8_t control) { return control >> 6; }
constexpr Opcode OpcodeOf(uint8_t control) { return static_cast<Opcode>(control & 0x0f); }

/// Why a header behind DDP's was refused.
enum class RdmapError : uint8_t {
  kNone = 0,
  kTooShort,       ///< fewer bytes than the header has
  kUnknownAtomic,  ///< an atomic operation code other than fetch-add and compare-swap
};
const char* RdmapErrorName(RdmapError error);

/// RDMA Read Request (RFC 5040 section 4.4).
struct ReadRequest {
  uint32_t sink_stag = 0;  ///< comes back in the response, as does the next
  uint64_t sink_offset = 0;
  uint32_t length = 0;  ///< bytes to read, 0 to 2^32 - 1
  uint32_t source_stag = 0;
  uint64_t source_offset = 0;
  bool operator==(const ReadRequest&) const = default;
};
RdmapError ParseReadRequest(std::span<const uint8_t> bytes, ReadRequest* request);
void EmitReadRequest(const ReadRequest& request, std::span<uint8_t, kReadRequestBytes> out);

/// Immediate Data (RFC 7306 section 6.2).
RdmapError ParseImmediate(std::span<const uint8_t> bytes, uint64_t* data);
void EmitImmediate(uint64_t data, std::span<uint8_t, kImmediateBytes> out);

enum class AtomicOperation : uint8_t { kFetchAdd = 0, kCompareSwap = 2 };

/// Atomic Operation Request (RFC 7306 section 5.2.1), of 64 bits of memory.
struct AtomicRequest {
  AtomicOperation operation = AtomicOperation::kFetchAdd;
  uint32_t identifier = 0;  ///< comes back in the response
  uint32_t stag = 0;
  uint64_t offset = 0;   ///< tagged offset; the address is to be a multiple of 8
  uint64_t operand = 0;  ///< what is added, or put in
  uint64_t mask = 0;     ///< fetch-add: where carries end; compare-swap: the bits that change
  uint64_t compare = 0;  ///< compare-swap
  uint64_t compare_mask = ~uint64_t{0};  ///< compare-swap: the bits that count
  bool operator==(const AtomicRequest&) const = default;
};
RdmapError ParseAtomicRequest(std::span<const uint8_t> bytes, AtomicRequest* request);
void EmitAtomicRequest(const AtomicRequest& request, std::span<uint8_t, kAtomicRequestBytes> out);

/// Atomic Operation Response (5.2.2).
struct AtomicResponse {
  uint32_t identifier = 0;
  uint64_t original = 0;  ///< what was there before
  bool operator==(const AtomicResponse&) const = default;
};
RdmapError ParseAtomicResponse(std::span<const uint8_t> bytes, AtomicResponse* response);
void EmitAtomicResponse(const AtomicResponse& response,
                        std::span<uint8_t, kAtomicResponseBytes> out);

/// What memory holds after `request` when it held `original` (5.1.1, 5.1.2).
uint64_t ApplyAtomic(const AtomicRequest& request, uint64_t original);

}  // namespace qpip::iwarp
