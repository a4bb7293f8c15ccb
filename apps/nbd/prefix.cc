#include "apps/nbd/prefix.h"

#include <arpa/inet.h>

#include <cstring>

#include "apps/common/command_line.h"

namespace qpip::nbd {

namespace {

constexpr unsigned kMappedBits = 96;

/// The byte's bits that belong to a prefix of `bits` bits that begins with it.
uint8_t MaskOf(unsigned bits) {
  return bits >= 8 ? uint8_t{0xff} : static_cast<uint8_t>(0xff << (8 - bits));
}

[[noreturn]] void BadPrefix(const std::string& text, const char* why) {
  throw apps::UsageError("bad prefix: '" + text + "': " + why +
                         ": give ADDRESS or ADDRESS/BITS, as fd00::/8");
}

}  // namespace

in6_addr MappedAddress(const in_addr& four) {
  in6_addr six = {};
  six.s6_addr[10] = 0xff;
  six.s6_addr[11] = 0xff;
  std::memcpy(six.s6_addr + 12, &four, sizeof four);
  return six;
}

bool Prefix::Contains(const in6_addr& other) const {
  for (unsigned i = 0; i * 8 < bits; ++i) {
    const uint8_t mask = MaskOf(bits - i * 8);
    if (((address.s6_addr[i] ^ other.s6_addr[i]) & mask) != 0) return false;
  }
  return true;
}

Prefix ParsePrefix(const std::string& text) {
  const size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  Prefix prefix;
  in_addr four = {};
  const bool is_four = inet_pton(AF_INET, address.c_str(), &four) == 1;
  if (is_four) {
    prefix.address = MappedAddress(four);
  } else if (inet_pton(AF_INET6, address.c_str(), &prefix.address) != 1) {
    BadPrefix(text, "no address");
  }
  if (slash == std::string::npos) return prefix;
  prefix.bits = static_cast<unsigned>(
      apps::ParseNumber(text.substr(slash + 1), "bits of " + text, 0, is_four ? 32 : 128));
  if (is_four) prefix.bits += kMappedBits;
  for (unsigned i = prefix.bits / 8; i < sizeof prefix.address.s6_addr; ++i) {
    const unsigned inside = i * 8 < prefix.bits ? prefix.bits - i * 8 : 0;
    const uint8_t behind = inside == 0 ? uint8_t{0xff} : static_cast<uint8_t>(~MaskOf(inside));
    if ((prefix.address.s6_addr[i] & behind) != 0) BadPrefix(text, "bits behind the prefix");
  }
  return prefix;
}

}  // namespace qpip::nbd
