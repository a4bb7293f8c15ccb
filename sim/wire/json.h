// A flat JSON object of counters, for StatisticsJson.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace qpip::wire {

/// Builds `{"name": value, ...}`. Names must need no escaping; texts may be any bytes (an interface
/// may be called so): what is no ASCII stands as if it were Latin-1, so that the object is UTF-8.
class JsonObject {
 public:
  JsonObject& Add(std::string_view name, uint64_t value) {
    return Raw(name, std::to_string(value));
  }
  JsonObject& Add(std::string_view name, std::string_view text) { return Raw(name, Quoted(text)); }
  /// `value` is JSON already.
  JsonObject& Raw(std::string_view name, std::string_view value) {
    text_ += text_.empty() ? "{\"" : ", \"";
    text_.append(name).append("\": ").append(value);
    return *this;
  }
  std::string Text() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  static std::string Quoted(std::string_view text) {
    constexpr char kHex[] = "0123456789abcdef";
    std::string quoted = "\"";
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= ' ' && byte < 0x7f) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
      } else {
        quoted += std::string("\\u00") + kHex[byte >> 4] + kHex[byte & 15];
      }
    }
    return quoted + '"';
  }

  std::string text_;
};

}  // namespace qpip::wire
