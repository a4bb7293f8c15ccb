#include "protocols/nbd/client_message.h"

#include "protocols/common/byte_order.h"
#include "protocols/nbd/handshake.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd {

namespace {

constexpr size_t kMagicBytes = 4;

std::optional<ClientMessageShape> ShapeOfRequest(std::span<const uint8_t> bytes, Headers headers) {
  Request request;
  if (ParseRequest(bytes, &request, headers) != TransmissionError::kNone) return std::nullopt;
  return ClientMessageShape{RequestHeaderBytes(headers), RequestPayloadBytes(request, headers)};
}

}  // namespace

std::optional<ClientMessageShape> ShapeOfClientMessage(std::span<const uint8_t> bytes, bool first) {
  if (bytes.size() < kMagicBytes) return std::nullopt;
  if (first) return ClientMessageShape{kClientFlagsBytes, 0};
  switch (LoadBe32(bytes.data())) {
    case static_cast<uint32_t>(kOptionMagic >> 32): {
      OptionHeader header;
      if (bytes.size() < kOptionHeaderBytes) return std::nullopt;
      if (ParseOptionHeader(bytes, &header) != HandshakeError::kNone) break;
      return ClientMessageShape{kOptionHeaderBytes, header.length};
    }
    case kRequestMagic:
      return ShapeOfRequest(bytes, Headers::kCompact);
    case kExtendedRequestMagic:
      return ShapeOfRequest(bytes, Headers::kExtended);
    default:
      break;
  }
  return ClientMessageShape{0, bytes.size()};
}

}  // namespace qpip::nbd
