// Text forms of addresses and endpoints.
#include <arpa/inet.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "qpip/types.h"

namespace qpip {

ParseError::ParseError(const std::string& what) : Error(EINVAL, what) {}

AddressHandle::AddressHandle(const in6_addr& address) : address_(address) {}

AddressHandle::AddressHandle(const ibv_ah_attr& attributes) {
  if (attributes.is_global == 0) {
    throw Error(EINVAL, "address handle: is_global is not set: the address is grh.dgid");
  }
  static_assert(sizeof(attributes.grh.dgid) == sizeof(address_));
  std::memcpy(&address_, &attributes.grh.dgid, sizeof(address_));
}

bool Endpoint::operator==(const Endpoint& other) const {
  return port == other.port && std::memcmp(&address, &other.address, sizeof(address)) == 0;
}

std::string Endpoint::ToString() const {
  return "[" + AddressToString(address) + "]:" + std::to_string(port);
}

Endpoint Endpoint::Parse(std::string_view text) {
  const auto fail = [text](const std::string& why) {
    return ParseError("endpoint '" + std::string(text) + "': " + why +
                      "; expected [ADDRESS]:PORT, for example [fd00::2]:5001");
  };
  if (text.empty() || text.front() != '[') throw fail("does not begin with '['");
  const size_t close = text.find(']');
  if (close == std::string_view::npos) throw fail("has no ']'");
  if (close + 1 >= text.size() || text[close + 1] != ':') throw fail("has no ':' after ']'");
  const std::string_view digits = text.substr(close + 2);
  unsigned port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() ||
      port > 65535) {
    throw fail("the port is not a number from 0 to 65535");
  }
  Endpoint endpoint;
  endpoint.port = static_cast<uint16_t>(port);
  try {
    endpoint.address = ParseAddress(text.substr(1, close - 1));
  } catch (const ParseError&) {
    throw fail("what is between the brackets is not an IPv6 address");
  }
  return endpoint;
}

in6_addr ParseAddress(std::string_view text) {
  in6_addr address;
  if (inet_pton(AF_INET6, std::string(text).c_str(), &address) != 1) {
    throw ParseError("'" + std::string(text) + "' is not an IPv6 address; example: fd00::1");
  }
  return address;
}

std::string AddressToString(const in6_addr& address) {
  char text[INET6_ADDRSTRLEN];
  // Cannot fail: the buffer is large enough and the family is known.
  return inet_ntop(AF_INET6, &address, text, sizeof(text)) != nullptr ? text : "?";
}

const char* ToString(DisconnectReason reason) {
  switch (reason) {
    case DisconnectReason::kNone:
      return "none";
    case DisconnectReason::kClosed:
      return "closed";
    case DisconnectReason::kReset:
      return "reset by peer";
    case DisconnectReason::kRefused:
      return "refused";
    case DisconnectReason::kTimedOut:
      return "timed out";
    case DisconnectReason::kUnreachable:
      return "unreachable";
    case DisconnectReason::kAborted:
      return "aborted from this side";
    case DisconnectReason::kWireFailed:
      return "this NIC's own link is gone";
    case DisconnectReason::kLocalError:
      return "local error";
    case DisconnectReason::kTerminated:
      return "RDMA stream terminated";
  }
  return "?";
}

}  // namespace qpip
