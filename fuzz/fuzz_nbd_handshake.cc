// NBD handshake: every structure's parser on the same bytes; what one accepts emits again to bytes
// that parse to the same values, and texts are views into the input.
#include <array>

#include "property.h"
#include "protocols/nbd/handshake.h"

namespace {

using namespace qpip::nbd;
using qpip::fuzz::SameBytes;
using Bytes = std::span<const uint8_t>;

Bytes AsBytes(Text text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

bool Inside(Text text, Bytes bytes) {
  return text.size() <= kMaxNameBytes &&
         (text.empty() || (AsBytes(text).data() >= bytes.data() &&
                           AsBytes(text).data() + text.size() <= bytes.data() + bytes.size()));
}

void Fixed(Bytes bytes) {
  Greeting greeting;
  if (ParseGreeting(bytes, &greeting) == HandshakeError::kNone) {
    std::array<uint8_t, kGreetingBytes> out;
    EmitGreeting(greeting, out);
    QPIP_FUZZ_CHECK(SameBytes(out, bytes.first(out.size())));
  }
  uint32_t flags = 0;
  if (ParseClientFlags(bytes, &flags) == HandshakeError::kNone) {
    std::array<uint8_t, kClientFlagsBytes> out;
    EmitClientFlags(flags, out);
    QPIP_FUZZ_CHECK(SameBytes(out, bytes.first(out.size())));
  }
  OptionHeader option;
  if (ParseOptionHeader(bytes, &option) == HandshakeError::kNone) {
    std::array<uint8_t, kOptionHeaderBytes> out;
    EmitOptionHeader(option, out);
    QPIP_FUZZ_CHECK(SameBytes(out, bytes.first(out.size())));
    QPIP_FUZZ_CHECK(OptionName(option.option) != nullptr);
  }
  OptionReplyHeader reply;
  if (ParseOptionReplyHeader(bytes, &reply) == HandshakeError::kNone) {
    std::array<uint8_t, kOptionReplyHeaderBytes> out;
    EmitOptionReplyHeader(reply, out);
    QPIP_FUZZ_CHECK(SameBytes(out, bytes.first(out.size())));
    QPIP_FUZZ_CHECK(ReplyName(reply.reply) != nullptr);
  }
  ExportNameReply export_reply;
  if (ParseExportNameReply(bytes, &export_reply) == HandshakeError::kNone) {
    std::array<uint8_t, ExportNameReplySize(false)> out;
    QPIP_FUZZ_CHECK(EmitExportNameReply(export_reply, false, out) == out.size());
    QPIP_FUZZ_CHECK(
        SameBytes(std::span(out).first(kExportNameReplyBytes), bytes.first(kExportNameReplyBytes)));
  }
}

void Infos(Bytes bytes) {
  ExportInfo info;
  if (ParseExportInfo(bytes, &info) == HandshakeError::kNone) {
    std::array<uint8_t, kExportInfoBytes> out;
    EmitExportInfo(info, out);
    QPIP_FUZZ_CHECK(SameBytes(out, bytes));
  }
  BlockSizeInfo sizes;
  if (ParseBlockSizeInfo(bytes, &sizes) == HandshakeError::kNone) {
    QPIP_FUZZ_CHECK(sizes.minimum <= sizes.preferred && sizes.preferred <= sizes.maximum);
    std::array<uint8_t, kBlockSizeInfoBytes> out;
    EmitBlockSizeInfo(sizes, out);
    QPIP_FUZZ_CHECK(SameBytes(out, bytes));
  }
  for (const InfoType type : {kInfoName, kInfoDescription}) {
    Text text;
    if (ParseTextInfo(bytes, type, &text) == HandshakeError::kNone) {
      QPIP_FUZZ_CHECK(Inside(text, bytes));
      std::vector<uint8_t> out(TextInfoSize(text));
      QPIP_FUZZ_CHECK(EmitTextInfo(type, text, out) == out.size());
      QPIP_FUZZ_CHECK(SameBytes(out, bytes));
    }
  }
}

void Lists(Bytes bytes) {
  InfoRequest request;
  if (ParseInfoRequest(bytes, &request) == HandshakeError::kNone) {
    QPIP_FUZZ_CHECK(Inside(request.name, bytes));
    // Types are a set, and unknown ones are dropped: shorter perhaps, but of the same meaning.
    std::vector<uint8_t> out(InfoRequestSize(request));
    QPIP_FUZZ_CHECK(EmitInfoRequest(request, out) == out.size());
    QPIP_FUZZ_CHECK(out.size() <= bytes.size());
    InfoRequest again;
    QPIP_FUZZ_CHECK(ParseInfoRequest(out, &again) == HandshakeError::kNone);
    QPIP_FUZZ_CHECK(again.wanted == request.wanted);
    QPIP_FUZZ_CHECK(SameBytes(AsBytes(again.name), AsBytes(request.name)));
  }
  ServerEntry entry;
  if (ParseServerEntry(bytes, &entry) == HandshakeError::kNone) {
    QPIP_FUZZ_CHECK(Inside(entry.name, bytes) && Inside(entry.description, bytes));
    std::vector<uint8_t> out(ServerEntrySize(entry));
    QPIP_FUZZ_CHECK(EmitServerEntry(entry, out) == out.size());
    QPIP_FUZZ_CHECK(SameBytes(out, bytes));
  }
  Text name;
  if (ParseExportName(bytes, &name) == HandshakeError::kNone) {
    QPIP_FUZZ_CHECK(Inside(name, bytes) && name.size() == bytes.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data, size});
  Fixed(bytes);
  Infos(bytes);
  Lists(bytes);
  return 0;
}
