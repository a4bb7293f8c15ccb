// VCONN's messages: what stands at the beginning of each. A message has a request part and a data
// part, (REQ, DATA), either of which may be empty.
//
//     0       1       2               4               8              12                      20
//     | kind  | flags | credits       | request bytes | data bytes    | cookie                |
//     | request part ...              | data part ...                                         |
//
// Big-endian. The first message of each side is a hello, whose request part says what it takes:
//
//     | version       | window        | message bytes |      later versions may put more behind
//
// The protocol is QPIP's own, after the layer of that name in Sinha and Joshi, "Linux as Virtual
// Interface Architecture for Network Block Device". What the numbers mean: machine.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::vconn {

namespace offset {  // bytes from the start of the message
inline constexpr size_t kKind = 0;
inline constexpr size_t kFlags = 1;
inline constexpr size_t kCredits = 2;
inline constexpr size_t kRequestBytes = 4;
inline constexpr size_t kDataBytes = 8;
inline constexpr size_t kCookie = 12;
// Of a hello.
inline constexpr size_t kVersion = 20;
inline constexpr size_t kWindow = 22;
inline constexpr size_t kMessageBytes = 24;
}  // namespace offset

inline constexpr size_t kHeaderBytes = 20;
inline constexpr size_t kHelloBytes = 28;  ///< header and what this version says
inline constexpr uint16_t kProtocolVersion = 1;
/// A hello's cookie: "QPVCONN\n", so that what is no VCONN is seen at once.
inline constexpr uint64_t kHelloCookie = 0x515056434f4e4e0a;

inline constexpr uint16_t kLeastWindow = 2;
inline constexpr uint16_t kMostWindow = 1024;
inline constexpr uint32_t kLeastMessageBytes = 64;
inline constexpr uint32_t kMostMessageBytes = 16u << 20;

/// Kinds of messages. X(enumerator, code, "name")
#define QPIP_VCONN_KINDS(X) \
  X(kHello, 1, "hello")     \
  X(kCredit, 2, "credit")   \
  X(kMessage, 3, "message") \
  X(kRequest, 4, "request") \
  X(kAnswer, 5, "answer")

#define QPIP_VCONN_ENUMERATOR(name, code, ...) name = code,
/// kHello: the first. kCredit: credits alone. kMessage: wants no answer. kRequest: wants answers,
/// which carry its cookie. kAnswer: one of them.
enum class Kind : uint8_t { QPIP_VCONN_KINDS(QPIP_VCONN_ENUMERATOR) };
/// "hello", ...; "unknown" for other codes. Static.
const char* KindName(Kind kind);
/// Whether a message of this kind takes a credit, and is handed to the application.
constexpr bool CostsCredit(Kind kind) { return kind >= Kind::kMessage; }

/// Header.flags
enum Flags : uint8_t {
  kMore = 1u << 0,  ///< of an answer: others to the same request follow
};

/// Why a message, or a whole connection, was refused. X(enumerator, "name", "text")
#define QPIP_VCONN_REFUSALS(X)                                                                    \
  X(kNone, "none", "nothing is wrong")                                                            \
  X(kTooShort, "too_short", "a message is shorter than its header")                               \
  X(kBadKind, "bad_kind", "a message is of no known kind")                                        \
  X(kBadFlags, "bad_flags", "a message has flags that its kind has not")                          \
  X(kBadLength, "bad_length", "a message is not as long as its header says")                      \
  X(kNotHello, "not_hello", "the first message is no hello: the peer does not speak VCONN")       \
  X(kBadVersion, "bad_version", "the peer speaks another version of VCONN")                       \
  X(kBadLimits, "bad_limits", "the peer's window or length of messages is out of range")          \
  X(kSecondHello, "second_hello", "the peer has said hello twice")                                \
  X(kTooLong, "too_long", "a message is longer than this side takes")                             \
  X(kOverrun, "overrun", "the peer has sent more messages than it had credits for")               \
  X(kTooManyCredits, "too_many_credits", "the peer has given more credits than were used")        \
  X(kEarlyCredit, "early_credit", "the peer has sent credits alone before half a window of them") \
  X(kUnknownCookie, "unknown_cookie", "the peer has answered what was not asked")

enum class Refusal : uint8_t {
#define QPIP_VCONN_FIRST(name, ...) name,
  QPIP_VCONN_REFUSALS(QPIP_VCONN_FIRST)
#undef QPIP_VCONN_FIRST
};
#undef QPIP_VCONN_ENUMERATOR

/// "overrun", ... and a sentence for people; "unknown". Static.
const char* RefusalName(Refusal refusal);
const char* RefusalText(Refusal refusal);

/// A header as plain values, host byte order.
struct Header {
  Kind kind = Kind::kMessage;
  uint8_t flags = 0;           ///< Flags
  uint16_t credits = 0;        ///< given back to the receiver of this
  uint32_t request_bytes = 0;  ///< of the request part, which follows
  uint32_t data_bytes = 0;     ///< of the data part, behind it
  uint64_t cookie = 0;         ///< of kRequest and kAnswer: the asker's; of kHello: kHelloCookie

  bool operator==(const Header&) const = default;
};

/// Bytes of a whole message.
constexpr uint64_t MessageBytes(const Header& header) {
  return kHeaderBytes + uint64_t{header.request_bytes} + header.data_bytes;
}

/// Parses the header of a message of `length` bytes, whose first are `bytes`. Refuses with
/// kTooShort, kBadKind, kBadFlags, kBadLength; then `*header` is not written.
Refusal ParseHeader(std::span<const uint8_t> bytes, uint64_t length, Header* header);
void EmitHeader(const Header& header, std::span<uint8_t, kHeaderBytes> out);

/// What a side takes.
struct Limits {
  uint16_t window = 32;                ///< receives posted, kLeastWindow to kMostWindow
  uint32_t message_bytes = 64u << 10;  ///< longest message, header and all, kLeastMessageBytes to
                                       ///< kMostMessageBytes
  bool operator==(const Limits&) const = default;
};
/// Whether both are in their ranges.
constexpr bool InRange(const Limits& limits) {
  return limits.window >= kLeastWindow && limits.window <= kMostWindow &&
         limits.message_bytes >= kLeastMessageBytes && limits.message_bytes <= kMostMessageBytes;
}

/// Parses a whole hello. Refuses with what ParseHeader does, kNotHello, kBadVersion, kBadLimits.
Refusal ParseHello(std::span<const uint8_t> message, Limits* limits);
void EmitHello(const Limits& limits, std::span<uint8_t, kHelloBytes> out);

}  // namespace qpip::vconn
