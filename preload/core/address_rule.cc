#include "preload/core/address_rule.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace qpip::preload {

namespace {

constexpr int kMappedBits = 96;         // of ::ffff:0:0/96
constexpr socklen_t kShortestIn6 = 24;  // without sin6_scope_id, which Linux takes too (RFC 2133)

in6_addr Mapped(const in_addr& address) {
  in6_addr out = {};
  out.s6_addr[10] = out.s6_addr[11] = 0xff;
  std::memcpy(&out.s6_addr[12], &address, sizeof address);
  return out;
}

bool SamePrefix(const in6_addr& a, const in6_addr& b, int bits) {
  const int whole = bits / 8;
  if (std::memcmp(&a, &b, static_cast<size_t>(whole)) != 0) return false;
  const int rest = bits % 8;
  if (rest == 0) return true;
  const int mask = 0xff << (8 - rest) & 0xff;
  return ((a.s6_addr[whole] ^ b.s6_addr[whole]) & mask) == 0;
}

// The value of `address` in a URI's query, decoded as far as an address needs ("%3A").
std::optional<std::string> AddressIn(std::string_view uri) {
  const size_t query = uri.find('?');
  if (query == std::string_view::npos) return std::nullopt;
  for (size_t at = query + 1; at <= uri.size();) {
    const size_t end = std::min(uri.find('&', at), uri.size());
    const std::string_view part = uri.substr(at, end - at);
    if (part.starts_with("address=")) {
      std::string value;
      for (size_t i = 8; i < part.size(); ++i) {
        unsigned code = 0;
        if (part[i] == '%' && i + 2 < part.size() &&
            std::from_chars(&part[i + 1], &part[i + 1] + 2, code, 16).ptr == &part[i + 1] + 2) {
          value += static_cast<char>(code);
          i += 2;
        } else {
          value += part[i];
        }
      }
      return value;
    }
    at = end + 1;
  }
  return std::nullopt;
}

// An address of the prefix: its host part is the process's number, its highest bit set so that it
// is none of those that people give by hand.
in6_addr Choose(const in6_addr& prefix, int length, int process) {
  in6_addr out = prefix;
  const auto number = static_cast<uint32_t>(process) | 0x800000u;
  const int host_bits = std::min(128 - length, 24);
  const uint32_t host = (number & ((1u << host_bits) - 1)) | 1u << (host_bits - 1);
  for (int bit = 0; bit < host_bits; ++bit) {
    const auto mask = static_cast<uint8_t>(1 << bit % 8);
    uint8_t& byte = out.s6_addr[15 - bit / 8];
    byte = static_cast<uint8_t>((host >> bit & 1) != 0 ? byte | mask : byte & ~mask);
  }
  return out;
}

}  // namespace

std::optional<Endpoint> ToEndpoint(const sockaddr* address, socklen_t length) {
  if (address == nullptr || length < sizeof(sa_family_t)) return std::nullopt;
  if (address->sa_family == AF_INET6 && length >= kShortestIn6) {
    sockaddr_in6 in6 = {};
    std::memcpy(&in6, address, std::min<size_t>(length, sizeof in6));
    return Endpoint{.address = in6.sin6_addr, .port = ntohs(in6.sin6_port)};
  }
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in4 = {};
    std::memcpy(&in4, address, sizeof in4);
    return Endpoint{.address = Mapped(in4.sin_addr), .port = ntohs(in4.sin_port)};
  }
  return std::nullopt;
}

void FromEndpoint(const Endpoint& endpoint, int family, sockaddr* out, socklen_t* length) {
  sockaddr_storage all = {};
  socklen_t size = 0;
  if (family == AF_INET) {
    sockaddr_in in4 = {};
    in4.sin_family = AF_INET;
    in4.sin_port = htons(endpoint.port);
    if (IsMapped(endpoint.address)) {
      std::memcpy(&in4.sin_addr, &endpoint.address.s6_addr[12], sizeof in4.sin_addr);
    }
    std::memcpy(&all, &in4, size = sizeof in4);
  } else {
    sockaddr_in6 in6 = {};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(endpoint.port);
    in6.sin6_addr = endpoint.address;
    std::memcpy(&all, &in6, size = sizeof in6);
  }
  if (out != nullptr && length != nullptr) std::memcpy(out, &all, std::min(*length, size));
  if (length != nullptr) *length = size;
}

bool IsMapped(const in6_addr& address) { return IN6_IS_ADDR_V4MAPPED(&address); }

bool IsUnspecified(const in6_addr& address) {
  const in6_addr mapped = Mapped(in_addr{INADDR_ANY});
  return IN6_IS_ADDR_UNSPECIFIED(&address) || std::memcmp(&address, &mapped, sizeof mapped) == 0;
}

AddressRule::Prefix AddressRule::ParsePrefix(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  Prefix out = {};
  in_addr in4;
  const bool four = inet_pton(AF_INET, address.c_str(), &in4) == 1;
  bool good = four || inet_pton(AF_INET6, address.c_str(), &out.address) == 1;
  if (four) out.address = Mapped(in4);
  const int most = four ? 32 : 128;
  int length = most;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    good = good && error == std::errc() && end == digits.data() + digits.size();
  }
  if (!good || length < 0 || length > most) {
    throw ParseError("'" + std::string(text) +
                     "' is no prefix: write one as fd00::/64 or 10.0.0.0/24");
  }
  out.length = four ? kMappedBits + length : length;
  return out;
}

AddressRule::AddressRule(std::string_view uri, std::string_view prefixes, std::string_view any,
                         int process)
    : uri_(uri) {
  for (size_t at = 0; at < prefixes.size();) {
    const size_t end = std::min(prefixes.find(',', at), prefixes.size());
    prefixes_.push_back(ParsePrefix(prefixes.substr(at, end - at)));
    at = end + 1;
  }
  if (const std::optional<std::string> address = AddressIn(uri)) {
    address_ = ParseAddress(*address);
  } else if (!prefixes_.empty()) {
    address_ = Choose(prefixes_[0].address, prefixes_[0].length, process);
    uri_ += (uri_.find('?') == std::string::npos ? "?address=" : "&address=") +
            AddressToString(address_);
  } else {
    throw ParseError("'" + uri_ +
                     "': sockets need the NIC's address in its URI (?address=fd00::1), or a prefix "
                     "to take one from (QPIP_SOCKETS_PREFIX=fd00::/64)");
  }
  if (prefixes_.empty())
    prefixes_.push_back({address_, IsMapped(address_) ? kMappedBits + 24 : 64});
  if (!any.empty() && any != "nic" && any != "kernel") {
    throw ParseError("QPIP_SOCKETS_ANY=" + std::string(any) + ": must be nic or kernel");
  }
  any_ = any != "kernel";
}

bool AddressRule::Reaches(const in6_addr& peer, int family) const {
  if (!Speaks(family) || IsUnspecified(peer)) return false;
  return std::any_of(prefixes_.begin(), prefixes_.end(), [&](const Prefix& prefix) {
    return SamePrefix(peer, prefix.address, prefix.length);
  });
}

bool AddressRule::Binds(const in6_addr& local, int family) const {
  if (!Speaks(family)) return false;
  if (IsUnspecified(local)) return any_;
  return std::memcmp(&local, &address_, sizeof local) == 0;
}

}  // namespace qpip::preload
