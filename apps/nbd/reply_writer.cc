#include "apps/nbd/reply_writer.h"

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace qpip::nbd {

namespace {

std::span<const uint8_t> Bytes(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace

void ReplyWriter::Done(const Request& request, uint32_t error) {
  if (error != kErrorNone && chunks_) {
    return Error(request, kChunkError, 0, error, /*last=*/true);
  }
  if (chunks_ && (headers_ == Headers::kExtended || request.command == kCommandRead)) {
    const size_t bytes = EmitReplyChunk({kChunkDone, kChunkNone, request.cookie, request.offset, 0},
                                        headers_, header_);
    return transport_.Send(std::span(header_).first(bytes));
  }
  std::array<uint8_t, kSimpleReplyBytes> bytes = {};
  EmitSimpleReply({error, request.cookie}, bytes);
  transport_.Send(bytes);
}

std::span<const uint8_t> ReplyWriter::DataHeader(const Request& request, uint64_t offset,
                                                 size_t bytes, bool last) {
  if (!chunks_) {
    EmitSimpleReply({kErrorNone, request.cookie}, std::span(header_).first<kSimpleReplyBytes>());
    return std::span(header_).first(kSimpleReplyBytes);
  }
  const uint16_t flags = last ? kChunkDone : uint16_t{0};
  const size_t at = EmitReplyChunk(
      {flags, kChunkOffsetData, request.cookie, request.offset, kOffsetBytes + bytes}, headers_,
      header_);
  EmitOffset(offset, std::span(header_).subspan(at).first<kOffsetBytes>());
  return std::span(header_).first(at + kOffsetBytes);
}

uint64_t ReplyWriter::Data(const Request& request, uint64_t offset, std::span<const std::byte> data,
                           bool last) {
  return transport_.SendPayload(DataHeader(request, offset, data.size(), last), data);
}

void ReplyWriter::CopiedData(const Request& request, uint64_t offset,
                             std::span<const std::byte> data) {
  transport_.Send(DataHeader(request, offset, data.size(), /*last=*/true));
  transport_.Send(Bytes(data));
}

void ReplyWriter::Failed(const Request& request, uint64_t offset, uint32_t error, bool last) {
  Error(request, kChunkErrorOffset, offset, error, last);
}

void ReplyWriter::Error(const Request& request, ChunkType type, uint64_t offset, uint32_t error,
                        bool last) {
  const std::string_view text = WireErrorText(error);
  const ErrorChunk chunk = {error, {text.data(), text.size()}, offset};
  const size_t payload = ErrorChunkSize(chunk, type);
  std::array<uint8_t, kExtendedReplyBytes + 256> bytes;
  const uint16_t flags = last ? kChunkDone : uint16_t{0};
  const size_t at =
      EmitReplyChunk({flags, type, request.cookie, request.offset, payload}, headers_, bytes);
  EmitErrorChunk(chunk, type, std::span(bytes).subspan(at));
  transport_.Send(std::span(bytes).first(at + payload));
}

void ReplyWriter::Status(const Request& request, std::span<const StatusExtent> extents) {
  const ChunkType type = headers_ == Headers::kExtended ? kChunkBlockStatusExt : kChunkBlockStatus;
  const size_t payload = BlockStatusSize(extents.size(), type);
  std::vector<uint8_t> bytes(ReplyChunkBytes(headers_) + payload);
  const size_t at =
      EmitReplyChunk({kChunkDone, type, request.cookie, request.offset, payload}, headers_, bytes);
  EmitBlockStatus(kAllocationContext, extents, type, std::span(bytes).subspan(at));
  transport_.Send(bytes);
}

}  // namespace qpip::nbd
