// NBD transmission codec: requests and simple replies (NBD project, doc/proto.md, "Transmission";
// extended headers: the branch extension-ext-header). Replies in chunks: reply_chunk.h.
//
// Everything is big-endian. Data of a WRITE follows its request, data of a READ follows its reply
// when that carries no error. All functions are pure and reentrant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::nbd {

inline constexpr uint32_t kRequestMagic = 0x25609513;
inline constexpr uint32_t kExtendedRequestMagic = 0x21e41c71;
inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;

/// Which headers the two sides have agreed on (NBD_OPT_EXTENDED_HEADERS).
enum class Headers : uint8_t { kCompact, kExtended };

/// Longest payload of one request that a client may send when no block sizes were negotiated.
inline constexpr uint32_t kDefaultMaxPayloadBytes = 32u << 20;
/// Longest payload that this server takes.
inline constexpr uint32_t kMaxPayloadBytes = 64u << 20;

/// What an export can do; part of the handshake's answer.
enum TransmissionFlags : uint16_t {
  kHasFlags = 1u << 0,  ///< always set
  kReadOnly = 1u << 1,
  kSendFlush = 1u << 2,
  kSendFua = 1u << 3,
  kRotational = 1u << 4,
  kSendTrim = 1u << 5,
  kSendWriteZeroes = 1u << 6,
  kSendDf = 1u << 7,
  kCanMultiConn = 1u << 8,  ///< FLUSH and FUA hold over all connections to the export
  kSendResize = 1u << 9,
  kSendCache = 1u << 10,
  kSendFastZero = 1u << 11,
};

/// Request types. X(enumerator, value, "name")
#define QPIP_NBD_COMMANDS(X)                \
  X(kCommandRead, 0, "read")                \
  X(kCommandWrite, 1, "write")              \
  X(kCommandDisconnect, 2, "disc")          \
  X(kCommandFlush, 3, "flush")              \
  X(kCommandTrim, 4, "trim")                \
  X(kCommandCache, 5, "cache")              \
  X(kCommandWriteZeroes, 6, "write_zeroes") \
  X(kCommandBlockStatus, 7, "block_status") \
  X(kCommandResize, 8, "resize")

/// Error numbers of replies; the protocol's own, though equal to Linux's. X(enumerator, value,
/// name, text)
#define QPIP_NBD_ERRORS(X)                                         \
  X(kErrorNone, 0, "ok", "success")                                \
  X(kErrorPerm, 1, "EPERM", "operation not permitted")             \
  X(kErrorIo, 5, "EIO", "input/output error")                      \
  X(kErrorNoMem, 12, "ENOMEM", "out of memory")                    \
  X(kErrorInval, 22, "EINVAL", "invalid request")                  \
  X(kErrorNoSpc, 28, "ENOSPC", "no space left on the device")      \
  X(kErrorOverflow, 75, "EOVERFLOW", "too long for one chunk")     \
  X(kErrorNotSup, 95, "ENOTSUP", "not faster than writing zeroes") \
  X(kErrorShutdown, 108, "ESHUTDOWN", "the server is shutting down")

#define QPIP_NBD_ENUMERATOR(name, value, ...) name = value,
enum Command : uint16_t { QPIP_NBD_COMMANDS(QPIP_NBD_ENUMERATOR) };
enum WireError : uint32_t { QPIP_NBD_ERRORS(QPIP_NBD_ENUMERATOR) };
#undef QPIP_NBD_ENUMERATOR

/// Request.flags
enum CommandFlags : uint16_t {
  kCommandFua = 1u << 0,         ///< on stable storage before the reply
  kCommandNoHole = 1u << 1,      ///< WRITE_ZEROES must not punch a hole
  kCommandDf = 1u << 2,          ///< READ: one chunk of content at most
  kCommandReqOne = 1u << 3,      ///< BLOCK_STATUS: one extent
  kCommandFastZero = 1u << 4,    ///< WRITE_ZEROES: fail unless it is faster than a write
  kCommandPayloadLen = 1u << 5,  ///< extended headers: `length` bytes of payload follow
};

