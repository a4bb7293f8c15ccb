#include "protocols/nbd/transmission.h"

#include "protocols/common/byte_order.h"

namespace qpip::nbd {
namespace {

/// Linux errno numbers that have no number of their own on the wire (asm-generic/errno*.h; this
/// layer compiles without host headers, and the host test compares them with <cerrno>).
enum LinuxErrno : int {
  kLinuxEacces = 13,
  kLinuxEfbig = 27,
  kLinuxErofs = 30,
  kLinuxEdquot = 122,
};

bool IsChange(uint16_t command) {
  return command == kCommandWrite || command == kCommandTrim || command == kCommandWriteZeroes;
}

/// The transmission flag that announces `command`, 0 when it needs none (kHasFlags is always set).
/// False: no server that announces by these flags speaks it.
bool FindAnnouncement(uint16_t command, const ExportLimits& limits, uint16_t* flag) {
  switch (command) {
    case kCommandBlockStatus:
      *flag = 0;
      return limits.block_status;
    case kCommandRead:
    case kCommandWrite:
    case kCommandDisconnect:
      *flag = 0;
      return true;
    case kCommandFlush:
      *flag = kSendFlush;
      return true;
    case kCommandTrim:
      *flag = kSendTrim;
      return true;
    case kCommandCache:
      *flag = kSendCache;
      return true;
    case kCommandWriteZeroes:
      *flag = kSendWriteZeroes;
      return true;
    default:  // resize is an experiment
      return false;
  }
}

/// Command flags that are valid with `command` on this export. A server must take FUA with any
/// command once it has announced it ("Request flags" of the specification).
uint16_t AllowedFlags(uint16_t command, const ExportLimits& limits) {
  const uint16_t transmission_flags = limits.transmission_flags;
  uint16_t allowed = 0;
  if ((transmission_flags & kSendFua) != 0) {
    allowed |= kCommandFua;
  }
  if (command == kCommandRead && (transmission_flags & kSendDf) != 0) {
    allowed |= kCommandDf;
  }
  if (command == kCommandBlockStatus) {
    allowed |= kCommandReqOne;
  }
  if (command == kCommandWrite && limits.headers == Headers::kExtended) {
    allowed |= kCommandPayloadLen;
  }
  if (command == kCommandWriteZeroes) {
    allowed |= kCommandNoHole;
    if ((transmission_flags & kSendFastZero) != 0) {
      allowed |= kCommandFastZero;
    }
  }
  return allowed;
}

/// What both kinds of request have between magic and length: 20 bytes.
void EmitMiddle(const Request& request, uint8_t* out) {
  StoreBe16(out, request.flags);
  StoreBe16(out + 2, request.command);
  StoreBe64(out + 4, request.cookie);
  StoreBe64(out + 12, request.offset);
}

}  // namespace

#define QPIP_NBD_CASE(name, value, text, ...) \
  case name:                                  \
    return text;

const char* CommandName(uint16_t command) {
  switch (command) {
    QPIP_NBD_COMMANDS(QPIP_NBD_CASE)
    default:
      return "unknown";
  }
}

const char* WireErrorName(uint32_t error) {
  switch (error) {
    QPIP_NBD_ERRORS(QPIP_NBD_CASE)
    default:
      return "unknown";
  }
}

#undef QPIP_NBD_CASE
#define QPIP_NBD_CASE(name, value, text, meaning) \
  case name:                                      \
    return meaning;

const char* WireErrorText(uint32_t error) {
  switch (error) {
    QPIP_NBD_ERRORS(QPIP_NBD_CASE)
    default:
      return "unknown error";
  }
}

#undef QPIP_NBD_CASE

const char* TransmissionErrorName(TransmissionError error) {
  switch (error) {
    case TransmissionError::kNone:
      return "none";
    case TransmissionError::kTooShort:
      return "too_short";
    case TransmissionError::kBadMagic:
      return "bad_magic";
    case TransmissionError::kBadLength:
      return "bad_length";
  }
  return "unknown";
}

TransmissionError ParseRequest(std::span<const uint8_t> bytes, Request* request, Headers headers) {
  if (bytes.size() < RequestHeaderBytes(headers)) {
    return TransmissionError::kTooShort;
  }
  const bool extended = headers == Headers::kExtended;
  if (LoadBe32(&bytes[0]) != (extended ? kExtendedRequestMagic : kRequestMagic)) {
    return TransmissionError::kBadMagic;
  }
  request->flags = LoadBe16(&bytes[4]);
  request->command = LoadBe16(&bytes[6]);
  request->cookie = LoadBe64(&bytes[8]);
  request->offset = LoadBe64(&bytes[16]);
  request->length = extended ? LoadBe64(&bytes[24]) : LoadBe32(&bytes[24]);
  return TransmissionError::kNone;
}

void EmitRequest(const Request& request, std::span<uint8_t, kRequestBytes> out) {
  StoreBe32(&out[0], kRequestMagic);
  EmitMiddle(request, &out[4]);
  StoreBe32(&out[24], static_cast<uint32_t>(request.length));
}

void EmitExtendedRequest(const Request& request, std::span<uint8_t, kExtendedRequestBytes> out) {
  StoreBe32(&out[0], kExtendedRequestMagic);
  EmitMiddle(request, &out[4]);
  StoreBe64(&out[24], request.length);
}

TransmissionError ParseSimpleReply(std::span<const uint8_t> bytes, SimpleReply* reply) {
  if (bytes.size() < kSimpleReplyBytes) {
    return TransmissionError::kTooShort;
  }
  if (LoadBe32(&bytes[0]) != kSimpleReplyMagic) {
    return TransmissionError::kBadMagic;
  }
  reply->error = LoadBe32(&bytes[4]);
  reply->cookie = LoadBe64(&bytes[8]);
  return TransmissionError::kNone;
}

void EmitSimpleReply(const SimpleReply& reply, std::span<uint8_t, kSimpleReplyBytes> out) {
  StoreBe32(&out[0], kSimpleReplyMagic);
  StoreBe32(&out[4], reply.error);
  StoreBe64(&out[8], reply.cookie);
}

WireError CheckRequest(const Request& request, const ExportLimits& limits) {
  if (request.command == kCommandDisconnect) {
    return kErrorNone;
  }
  uint16_t announcement = 0;
  if (!FindAnnouncement(request.command, limits, &announcement) ||
      (limits.transmission_flags & announcement) != announcement) {
    return kErrorInval;
  }
  if ((request.flags & ~AllowedFlags(request.command, limits)) != 0) {
    return kErrorInval;
  }
  if (IsChange(request.command) && (limits.transmission_flags & kReadOnly) != 0) {
    return kErrorPerm;
  }
  if (request.command == kCommandFlush) {  // offset and length are reserved, to be zero
    return request.offset == 0 && request.length == 0 ? kErrorNone : kErrorInval;
  }
  if (request.length == 0) {  // unspecified by the protocol: a client should not
    return kErrorInval;
  }
  const bool carries_payload = request.command == kCommandRead || request.command == kCommandWrite;
  if (carries_payload && request.length > limits.max_payload_bytes) {
    return kErrorInval;
  }
  if (request.offset > limits.size_bytes || request.length > limits.size_bytes - request.offset) {
    const bool writes = request.command == kCommandWrite || request.command == kCommandWriteZeroes;
    return writes ? kErrorNoSpc : kErrorInval;  // a trim past the end is no lack of space
  }
  return kErrorNone;
}

WireError WireErrorFromErrno(int system_errno, uint16_t command_flags) {
  switch (system_errno) {
    case kErrorNone:
    case kErrorPerm:
    case kErrorIo:
    case kErrorNoMem:
    case kErrorInval:
    case kErrorNoSpc:
    case kErrorShutdown:
      return static_cast<WireError>(system_errno);
    case kErrorOverflow:
      return (command_flags & kCommandDf) != 0 ? kErrorOverflow : kErrorInval;
    case kErrorNotSup:
      return (command_flags & kCommandFastZero) != 0 ? kErrorNotSup : kErrorInval;
    case kLinuxEacces:
    case kLinuxErofs:
      return kErrorPerm;
    case kLinuxEfbig:
    case kLinuxEdquot:
      return kErrorNoSpc;
    default:
      return kErrorIo;
  }
}

int ErrnoFromWireError(uint32_t wire_error) {
  switch (wire_error) {
    case kErrorNone:
    case kErrorPerm:
    case kErrorIo:
    case kErrorNoMem:
    case kErrorInval:
    case kErrorNoSpc:
    case kErrorOverflow:
    case kErrorNotSup:
    case kErrorShutdown:
      return static_cast<int>(wire_error);
    default:
      return kErrorInval;
  }
}

}  // namespace qpip::nbd
