// Values in a NIC's URI: text to value, and back. What is not understood is refused with one line
// that says what is wrong and what is accepted (std::invalid_argument).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "nic_fw/abi/work_queue.h"
#include "sim/wire/wire.h"

namespace qpip::lanai {

/// Throws std::invalid_argument.
[[noreturn]] void Refuse(const std::string& why);
/// In double quotes, for messages; bytes that are no printable ASCII are percent-encoded.
std::string Quote(std::string_view text);

// `name` is the parameter's, for the message.

/// A whole number in [low, high].
uint64_t ParseNumber(std::string_view name, std::string_view value, uint64_t low, uint64_t high);
/// A power of two in [low, high].
uint64_t ParsePowerOfTwo(std::string_view name, std::string_view value, uint64_t low,
                         uint64_t high);
/// The position of `value` in a list of words, and the word at a position.
size_t ParseChoice(std::string_view name, std::string_view value,
                   std::initializer_list<std::string_view> choices);
std::string FormatChoice(size_t index, std::initializer_list<std::string_view> choices);
/// A number from 0 to 1.
double ParseProbability(std::string_view name, std::string_view value);
std::string FormatProbability(double value);
/// An IPv6 address that one NIC can have.
abi::Ip6Address ParseUnicast(std::string_view name, std::string_view value);
std::string FormatAddress(const abi::Ip6Address& address);
/// Six bytes in hexadecimal, colons between; unicast.
wire::LinkAddress ParseMac(std::string_view name, std::string_view value);
std::string FormatMac(const wire::LinkAddress& mac);

struct HostAndPort {
  std::string host;  ///< empty: every address of this machine
  uint16_t port = 0;
};
/// HOST:PORT, [IPV6]:PORT or :PORT.
HostAndPort ParseHostAndPort(std::string_view text);
std::string FormatHostAndPort(const std::string& host, uint16_t port);

/// RFC 3986 section 2.1.
std::string DecodePercent(std::string_view text);
std::string EncodePercent(std::string_view text);

}  // namespace qpip::lanai
