#include "protocols/nbd/reply_chunk.h"

#include "protocols/common/byte_order.h"

namespace qpip::nbd {

const char* ChunkTypeName(uint16_t type) {
#define QPIP_NBD_CASE(name, value, text) \
  case name:                             \
    return text;
  switch (type) {
    QPIP_NBD_CHUNKS(QPIP_NBD_CASE)
    default:
      return "unknown";
  }
#undef QPIP_NBD_CASE
}

TransmissionError ParseReplyChunk(std::span<const uint8_t> bytes, Headers headers,
                                  ReplyChunk* chunk) {
  if (bytes.size() < ReplyChunkBytes(headers)) {
    return TransmissionError::kTooShort;
  }
  const bool extended = headers == Headers::kExtended;
  if (LoadBe32(&bytes[0]) != (extended ? kExtendedReplyMagic : kStructuredReplyMagic)) {
    return TransmissionError::kBadMagic;
  }
  chunk->flags = LoadBe16(&bytes[4]);
  chunk->type = LoadBe16(&bytes[6]);
  chunk->cookie = LoadBe64(&bytes[8]);
  chunk->offset = extended ? LoadBe64(&bytes[16]) : 0;
  chunk->length = extended ? LoadBe64(&bytes[24]) : LoadBe32(&bytes[16]);
  return TransmissionError::kNone;
}

size_t EmitReplyChunk(const ReplyChunk& chunk, Headers headers, std::span<uint8_t> out) {
  const bool extended = headers == Headers::kExtended;
  StoreBe32(&out[0], extended ? kExtendedReplyMagic : kStructuredReplyMagic);
  StoreBe16(&out[4], chunk.flags);
  StoreBe16(&out[6], chunk.type);
  StoreBe64(&out[8], chunk.cookie);
  if (extended) {
    StoreBe64(&out[16], chunk.offset);
    StoreBe64(&out[24], chunk.length);
  } else {
    StoreBe32(&out[16], static_cast<uint32_t>(chunk.length));
  }
  return ReplyChunkBytes(headers);
}

void EmitOffset(uint64_t offset, std::span<uint8_t, kOffsetBytes> out) {
  StoreBe64(out.data(), offset);
}

TransmissionError ParseHoleChunk(std::span<const uint8_t> payload, HoleChunk* hole) {
  if (payload.size() != kHoleChunkBytes) {
    return TransmissionError::kBadLength;
  }
  hole->offset = LoadBe64(&payload[0]);
  hole->length = LoadBe32(&payload[8]);
  return hole->length != 0 ? TransmissionError::kNone : TransmissionError::kBadLength;
}

void EmitHoleChunk(const HoleChunk& hole, std::span<uint8_t, kHoleChunkBytes> out) {
  StoreBe64(&out[0], hole.offset);
  StoreBe32(&out[8], hole.length);
}

TransmissionError ParseErrorChunk(std::span<const uint8_t> payload, uint16_t type,
                                  ErrorChunk* error) {
  const size_t behind = type == kChunkErrorOffset ? 8 : 0;
  if (payload.size() < 6 + behind) {
    return TransmissionError::kBadLength;
  }
  const size_t text = LoadBe16(&payload[4]);
  if (text > kMaxNameBytes || text > payload.size() - 6 - behind) {
    return TransmissionError::kBadLength;
  }
  error->error = LoadBe32(&payload[0]);
  error->message = {reinterpret_cast<const char*>(payload.data()) + 6, text};
  error->offset = behind != 0 ? LoadBe64(&payload[6 + text]) : 0;
  return error->error != kErrorNone ? TransmissionError::kNone : TransmissionError::kBadLength;
}

size_t EmitErrorChunk(const ErrorChunk& error, ChunkType type, std::span<uint8_t> out) {
  const size_t text = error.message.size();
  StoreBe32(&out[0], error.error);
  StoreBe16(&out[4], static_cast<uint16_t>(text));
  if (text > 0) {
    __builtin_memcpy(&out[6], error.message.data(), text);
  }
  if (type == kChunkErrorOffset) {
    StoreBe64(&out[6 + text], error.offset);
  }
  return ErrorChunkSize(error, type);
}

StatusExtent BlockStatusView::at(size_t index) const {
  const uint8_t* const from = &extents_[index * extent_bytes_];
  if (extent_bytes_ == 16) {
    return {LoadBe64(from), LoadBe64(from + 8)};
  }
  return {LoadBe32(from), LoadBe32(from + 4)};
}

TransmissionError ParseBlockStatus(std::span<const uint8_t> payload, ChunkType type,
                                   BlockStatusView* view) {
  const bool wide = type == kChunkBlockStatusExt;
  const size_t head = wide ? 8 : 4;
  view->extent_bytes_ = wide ? 16 : 8;
  if (payload.size() <= head || ((payload.size() - head) & (view->extent_bytes_ - 1)) != 0) {
    return TransmissionError::kBadLength;
  }
  view->context_ = LoadBe32(&payload[0]);
  view->extents_ = payload.subspan(head);
  const uint32_t count = wide ? LoadBe32(&payload[4]) : 0;
  if (count != 0 && count != view->size()) {
    return TransmissionError::kBadLength;
  }
  for (size_t i = 0; i < view->size(); ++i) {
    if (view->at(i).length == 0) {
      return TransmissionError::kBadLength;
    }
  }
  return TransmissionError::kNone;
}

size_t EmitBlockStatus(uint32_t context, std::span<const StatusExtent> extents, ChunkType type,
                       std::span<uint8_t> out) {
  const bool wide = type == kChunkBlockStatusExt;
  StoreBe32(&out[0], context);
  size_t at = 4;
  if (wide) {
    StoreBe32(&out[4], static_cast<uint32_t>(extents.size()));
    at = 8;
  }
  for (const StatusExtent& extent : extents) {
    if (wide) {
      StoreBe64(&out[at], extent.length);
      StoreBe64(&out[at + 8], extent.flags);
      at += 16;
    } else {
      StoreBe32(&out[at], static_cast<uint32_t>(extent.length));
      StoreBe32(&out[at + 4], static_cast<uint32_t>(extent.flags));
      at += 8;
    }
  }
  return at;
}

}  // namespace qpip::nbd
