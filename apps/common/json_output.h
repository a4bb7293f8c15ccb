// JSON that commands print. JSON is UTF-8 (RFC 8259 8.1); file names and arguments are bytes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace qpip::apps {

/// `value` as JSON text, always valid UTF-8: bytes in strings that are not become U+FFFD. `indent`
/// -1: on one line.
std::string JsonText(const nlohmann::json& value, int indent = -1);

/// Prints `value` as one line on stdout, and flushes: whoever reads a pipe waits for lines.
void PrintJsonLine(const nlohmann::json& value);

/// `bytes` in a URI's path or query: everything but RFC 3986's unreserved characters and '/' is
/// percent-encoded.
std::string PercentEncoded(std::string_view bytes);

}  // namespace qpip::apps
