// NBD handshake codec: fixed newstyle negotiation (NBD project, doc/proto.md, "Fixed newstyle
// negotiation"). What each side sends until the transmission phase begins:
//
//     server ── Greeting ───────────────────────────────────────> client
//     server <────────────────────────────────── ClientFlags ──── client
//     server <──────────────────── OptionHeader + option data ─── client   | until GO,
//     server ── OptionReplyHeader + reply data ─────────────────> client   | EXPORT_NAME or ABORT
//
// Everything is big-endian. Parse functions look at the first bytes of what they are given, never
// keep a pointer (names are views into the input), never allocate, and refuse with a named reason.
// All functions are pure and reentrant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::nbd {

inline constexpr uint16_t kDefaultPort = 10809;

inline constexpr uint64_t kGreetingMagic = 0x4e42444d41474943;     ///< "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454f5054;       ///< "IHAVEOPT"
inline constexpr uint64_t kOldstyleMagic = 0x0000420281861253;     ///< where newstyle has IHAVEOPT
inline constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;  ///< starts each option reply

inline constexpr uint32_t kMaxNameBytes = 4096;     ///< longest export name or description
inline constexpr uint32_t kMaxOptionBytes = 16384;  ///< longest option data we read; longer ones
                                                    ///< are skipped and get kReplyErrTooBig

/// A text on the wire: bytes without terminator. Beware of string literals, whose terminating NUL
/// a span includes: go through std::string_view.
using Text = std::span<const char>;

/// Greeting.handshake_flags
enum HandshakeFlags : uint16_t {
  kFixedNewstyle = 1u << 0,
  kNoZeroes = 1u << 1,  ///< the 124 zero bytes behind the EXPORT_NAME reply may be left out
};

/// Client flags, the client's answer to the greeting.
enum ClientFlags : uint32_t {
  kClientFixedNewstyle = 1u << 0,
  kClientNoZeroes = 1u << 1,
};

/// Option requests. X(enumerator, value, "name")
#define QPIP_NBD_OPTIONS(X)                         \
  X(kOptionExportName, 1, "export_name")            \
  X(kOptionAbort, 2, "abort")                       \
  X(kOptionList, 3, "list")                         \
  X(kOptionPeekExport, 4, "peek_export")            \
  X(kOptionStartTls, 5, "starttls")                 \
  X(kOptionInfo, 6, "info")                         \
  X(kOptionGo, 7, "go")                             \
  X(kOptionStructuredReply, 8, "structured_reply")  \
  X(kOptionListMetaContext, 9, "list_meta_context") \
  X(kOptionSetMetaContext, 10, "set_meta_context")  \
  X(kOptionExtendedHeaders, 11, "extended_headers")

#define QPIP_NBD_ENUMERATOR(name, value, text) name = value,
enum Option : uint32_t { QPIP_NBD_OPTIONS(QPIP_NBD_ENUMERATOR) };

/// Option replies; those with the top bit set are errors. X(enumerator, value, "name")
#define QPIP_NBD_REPLIES(X)                                        \
  X(kReplyAck, 1, "ack")                                           \
  X(kReplyServer, 2, "server")                                     \
  X(kReplyInfo, 3, "info")                                         \
  X(kReplyMetaContext, 4, "meta_context")                          \
  X(kReplyErrUnsup, 0x80000001, "err_unsup")                       \
  X(kReplyErrPolicy, 0x80000002, "err_policy")                     \
  X(kReplyErrInvalid, 0x80000003, "err_invalid")                   \
  X(kReplyErrPlatform, 0x80000004, "err_platform")                 \
  X(kReplyErrTlsRequired, 0x80000005, "err_tls_reqd")              \
  X(kReplyErrUnknown, 0x80000006, "err_unknown")                   \
  X(kReplyErrShutdown, 0x80000007, "err_shutdown")                 \
  X(kReplyErrBlockSizeRequired, 0x80000008, "err_block_size_reqd") \
  X(kReplyErrTooBig, 0x80000009, "err_too_big")                    \
  X(kReplyErrExtendedHeadersRequired, 0x8000000a, "err_ext_header_reqd")

