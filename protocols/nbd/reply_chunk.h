// NBD reply chunks: structured replies and extended headers (NBD project, doc/proto.md, "Structured
// reply chunk message"; extended headers: the branch extension-ext-header, "Extended reply chunk
// message"). A reply is one or more chunks, the last of which says so:
//
//     server ── ReplyChunk + offset + data ──────────> client    offset_data
//     server ── ReplyChunk + offset + size ──────────> client    offset_hole
//     server ── ReplyChunk + id + extents ───────────> client    block_status, block_status_ext
//     server ── ReplyChunk + error + text (+ offset) > client    error, error_offset
//
// Everything is big-endian. All functions are pure and reentrant; nothing is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/nbd/handshake.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd {

inline constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;
inline constexpr uint32_t kExtendedReplyMagic = 0x6e8a278c;

/// What a chunk carries. X(enumerator, value, "name")
#define QPIP_NBD_CHUNKS(X)                       \
  X(kChunkNone, 0, "none")                       \
  X(kChunkOffsetData, 1, "offset_data")          \
  X(kChunkOffsetHole, 2, "offset_hole")          \
  X(kChunkBlockStatus, 5, "block_status")        \
  X(kChunkBlockStatusExt, 6, "block_status_ext") \
  X(kChunkError, 0x8001, "error")                \
  X(kChunkErrorOffset, 0x8002, "error_offset")

#define QPIP_NBD_ENUMERATOR(name, value, text) name = value,
enum ChunkType : uint16_t { QPIP_NBD_CHUNKS(QPIP_NBD_ENUMERATOR) };
#undef QPIP_NBD_ENUMERATOR
/// "offset_data", ...; "unknown". Static.
const char* ChunkTypeName(uint16_t type);
constexpr bool IsErrorChunk(uint16_t type) { return (type & 0x8000u) != 0; }

/// ReplyChunk.flags
inline constexpr uint16_t kChunkDone = 1u << 0;  ///< no more chunks of this reply

struct ReplyChunk {
  uint16_t flags = 0;   ///< kChunkDone
  uint16_t type = 0;    ///< ChunkType
  uint64_t cookie = 0;  ///< the request's
  uint64_t offset = 0;  ///< the request's; on the wire only with extended headers
  uint64_t length = 0;  ///< bytes of payload behind the header
};
inline constexpr size_t kStructuredReplyBytes = 20;
inline constexpr size_t kExtendedReplyBytes = 32;
constexpr size_t ReplyChunkBytes(Headers headers) {
  return headers == Headers::kExtended ? kExtendedReplyBytes : kStructuredReplyBytes;
}
TransmissionError ParseReplyChunk(std::span<const uint8_t> bytes, Headers headers,
                                  ReplyChunk* chunk);
/// Writes ReplyChunkBytes(headers) bytes and returns that number; `out` must hold them.
size_t EmitReplyChunk(const ReplyChunk& chunk, Headers headers, std::span<uint8_t> out);

// --- Payloads

/// kChunkOffsetData: where the data that follows lies in the export.
inline constexpr size_t kOffsetBytes = 8;
void EmitOffset(uint64_t offset, std::span<uint8_t, kOffsetBytes> out);

/// kChunkOffsetHole: zeroes that are not sent.
struct HoleChunk {
  uint64_t offset = 0;  ///< in the export
  uint32_t length = 0;  ///< bytes, at least 1
};
inline constexpr size_t kHoleChunkBytes = 12;
TransmissionError ParseHoleChunk(std::span<const uint8_t> payload, HoleChunk* hole);
void EmitHoleChunk(const HoleChunk& hole, std::span<uint8_t, kHoleChunkBytes> out);

/// kChunkError and kChunkErrorOffset.
struct ErrorChunk {
  uint32_t error = 0;   ///< WireError, never kErrorNone
  Text message;         ///< for people; may be empty, at most kMaxNameBytes
  uint64_t offset = 0;  ///< kChunkErrorOffset: the first byte that failed
};
/// `type`: the chunk's. Other error types are taken for kChunkError, which they begin like.
TransmissionError ParseErrorChunk(std::span<const uint8_t> payload, uint16_t type,
                                  ErrorChunk* error);
constexpr size_t ErrorChunkSize(const ErrorChunk& error, ChunkType type) {
  return 6 + error.message.size() + (type == kChunkErrorOffset ? 8 : 0);
}
/// Writes ErrorChunkSize bytes and returns that number; `out` must hold them.
size_t EmitErrorChunk(const ErrorChunk& error, ChunkType type, std::span<uint8_t> out);

/// One extent of kChunkBlockStatus and kChunkBlockStatusExt.
struct StatusExtent {
  uint64_t length = 0;  ///< bytes, at least 1; 32 bits in kChunkBlockStatus
  uint64_t flags = 0;   ///< of the context; 32 bits in kChunkBlockStatus
};
/// Flags of the context base:allocation.
inline constexpr uint32_t kStateHole = 1u << 0;
inline constexpr uint32_t kStateZero = 1u << 1;

/// A payload of block status, looked at in place.
class BlockStatusView {
 public:
  uint32_t context() const { return context_; }
  size_t size() const { return extents_.size() / extent_bytes_; }
  StatusExtent at(size_t index) const;

 private:
  friend TransmissionError ParseBlockStatus(std::span<const uint8_t> payload, ChunkType type,
                                            BlockStatusView* view);
  uint32_t context_ = 0;
  size_t extent_bytes_ = 8;
  std::span<const uint8_t> extents_;
};
/// `type`: kChunkBlockStatus or kChunkBlockStatusExt. Refused: no extent, one of no length, bytes
/// left over, a count that is another.
TransmissionError ParseBlockStatus(std::span<const uint8_t> payload, ChunkType type,
                                   BlockStatusView* view);
constexpr size_t BlockStatusSize(size_t extents, ChunkType type) {
  return type == kChunkBlockStatusExt ? 8 + 16 * extents : 4 + 8 * extents;
}
/// Writes BlockStatusSize bytes and returns that number; `out` must hold them.
size_t EmitBlockStatus(uint32_t context, std::span<const StatusExtent> extents, ChunkType type,
                       std::span<uint8_t> out);

}  // namespace qpip::nbd
