#include "sim/lanai/uri_values.h"

#include <arpa/inet.h>

#include <bit>
#include <charconv>
#include <optional>
#include <stdexcept>

namespace qpip::lanai {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// As it is, or percent-encoded.
void AppendByte(std::string& text, char c, bool encoded) {
  if (!encoded) {
    text += c;
    return;
  }
  constexpr char kHex[] = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(c);
  text += '%';
  text += kHex[byte >> 4];
  text += kHex[byte & 15];
}

std::optional<uint64_t> Whole(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

[[noreturn]] void RefuseNumber(std::string_view name, std::string_view value, const char* kind,
                               uint64_t low, uint64_t high) {
  Refuse("parameter " + std::string(name) + ": " + Quote(value) + " is no " + kind + " from " +
         std::to_string(low) + " to " + std::to_string(high));
}

}  // namespace

void Refuse(const std::string& why) { throw std::invalid_argument(why); }

std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) AppendByte(quoted, c, !(c >= ' ' && c <= '~'));
  return quoted + '"';
}

uint64_t ParseNumber(std::string_view name, std::string_view value, uint64_t low, uint64_t high) {
  const std::optional<uint64_t> number = Whole(value);
  if (!number || *number < low || *number > high) {
    RefuseNumber(name, value, "whole number", low, high);
  }
  return *number;
}

uint64_t ParsePowerOfTwo(std::string_view name, std::string_view value, uint64_t low,
                         uint64_t high) {
  const std::optional<uint64_t> number = Whole(value);
  if (!number || !std::has_single_bit(*number) || *number < low || *number > high) {
    RefuseNumber(name, value, "power of two", low, high);
  }
  return *number;
}

size_t ParseChoice(std::string_view name, std::string_view value,
                   std::initializer_list<std::string_view> choices) {
  size_t index = 0;
  std::string accepted;
  for (const std::string_view choice : choices) {
    if (choice == value) return index;
    accepted += (index++ == 0 ? "" : ", ") + std::string(choice);
  }
  Refuse("parameter " + std::string(name) + ": " + Quote(value) + " is none of " + accepted);
}

std::string FormatChoice(size_t index, std::initializer_list<std::string_view> choices) {
  return std::string(choices.begin()[index]);
}

double ParseProbability(std::string_view name, std::string_view value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || !(number >= 0) ||
      !(number <= 1)) {
    Refuse("parameter " + std::string(name) + ": " + Quote(value) +
           " is no probability from 0 to 1, as 0.01");
  }
  return number;
}

abi::Ip6Address ParseUnicast(std::string_view name, std::string_view value) {
  abi::Ip6Address address;
  const std::string text(value);
  const std::string where = "parameter " + std::string(name) + ": " + Quote(value);
  const std::string example = "; give an IPv6 unicast address, as address=fd00::1";
  if (inet_pton(AF_INET6, text.c_str(), address.bytes) != 1) {
    Refuse(where + " is no IPv6 address" + example);
  }
  if (address == abi::Ip6Address{} || address.bytes[0] == 0xff) {
    Refuse(where + " is the unspecified or a multicast address" + example);
  }
  abi::Ip6Address loopback = {};
  loopback.bytes[15] = 1;
  // RFC 4291 2.5.3: no interface has it, and nothing comes from it or goes to it outside of a node.
  if (address == loopback) Refuse(where + " is the loopback address" + example);
  return address;
}

HostAndPort ParseHostAndPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  HostAndPort parsed;
  bool fine = colon != std::string_view::npos;
  if (fine) {
    std::string_view host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) {
      host = host.substr(1, host.size() - 2);
    } else {
      fine = host.find_first_of(":[]") == std::string_view::npos;
    }
    parsed.host = host;
  }
  if (!fine) {
    Refuse(Quote(text) +
           " is no HOST:PORT; write 192.0.2.1:4791, [2001:db8::1]:4791, a name, or :4791 for "
           "every address of this machine");
  }
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), parsed.port);
  if (error != std::errc() || end != port.data() + port.size()) {
    Refuse("port " + Quote(port) + " in " + Quote(text) + ": a number from 0 to 65535 is wanted");
  }
  return parsed;
}

std::string FormatHostAndPort(const std::string& host, uint16_t port) {
  const bool literal6 = host.find(':') != std::string::npos;
  return (literal6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string FormatAddress(const abi::Ip6Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(AF_INET6, address.bytes, text, sizeof(text));
  return text;
}

std::string FormatProbability(double value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  return error == std::errc() ? std::string(text, end) : "0";
}

std::string DecodePercent(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 1 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      Refuse("in " + Quote(text) +
             " a % is not followed by two hex digits; a % itself is written %25");
    }
    if (high == 0 && low == 0) Refuse("in " + Quote(text) + " %00 stands for nothing");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::string EncodePercent(std::string_view text) {
  // Unreserved, and of the reserved what means nothing in a query of ours.
  constexpr std::string_view kPlain = "-._~!$'()*,;:@/=[]";
  std::string out;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    AppendByte(out, c, !letter && !digit && kPlain.find(c) == std::string_view::npos);
  }
  return out;
}

wire::LinkAddress ParseMac(std::string_view name, std::string_view value) {
  wire::LinkAddress mac = {};
  bool fine = value.size() == 17;
  for (size_t i = 0; fine && i < 6; ++i) {
    const int high = HexDigit(value[3 * i]);
    const int low = HexDigit(value[3 * i + 1]);
    fine = high >= 0 && low >= 0 && (i == 5 || value[3 * i + 2] == ':');
    mac[i] = static_cast<uint8_t>(high * 16 + low);
  }
  if (!fine || (mac[0] & 1) != 0 || mac == wire::LinkAddress{}) {
    Refuse("parameter " + std::string(name) + ": " + Quote(value) +
           " is no unicast Ethernet address; write mac=02:00:00:00:00:01");
  }
  return mac;
}

std::string FormatMac(const wire::LinkAddress& mac) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : mac) {
    if (!text.empty()) text += ':';
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

}  // namespace qpip::lanai
