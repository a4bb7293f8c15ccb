// NBD transmission: requests and replies emit to their bytes, and no request that passes the
// server's check reaches beyond the export.
#include <array>

#include "property.h"
#include "protocols/nbd/transmission.h"

namespace {

using namespace qpip::nbd;

void Check(const Request& request, const ExportLimits& limits) {
  const WireError error = CheckRequest(request, limits);
  QPIP_FUZZ_CHECK(std::strcmp(WireErrorName(error), "unknown") != 0);
  if (error != kErrorNone || request.command == kCommandDisconnect) {
    return;
  }
  QPIP_FUZZ_CHECK(request.offset <= limits.size_bytes);
  QPIP_FUZZ_CHECK(request.length <= limits.size_bytes - request.offset);
  QPIP_FUZZ_CHECK(RequestPayloadBytes(request, limits.headers) <= limits.max_payload_bytes);
  if ((limits.transmission_flags & kReadOnly) != 0) {
    QPIP_FUZZ_CHECK(request.command == kCommandRead || request.command == kCommandFlush ||
                    request.command == kCommandCache || request.command == kCommandBlockStatus);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) {
    return 0;
  }
  ExportLimits limits = {
      .size_bytes = uint64_t{data[0]} << (data[1] % 57),
      .transmission_flags = static_cast<uint16_t>(data[2] << 8 | data[3]),
      .max_payload_bytes = 65536,
      .block_status = data[1] > 127,
  };
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data + 4, size - 4});
  Request request;
  if (ParseRequest(bytes, &request) == TransmissionError::kNone) {
    std::array<uint8_t, kRequestBytes> out;
    EmitRequest(request, out);
    QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, std::span(bytes).first(out.size())));
    QPIP_FUZZ_CHECK(CommandName(request.command) != nullptr);
    Check(request, limits);
  }
  limits.headers = Headers::kExtended;
  if (ParseRequest(bytes, &request, Headers::kExtended) == TransmissionError::kNone) {
    std::array<uint8_t, kExtendedRequestBytes> out;
    EmitExtendedRequest(request, out);
    QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, std::span(bytes).first(out.size())));
    Check(request, limits);
  }
  SimpleReply reply;
  if (ParseSimpleReply(bytes, &reply) == TransmissionError::kNone) {
    std::array<uint8_t, kSimpleReplyBytes> out;
    EmitSimpleReply(reply, out);
    QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, std::span(bytes).first(out.size())));
    // An error stays an error on the way through errno.
    QPIP_FUZZ_CHECK((ErrnoFromWireError(reply.error) == 0) == (reply.error == 0));
  }
  return 0;
}