enum Reply : uint32_t { QPIP_NBD_REPLIES(QPIP_NBD_ENUMERATOR) };

/// Kinds of information in a kReplyInfo. X(enumerator, value, "name")
#define QPIP_NBD_INFOS(X)               \
  X(kInfoExport, 0, "export")           \
  X(kInfoName, 1, "name")               \
  X(kInfoDescription, 2, "description") \
  X(kInfoBlockSize, 3, "block_size")

enum InfoType : uint16_t { QPIP_NBD_INFOS(QPIP_NBD_ENUMERATOR) };
#undef QPIP_NBD_ENUMERATOR

/// "go", "err_unsup", "block_size", ...; "unknown" for a value this list does not have. Static.
const char* OptionName(uint32_t option);
const char* ReplyName(uint32_t reply);
const char* InfoTypeName(uint16_t type);

constexpr bool IsErrorReply(uint32_t reply) { return (reply & 0x80000000u) != 0; }

/// Why handshake bytes were refused.
enum class HandshakeError : uint8_t {
  kNone = 0,
  kTooShort,      ///< fewer bytes than the structure has (on a stream: read on)
  kBadMagic,      ///< not NBD, or out of step
  kOldstyle,      ///< the server speaks oldstyle negotiation, which has no options
  kUnknownFlags,  ///< client flags with unknown bits: the server must hang up
  kBadLength,     ///< inner lengths and the length of the option or reply do not agree
  kNameTooLong,   ///< a name or description over kMaxNameBytes
  kWrongInfo,     ///< an information of another type than asked for
  kBadBlockSize,  ///< sizes that are no powers of two, or not minimum <= preferred <= maximum
};
const char* HandshakeErrorName(HandshakeError error);

// --- Greeting, server to client: NBDMAGIC, IHAVEOPT, flags

struct Greeting {
  uint16_t handshake_flags = kFixedNewstyle | kNoZeroes;  ///< unknown bits are to be ignored
};
inline constexpr size_t kGreetingBytes = 18;
HandshakeError ParseGreeting(std::span<const uint8_t> bytes, Greeting* greeting);
void EmitGreeting(const Greeting& greeting, std::span<uint8_t, kGreetingBytes> out);

// --- Client flags, client to server

inline constexpr size_t kClientFlagsBytes = 4;
HandshakeError ParseClientFlags(std::span<const uint8_t> bytes, uint32_t* flags);
void EmitClientFlags(uint32_t flags, std::span<uint8_t, kClientFlagsBytes> out);

// --- Option request, client to server: IHAVEOPT, option, length; `length` bytes of data follow

struct OptionHeader {
  uint32_t option = 0;  ///< Option; any other value is answered with kReplyErrUnsup
  uint32_t length = 0;  ///< bytes of data behind the header; not checked against any limit
};
inline constexpr size_t kOptionHeaderBytes = 16;
HandshakeError ParseOptionHeader(std::span<const uint8_t> bytes, OptionHeader* header);
void EmitOptionHeader(const OptionHeader& header, std::span<uint8_t, kOptionHeaderBytes> out);

/// Data of INFO and GO: name length (32 bits), name, count (16 bits), count times an InfoType.
struct InfoRequest {
  Text name;            ///< empty: the default export
  uint32_t wanted = 0;  ///< InfoBit() of the types asked for; types from 32 on are ignored, as
                        ///< the server must do with types it does not know
  constexpr bool Wants(InfoType type) const { return (wanted & (1u << type)) != 0; }
};
constexpr uint32_t InfoBit(InfoType type) { return 1u << type; }
/// `data` is the whole option data. `request->name` points into it.
HandshakeError ParseInfoRequest(std::span<const uint8_t> data, InfoRequest* request);
size_t InfoRequestSize(const InfoRequest& request);
/// Writes InfoRequestSize bytes and returns that number; `out` must hold them.
size_t EmitInfoRequest(const InfoRequest& request, std::span<uint8_t> out);

