// WireGuard's messages: what has a type's length parses, and emits again to the same bytes, macs
// apart.
#include <array>

#include "property.h"
#include "protocols/wireguard/message.h"

namespace {

using namespace qpip::wireguard;
using qpip::fuzz::SameBytes;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data, size});
  MessageType type = {};
  if (ParseType(bytes, &type) != ParseError::kNone) return 0;
  switch (type) {
    case MessageType::kInitiation: {
      std::array<uint8_t, kInitiationBytes> out;
      EmitInitiation(ParseInitiation(bytes), out);
      QPIP_FUZZ_CHECK(SameBytes(CoveredByMac1(out), CoveredByMac1(bytes)));
      break;
    }
    case MessageType::kResponse: {
      std::array<uint8_t, kResponseBytes> out;
      EmitResponse(ParseResponse(bytes), out);
      QPIP_FUZZ_CHECK(SameBytes(CoveredByMac1(out), CoveredByMac1(bytes)));
      break;
    }
    case MessageType::kCookieReply: {
      std::array<uint8_t, kCookieReplyBytes> out;
      EmitCookieReply(ParseCookieReply(bytes), out);
      QPIP_FUZZ_CHECK(SameBytes(out, bytes));
      break;
    }
    case MessageType::kData: {
      std::array<uint8_t, kDataHeaderBytes> out;
      EmitDataHeader(ParseDataHeader(bytes), out);
      QPIP_FUZZ_CHECK(SameBytes(out, Bytes(bytes).first(kDataHeaderBytes)));
      QPIP_FUZZ_CHECK(SealedPacket(bytes).size() == bytes.size() - kDataHeaderBytes);
      break;
    }
  }
  return 0;
}
