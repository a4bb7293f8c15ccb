// A flat JSON object of counters, for StatisticsJson.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace qpip::wire {

/// Builds `{"name": value, ...}`. Names and texts must need no escaping.
class JsonObject {
 public:
  JsonObject& Add(std::string_view name, uint64_t value) {
    return Raw(name, std::to_string(value));
  }
  JsonObject& Add(std::string_view name, std::string_view text) {
    return Raw(name, "\"" + std::string(text) + "\"");
  }
  /// `value` is JSON already.
  JsonObject& Raw(std::string_view name, std::string_view value) {
    text_ += text_.empty() ? "{\"" : ", \"";
    text_.append(name).append("\": ").append(value);
    return *this;
  }
  std::string Text() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

}  // namespace qpip::wire