/// Data of EXPORT_NAME: all of it is the name.
HandshakeError ParseExportName(std::span<const uint8_t> data, Text* name);

/// Answer to EXPORT_NAME, which has no option reply: size, flags and 124 zeroes, the zeroes left
/// out when both sides said "no zeroes". Transmission follows at once.
struct ExportNameReply {
  uint64_t size_bytes = 0;
  uint16_t transmission_flags = 0;  ///< TransmissionFlags
};
inline constexpr size_t kExportNameReplyBytes = 10;
inline constexpr size_t kExportNameZeroes = 124;
HandshakeError ParseExportNameReply(std::span<const uint8_t> bytes, ExportNameReply* reply);
constexpr size_t ExportNameReplySize(bool no_zeroes) {
  return kExportNameReplyBytes + (no_zeroes ? 0 : kExportNameZeroes);
}
/// Writes ExportNameReplySize(no_zeroes) bytes and returns that number; `out` must hold them.
size_t EmitExportNameReply(const ExportNameReply& reply, bool no_zeroes, std::span<uint8_t> out);

// --- Option reply, server to client: magic, option, reply, length; `length` bytes of data follow

struct OptionReplyHeader {
  uint32_t option = 0;  ///< the option that is answered
  uint32_t reply = 0;   ///< Reply
  uint32_t length = 0;  ///< bytes of data behind the header; not checked against any limit
};
inline constexpr size_t kOptionReplyHeaderBytes = 20;
HandshakeError ParseOptionReplyHeader(std::span<const uint8_t> bytes, OptionReplyHeader* header);
void EmitOptionReplyHeader(const OptionReplyHeader& header,
                           std::span<uint8_t, kOptionReplyHeaderBytes> out);

/// Data of kReplyServer, one export of LIST: name length (32 bits), name, and the rest is a
/// description for people.
struct ServerEntry {
  Text name;
  Text description;
};
HandshakeError ParseServerEntry(std::span<const uint8_t> data, ServerEntry* entry);
size_t ServerEntrySize(const ServerEntry& entry);
size_t EmitServerEntry(const ServerEntry& entry, std::span<uint8_t> out);

/// Data of kReplyInfo starts with the InfoType.
HandshakeError ParseInfoType(std::span<const uint8_t> data, uint16_t* type);

/// kInfoExport: size and flags of the export; the one information a server must send.
struct ExportInfo {
  uint64_t size_bytes = 0;
  uint16_t transmission_flags = 0;  ///< TransmissionFlags
};
inline constexpr size_t kExportInfoBytes = 12;
HandshakeError ParseExportInfo(std::span<const uint8_t> data, ExportInfo* info);
void EmitExportInfo(const ExportInfo& info, std::span<uint8_t, kExportInfoBytes> out);

/// kInfoBlockSize: what offset and length of requests should be multiples of.
struct BlockSizeInfo {
  uint32_t minimum = 1;          ///< bytes, power of two, at most 64 KiB
  uint32_t preferred = 4096;     ///< bytes, power of two, at least 512 and `minimum`
  uint32_t maximum = 64u << 20;  ///< bytes, longest payload: a multiple of `minimum`, or all ones
};
inline constexpr size_t kBlockSizeInfoBytes = 14;
HandshakeError ParseBlockSizeInfo(std::span<const uint8_t> data, BlockSizeInfo* info);
void EmitBlockSizeInfo(const BlockSizeInfo& info, std::span<uint8_t, kBlockSizeInfoBytes> out);

/// kInfoName and kInfoDescription: the type and then text.
HandshakeError ParseTextInfo(std::span<const uint8_t> data, InfoType type, Text* text);
constexpr size_t TextInfoSize(Text text) { return 2 + text.size(); }
size_t EmitTextInfo(InfoType type, Text text, std::span<uint8_t> out);

}  // namespace qpip::nbd
