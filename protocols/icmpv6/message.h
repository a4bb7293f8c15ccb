// ICMPv6 codec (RFC 4443): echo and the error messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::icmpv6 {

namespace offset {
inline constexpr size_t kType = 0;
inline constexpr size_t kCode = 1;
inline constexpr size_t kChecksum = 2;
inline constexpr size_t kBody = 4;  ///< echo: identifier, sequence; errors: unused, MTU or pointer
}  // namespace offset

inline constexpr size_t kHeaderBytes = 8;

enum Type : uint8_t {
  kDestinationUnreachable = 1,
  kPacketTooBig = 2,
  kTimeExceeded = 3,
  kParameterProblem = 4,
  kEchoRequest = 128,
  kEchoReply = 129,
};

enum UnreachableCode : uint8_t {
  kNoRoute = 0,
  kAdminProhibited = 1,
  kBeyondScope = 2,
  kAddress = 3,
  kPort = 4,
  kPolicy = 5,       ///< the source address failed ingress or egress policy
  kRejectRoute = 6,  ///< the route says: reject
};
enum TimeCode : uint8_t { kHopLimit = 0, kReassemblyTime = 1 };
enum ParameterCode : uint8_t {
  kErroneousField = 0,
  kUnknownNextHeader = 1,
  kUnknownOption = 2,
  kIncompleteHeaderChain = 3,  ///< RFC 7112
};

enum class ParseError : uint8_t {
  kNone = 0,
  kTooShort,
};
const char* ParseErrorName(ParseError error);

struct Header {
  uint8_t type = 0;
  uint8_t code = 0;
  uint16_t checksum = 0;
  uint32_t body = 0;  ///< echo: identifier << 16 | sequence; too big: MTU; parameter: pointer
  constexpr bool IsError() const { return type < 128; }
};

ParseError Parse(std::span<const uint8_t> bytes, Header* header);
void Emit(const Header& header, std::span<uint8_t, kHeaderBytes> out);

}  // namespace qpip::icmpv6
