#include "protocols/vconn/message.h"

#include "protocols/common/byte_order.h"

namespace qpip::vconn {

const char* KindName(Kind kind) {
#define QPIP_VCONN_CASE(name, code, text) \
  case Kind::name:                        \
    return text;
  switch (kind) { QPIP_VCONN_KINDS(QPIP_VCONN_CASE) }
#undef QPIP_VCONN_CASE
  return "unknown";
}

const char* RefusalName(Refusal refusal) {
#define QPIP_VCONN_CASE(name, word, text) \
  case Refusal::name:                     \
    return word;
  switch (refusal) { QPIP_VCONN_REFUSALS(QPIP_VCONN_CASE) }
#undef QPIP_VCONN_CASE
  return "unknown";
}

const char* RefusalText(Refusal refusal) {
#define QPIP_VCONN_CASE(name, word, text) \
  case Refusal::name:                     \
    return text;
  switch (refusal) { QPIP_VCONN_REFUSALS(QPIP_VCONN_CASE) }
#undef QPIP_VCONN_CASE
  return "unknown";
}

Refusal ParseHeader(std::span<const uint8_t> bytes, uint64_t length, Header* header) {
  if (bytes.size() < kHeaderBytes || length < kHeaderBytes) return Refusal::kTooShort;
  Header parsed;
  parsed.kind = static_cast<Kind>(bytes[offset::kKind]);
  parsed.flags = bytes[offset::kFlags];
  parsed.credits = LoadBe16(&bytes[offset::kCredits]);
  parsed.request_bytes = LoadBe32(&bytes[offset::kRequestBytes]);
  parsed.data_bytes = LoadBe32(&bytes[offset::kDataBytes]);
  parsed.cookie = LoadBe64(&bytes[offset::kCookie]);
  if (parsed.kind < Kind::kHello || parsed.kind > Kind::kAnswer) return Refusal::kBadKind;
  const int allowed = parsed.kind == Kind::kAnswer ? int{kMore} : 0;
  if ((parsed.flags & ~allowed) != 0) return Refusal::kBadFlags;
  if (MessageBytes(parsed) != length) return Refusal::kBadLength;
  if (parsed.kind == Kind::kCredit && length != kHeaderBytes) return Refusal::kBadLength;
  *header = parsed;
  return Refusal::kNone;
}

void EmitHeader(const Header& header, std::span<uint8_t, kHeaderBytes> out) {
  out[offset::kKind] = static_cast<uint8_t>(header.kind);
  out[offset::kFlags] = header.flags;
  StoreBe16(&out[offset::kCredits], header.credits);
  StoreBe32(&out[offset::kRequestBytes], header.request_bytes);
  StoreBe32(&out[offset::kDataBytes], header.data_bytes);
  StoreBe64(&out[offset::kCookie], header.cookie);
}

Refusal ParseHello(std::span<const uint8_t> message, Limits* limits) {
  Header header;
  const Refusal refusal = ParseHeader(message, message.size(), &header);
  // Somebody else's first bytes are told as such, whatever is wrong with them as a header.
  if (refusal != Refusal::kNone || header.kind != Kind::kHello || header.cookie != kHelloCookie ||
      message.size() < kHelloBytes) {
    return Refusal::kNotHello;
  }
  if (LoadBe16(&message[offset::kVersion]) != kProtocolVersion) return Refusal::kBadVersion;
  const Limits said = {LoadBe16(&message[offset::kWindow]),
                       LoadBe32(&message[offset::kMessageBytes])};
  if (!InRange(said)) return Refusal::kBadLimits;
  *limits = said;
  return Refusal::kNone;
}

void EmitHello(const Limits& limits, std::span<uint8_t, kHelloBytes> out) {
  EmitHeader({Kind::kHello, 0, 0, kHelloBytes - kHeaderBytes, 0, kHelloCookie},
             out.first<kHeaderBytes>());
  StoreBe16(&out[offset::kVersion], kProtocolVersion);
  StoreBe16(&out[offset::kWindow], limits.window);
  StoreBe32(&out[offset::kMessageBytes], limits.message_bytes);
}

}  // namespace qpip::vconn
