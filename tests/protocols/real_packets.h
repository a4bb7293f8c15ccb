// Packets that a Linux 6 kernel sent through a TUN interface, captured byte for byte; from
// 2001:db8::1 to 2001:db8::2, checksums filled in by the kernel.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace qpip::test {

/// The bytes of a string of hexadecimal digits.
inline std::vector<uint8_t> FromHex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  }
  return bytes;
}

/// UDP, port 40000 to 7, "queue pairs".
inline constexpr std::string_view kUdpPacket =
    "600b96a10013114020010db800000000000000000000000120010db800000000000000000000000"
    "29c40000700137f2c7175657565207061697273";

/// TCP SYN, port 40001 to 10809, with MSS, SACK-permitted, timestamps and window scale.
inline constexpr std::string_view kTcpSynPacket =
    "600c32530028064020010db800000000000000000000000120010db800000000000000000000000"
    "29c412a39fac1133900000000a002fd2087460000020405a00402080acafcc8c2000000000103030a";

/// ICMPv6 echo request, sequence 7, "hello".
inline constexpr std::string_view kEchoRequestPacket =
    "600a089c000d3a4020010db800000000000000000000000120010db800000000000000000000000"
    "28000ce351234000768656c6c6f";

/// UDP "x" behind hop-by-hop options (router alert) and destination options (PadN).
inline constexpr std::string_view kExtensionsPacket =
    "600b96a10019004020010db800000000000000000000000120010db800000000000000000000000"
    "23c0005020000010011000104000000009c4000070009901f78";

/// IPv6 header, fragment header and UDP header of the first of two fragments; 1440 bytes of "z"
/// follow.
inline constexpr std::string_view kFirstFragmentStart =
    "600d555005b02c4020010db800000000000000000000000120010db800000000000000000000000"
    "211000001537b8fb59c49000707d88a0a";

}  // namespace qpip::test