/// "read", "EIO", ...; "unknown" for a value the list does not have. Static strings.
const char* CommandName(uint16_t command);
const char* WireErrorName(uint32_t error);
/// "input/output error", ...: for people. Static.
const char* WireErrorText(uint32_t error);

/// Why bytes of the transmission phase were refused.
enum class TransmissionError : uint8_t {
  kNone = 0,
  kTooShort,   ///< fewer bytes than the header (on a stream: read on)
  kBadMagic,   ///< out of step: hang up
  kBadLength,  ///< a payload whose inner lengths do not agree
};
const char* TransmissionErrorName(TransmissionError error);

struct Request {
  uint16_t flags = 0;    ///< CommandFlags
  uint16_t command = 0;  ///< Command
  uint64_t cookie = 0;   ///< the client's own; comes back in the reply
  uint64_t offset = 0;   ///< bytes
  uint64_t length = 0;   ///< bytes; 32 bits in compact headers
};
inline constexpr size_t kRequestBytes = 28;
inline constexpr size_t kExtendedRequestBytes = 32;
constexpr size_t RequestHeaderBytes(Headers headers) {
  return headers == Headers::kExtended ? kExtendedRequestBytes : kRequestBytes;
}
TransmissionError ParseRequest(std::span<const uint8_t> bytes, Request* request,
                               Headers headers = Headers::kCompact);
void EmitRequest(const Request& request, std::span<uint8_t, kRequestBytes> out);
void EmitExtendedRequest(const Request& request, std::span<uint8_t, kExtendedRequestBytes> out);

/// Bytes of data behind the request: of WRITE, and with extended headers of whatever says so. A
/// server must consume them even when it refuses the request. WRITE has them without its flag, too:
/// "the flag MUST be set for NBD_CMD_WRITE (as the write command always sends a payload ...)", but
/// QEMU's client, of version 8.2 to 10.0 at least, asks for extended headers and never sets it.
constexpr uint64_t RequestPayloadBytes(const Request& request,
                                       Headers headers = Headers::kCompact) {
  const bool any = request.command == kCommandWrite ||
                   (headers == Headers::kExtended && (request.flags & kCommandPayloadLen) != 0);
  return any ? request.length : 0;
}

struct SimpleReply {
  uint32_t error = kErrorNone;  ///< WireError
  uint64_t cookie = 0;
};
inline constexpr size_t kSimpleReplyBytes = 16;
TransmissionError ParseSimpleReply(std::span<const uint8_t> bytes, SimpleReply* reply);
void EmitSimpleReply(const SimpleReply& reply, std::span<uint8_t, kSimpleReplyBytes> out);

/// What an export was announced to be; requests are checked against it.
struct ExportLimits {
  uint64_t size_bytes = 0;
  uint16_t transmission_flags = kHasFlags;
  uint32_t max_payload_bytes = kDefaultMaxPayloadBytes;
  Headers headers = Headers::kCompact;
  bool block_status = false;  ///< a metadata context was selected
};

/// The server's check of a request before it does anything: kErrorNone, or the error to reply with.
/// kErrorInval: unknown or unannounced command or flag, zero length, more payload than
/// max_payload_bytes, a read, trim or status past the end; kErrorNoSpc: a write past the end;
/// kErrorPerm: a change of a read-only export. DISC is always in order (it gets no reply).
WireError CheckRequest(const Request& request, const ExportLimits& limits);

/// The one place where the system's errno (Linux numbers, 0 for success) becomes an error on the
/// wire. What the protocol has no number for is kErrorIo. kErrorOverflow and kErrorNotSup are
/// reserved for requests with kCommandDf and kCommandFastZero ("Error values"), so `command_flags`
/// of the request count; otherwise those two become kErrorInval.
WireError WireErrorFromErrno(int system_errno, uint16_t command_flags = 0);

/// The way back, for clients: the errno to report; EINVAL for numbers the protocol does not have.
int ErrnoFromWireError(uint32_t wire_error);

}  // namespace qpip::nbd
