#include "protocols/iwarp/terminate.h"

#include "protocols/common/byte_order.h"

namespace qpip::iwarp {
namespace {

/// The bits of HdrCt, in the third octet.
constexpr uint8_t kHasLength = 0x80;
constexpr uint8_t kHasDdp = 0x40;
constexpr uint8_t kHasRequest = 0x20;

constexpr uint8_t kCatastrophicType = 0;  // RDMAP's: without a code
constexpr uint8_t kProtectionType = 1;

/// 4.8: "It MUST be present when the D bit is set."
bool LengthIsThere(const Terminate& terminate) { return terminate.has_length || terminate.has_ddp; }

}  // namespace

const char* CauseName(Cause cause) {
  switch (cause) {
    case Cause::kNone:
      return "none";
#define QPIP_TERMINATE_CASE(name, layer, type, code, text) \
  case Cause::name:                                        \
    return text;
      QPIP_TERMINATE_CAUSES(QPIP_TERMINATE_CASE)
#undef QPIP_TERMINATE_CASE
    case Cause::kUnknown:
      return "unknown";
  }
  return "invalid";
}

CauseCode CodeOf(Cause cause) {
  switch (cause) {
#define QPIP_TERMINATE_CASE(name, layer, type, code, text) \
  case Cause::name:                                        \
    return {layer, type, code};
    QPIP_TERMINATE_CAUSES(QPIP_TERMINATE_CASE)
#undef QPIP_TERMINATE_CASE
    case Cause::kNone:
    case Cause::kUnknown:
      break;
  }
  return {};
}

Cause CauseOf(const CauseCode& code) {
  if (code.layer == kLayerRdmap && code.type == kCatastrophicType) {
    return Cause::kRdmapCatastrophic;
  }
#define QPIP_TERMINATE_COMPARE(name, layer, type, number, text) \
  if (code == CauseCode{layer, type, number}) return Cause::name;
  QPIP_TERMINATE_CAUSES(QPIP_TERMINATE_COMPARE)
#undef QPIP_TERMINATE_COMPARE
  return Cause::kUnknown;
}

Cause GuessCause(const CauseCode& code) {
  const Cause cause = CauseOf(code);
  return cause != Cause::kUnknown ? cause : CauseOf({code.type, code.layer, code.code});
}

const char* TerminateErrorName(TerminateError error) {
  switch (error) {
    case TerminateError::kNone:
      return "none";
    case TerminateError::kTooShort:
      return "too_short";
    case TerminateError::kHeaderWithoutDdp:
      return "header_without_ddp";
    case TerminateError::kNotReadRequest:
      return "not_read_request";
  }
  return "unknown";
}

TerminateError ParseTerminate(std::span<const uint8_t> bytes, Terminate* terminate) {
  if (bytes.size() < kTerminateControlBytes) return TerminateError::kTooShort;
  *terminate = Terminate{};
  terminate->code = {static_cast<uint8_t>(bytes[0] >> 4), static_cast<uint8_t>(bytes[0] & 0x0f),
                     bytes[1]};
  terminate->has_length = (bytes[2] & kHasLength) != 0;
  terminate->has_ddp = (bytes[2] & kHasDdp) != 0;
  terminate->has_request = (bytes[2] & kHasRequest) != 0;
  if (terminate->has_request && !terminate->has_ddp) return TerminateError::kHeaderWithoutDdp;
  bytes = bytes.subspan(kTerminateControlBytes);
  if (LengthIsThere(*terminate)) {
    if (bytes.size() < 2) return TerminateError::kTooShort;
    terminate->segment_length = LoadBe16(bytes.data());
    bytes = bytes.subspan(2);
  }
  if (terminate->has_ddp) {
    // Of any version: that may be what it was refused for.
    if (ParseDdp(bytes, &terminate->ddp) == DdpError::kTooShort) return TerminateError::kTooShort;
    bytes = bytes.subspan(DdpHeaderBytes(terminate->ddp));
  }
  if (terminate->has_request) {
    if (terminate->ddp.tagged) return TerminateError::kNotReadRequest;
    if (ParseReadRequest(bytes, &terminate->request) != RdmapError::kNone) {
      return TerminateError::kTooShort;
    }
  }
  return TerminateError::kNone;
}

size_t TerminateBytes(const Terminate& terminate) {
  return kTerminateControlBytes + (LengthIsThere(terminate) ? 2 : 0) +
         (terminate.has_ddp ? DdpHeaderBytes(terminate.ddp) : 0) +
         (terminate.has_request ? kReadRequestBytes : 0);
}

size_t EmitTerminate(const Terminate& terminate, std::span<uint8_t> out) {
  out[0] = static_cast<uint8_t>(terminate.code.layer << 4 | terminate.code.type);
  out[1] = terminate.code.code;
  out[2] = static_cast<uint8_t>((terminate.has_length ? kHasLength : 0) |
                                (terminate.has_ddp ? kHasDdp : 0) |
                                (terminate.has_request ? kHasRequest : 0));
  out[3] = 0;
  size_t at = kTerminateControlBytes;
  if (LengthIsThere(terminate)) {
    StoreBe16(&out[at], terminate.segment_length);
    at += 2;
  }
  if (terminate.has_ddp) at += EmitDdp(terminate.ddp, out.subspan(at));
  if (terminate.has_request) {
    EmitReadRequest(terminate.request, out.subspan(at).first<kReadRequestBytes>());
    at += kReadRequestBytes;
  }
  return at;
}

Terminate MakeTerminate(Cause cause, const DdpHeader* ddp, uint16_t segment_length,
                        const ReadRequest* request) {
  Terminate terminate;
  terminate.code = CodeOf(cause);
  const bool rdmap = terminate.code.layer == kLayerRdmap;
  const bool catastrophic = terminate.code.type == kCatastrophicType;
  if (ddp == nullptr || terminate.code.layer == kLayerMpa || catastrophic) return terminate;
  terminate.has_length = true;
  terminate.has_ddp = true;
  terminate.segment_length = segment_length;
  terminate.ddp = *ddp;
  if (rdmap && terminate.code.type == kProtectionType && request != nullptr) {
    terminate.has_request = true;
    terminate.request = *request;
  }
  return terminate;
}

}  // namespace qpip::iwarp
