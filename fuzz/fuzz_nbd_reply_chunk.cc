// NBD reply chunks and metadata contexts: what parses emits again to its bytes, and nothing looks
// behind the end.
#include <array>
#include <vector>

#include "property.h"
#include "protocols/nbd/meta_context.h"
#include "protocols/nbd/reply_chunk.h"

namespace {

using namespace qpip::nbd;
using qpip::fuzz::SameBytes;
using Bytes = std::span<const uint8_t>;

void Header(Bytes bytes) {
  for (const Headers headers : {Headers::kCompact, Headers::kExtended}) {
    ReplyChunk chunk;
    if (ParseReplyChunk(bytes, headers, &chunk) == TransmissionError::kNone) {
      std::vector<uint8_t> out(ReplyChunkBytes(headers));
      QPIP_FUZZ_CHECK(EmitReplyChunk(chunk, headers, out) == out.size());
      QPIP_FUZZ_CHECK(SameBytes(out, bytes.first(out.size())));
    }
  }
}

void Payloads(Bytes bytes) {
  HoleChunk hole;
  if (ParseHoleChunk(bytes, &hole) == TransmissionError::kNone) {
    std::array<uint8_t, kHoleChunkBytes> out;
    EmitHoleChunk(hole, out);
    QPIP_FUZZ_CHECK(SameBytes(out, bytes));
  }
  for (const ChunkType type : {kChunkError, kChunkErrorOffset}) {
    ErrorChunk error;
    if (ParseErrorChunk(bytes, type, &error) == TransmissionError::kNone) {
      std::vector<uint8_t> out(ErrorChunkSize(error, type));
      QPIP_FUZZ_CHECK(EmitErrorChunk(error, type, out) == out.size() && out.size() <= bytes.size());
    }
  }
  for (const ChunkType type : {kChunkBlockStatus, kChunkBlockStatusExt}) {
    BlockStatusView view;
    if (ParseBlockStatus(bytes, type, &view) == TransmissionError::kNone) {
      std::vector<StatusExtent> extents;
      for (size_t i = 0; i < view.size(); ++i) extents.push_back(view.at(i));
      std::vector<uint8_t> out(BlockStatusSize(extents.size(), type));
      QPIP_FUZZ_CHECK(EmitBlockStatus(view.context(), extents, type, out) == bytes.size());
      const size_t head = type == kChunkBlockStatusExt ? 8 : 4;  // whose count may be left out
      QPIP_FUZZ_CHECK(SameBytes(std::span(out).subspan(head), bytes.subspan(head)));
    }
  }
}

void Contexts(Bytes bytes) {
  MetaContextRequest request;
  if (ParseMetaContextRequest(bytes, &request) == HandshakeError::kNone) {
    std::vector<Text> queries;
    request.ForEachQuery([&](Text query) {
      queries.push_back(query);
      static constexpr char kName[] = "base:allocation";
      QueryMatches(query, {kName, sizeof kName - 1}, true);
    });
    std::vector<uint8_t> out(MetaContextRequestSize(request.export_name(), queries));
    QPIP_FUZZ_CHECK(EmitMetaContextRequest(request.export_name(), queries, out) == out.size());
    QPIP_FUZZ_CHECK(SameBytes(out, bytes));
  }
  MetaContext context;
  if (ParseMetaContext(bytes, &context) == HandshakeError::kNone) {
    std::vector<uint8_t> out(MetaContextSize(context));
    QPIP_FUZZ_CHECK(EmitMetaContext(context, out) == out.size() && SameBytes(out, bytes));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data, size});
  Header(bytes);
  Payloads(bytes);
  Contexts(bytes);
  return 0;
}
