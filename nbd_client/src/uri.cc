#include <algorithm>
#include <charconv>
#include <string>

#include "qpip/nbd.h"

namespace qpip::nbd {

namespace {

constexpr char kDefaultPortText[] = ":10809";
constexpr std::string_view kTcpScheme = "nbd://";
constexpr std::string_view kUnixScheme = "nbd+unix://";
constexpr std::string_view kQueuePairScheme = "nbd+qp://";

[[noreturn]] void BadUri(std::string_view text, const char* why) {
  throw ParseError("bad NBD URI: '" + std::string(text) + "': " + why +
                   ": give nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH or "
                   "nbd+qp://[ADDRESS][:PORT]/EXPORT");
}

/// Percent-decoded (RFC 3986, 2.1).
std::string Decoded(std::string_view text, std::string_view whole) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc() || end != digits.data() + 2) BadUri(whole, "two digits must follow %");
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

/// "HOST:PORT", the default port where there is none.
std::string WithPort(std::string_view authority) {
  std::string where(authority);
  const size_t bracket = where.rfind(']');
  const size_t colon = where.rfind(':');
  const bool has = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  if (!has) where += kDefaultPortText;
  return where;
}

}  // namespace

bool Uri::Is(std::string_view text) {
  return text.starts_with(kTcpScheme) || text.starts_with(kUnixScheme) ||
         text.starts_with(kQueuePairScheme);
}

Uri Uri::Parse(std::string_view text) {
  std::string_view rest = text;
  Uri uri;
  bool socket = false;
  if (text.starts_with(kTcpScheme)) {
    rest.remove_prefix(kTcpScheme.size());
  } else if (text.starts_with(kUnixScheme)) {
    rest.remove_prefix(kUnixScheme.size());
    socket = true;
  } else if (text.starts_with(kQueuePairScheme)) {
    rest.remove_prefix(kQueuePairScheme.size());
    uri.queue_pairs = true;
  } else {
    BadUri(text, "another scheme");
  }
  const std::string_view query =
      rest.find('?') == std::string_view::npos ? "" : rest.substr(rest.find('?') + 1);
  rest = rest.substr(0, rest.find('?'));
  const std::string_view authority = rest.substr(0, rest.find('/'));
  // One slash stands between; "nbd://host" and "nbd://host/" name the default export.
  uri.export_name = Decoded(rest.substr(std::min(rest.size(), authority.size() + 1)), text);
  if (socket) {
    constexpr std::string_view kSocket = "socket=";
    if (!authority.empty()) BadUri(text, "a host where there is a path");
    if (!query.starts_with(kSocket) || query.size() == kSocket.size()) {
      BadUri(text, "no ?socket=PATH");
    }
    uri.where = Decoded(query.substr(kSocket.size()), text);
    if (uri.where.find('/') == std::string::npos) uri.where = "./" + uri.where;
    return uri;
  }
  if (!query.empty()) BadUri(text, "a query that nothing is known of");
  if (authority.empty()) BadUri(text, "no host");
  uri.where = WithPort(authority);
  return uri;
}

}  // namespace qpip::nbd
