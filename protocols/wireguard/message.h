// WireGuard's four messages (its paper, sections 5.4.2 to 5.4.7), each a datagram. All integers are
// little-endian.
//
//     1 initiation   148 B  | type 000 | sender   | ephemeral 32 | static 48 | timestamp 28 | macs
//     | 2 response      92 B  | type 000 | sender   | receiver | ephemeral 32 | empty 16      |
//     macs | 3 cookie reply  64 B  | type 000 | receiver | nonce 24 | cookie 32 | 4 data      32+ n
//     B   | type 000 | receiver | counter 8 | packet n, padded | tag 16          |
//
// macs: mac1 over what is in front of it, mac2 over that and mac1, 16 bytes each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/wireguard/primitives.h"
#include "protocols/wireguard/tai64n.h"

namespace qpip::wireguard {

enum class MessageType : uint8_t { kInitiation = 1, kResponse = 2, kCookieReply = 3, kData = 4 };

inline constexpr size_t kInitiationBytes = 148;
inline constexpr size_t kResponseBytes = 92;
inline constexpr size_t kCookieReplyBytes = 64;
inline constexpr size_t kDataHeaderBytes = 16;
/// What a data message adds to its packet, padding apart.
inline constexpr size_t kDataOverheadBytes = kDataHeaderBytes + kTagBytes;
inline constexpr size_t kMacsBytes = 2 * kMacBytes;
inline constexpr size_t kPaddingBytes = 16;  ///< packets are padded to a multiple

/// Why a datagram is no message.
enum class ParseError : uint8_t {
  kNone = 0,
  kTooShort,     ///< no type, or shorter than any message of its type
  kUnknownType,  ///< not 1 to 4, or the reserved bytes are not zero
  kBadLength,    ///< longer than the messages of its type, which have one length
};
const char* ParseErrorName(ParseError error);

/// The type of a datagram that has that type's length.
ParseError ParseType(Bytes datagram, MessageType* type);

struct Initiation {
  uint32_t sender = 0;
  PublicKey ephemeral = {};
  std::array<uint8_t, kKeyBytes + kTagBytes> sealed_static = {};
  std::array<uint8_t, kTai64nBytes + kTagBytes> sealed_timestamp = {};
};

struct Response {
  uint32_t sender = 0;
  uint32_t receiver = 0;
  PublicKey ephemeral = {};
  std::array<uint8_t, kTagBytes> sealed_nothing = {};
};

struct CookieReply {
  uint32_t receiver = 0;
  ExtendedNonce nonce = {};
  std::array<uint8_t, kMacBytes + kTagBytes> sealed_cookie = {};
};

struct DataHeader {
  uint32_t receiver = 0;
  uint64_t counter = 0;
};

// Of datagrams that ParseType took for their type, and back; macs are left out.
Initiation ParseInitiation(Bytes datagram);
void EmitInitiation(const Initiation& message, std::span<uint8_t, kInitiationBytes> out);
Response ParseResponse(Bytes datagram);
void EmitResponse(const Response& message, std::span<uint8_t, kResponseBytes> out);
CookieReply ParseCookieReply(Bytes datagram);
void EmitCookieReply(const CookieReply& message, std::span<uint8_t, kCookieReplyBytes> out);
DataHeader ParseDataHeader(Bytes datagram);
void EmitDataHeader(const DataHeader& header, std::span<uint8_t, kDataHeaderBytes> out);
/// The packet and its tag.
inline Bytes SealedPacket(Bytes datagram) { return datagram.subspan(kDataHeaderBytes); }

/// An initiation's or response's: the bytes that mac1 covers, and where the two are.
inline Bytes CoveredByMac1(Bytes message) { return message.first(message.size() - kMacsBytes); }
inline Bytes CoveredByMac2(Bytes message) { return message.first(message.size() - kMacBytes); }
inline Bytes Mac1Of(Bytes message) { return message.last(kMacsBytes).first(kMacBytes); }
inline Bytes Mac2Of(Bytes message) { return message.last(kMacBytes); }

/// An initiation's or response's sender, a data message's or cookie reply's receiver: the index
/// behind the type.
uint32_t FirstIndex(Bytes datagram);

}  // namespace qpip::wireguard
