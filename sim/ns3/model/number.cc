#include "sim/ns3/model/number.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

namespace qpip::sim {

double ParseNumber(std::string_view text, bool of_bytes) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return kNone;
  std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
  if (suffix.empty()) return value;
  constexpr std::string_view kLetters = "KMGT";
  const size_t power = suffix[0] == 'k' ? 0 : kLetters.find(suffix[0]);
  if (power == std::string_view::npos) return kNone;
  suffix.remove_prefix(1);
  const bool binary = of_bytes || suffix == "i";
  if (!suffix.empty() && suffix != "i") return kNone;
  return value * std::pow(binary ? 1024.0 : 1000.0, static_cast<double>(power + 1));
}

std::string PlainNumber(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: whole numbers up to here are exact
  char text[40];
  if (value == std::floor(value) && std::abs(value) <= kExact) {
    std::snprintf(text, sizeof(text), "%.0f", value);
    return text;
  }
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  return error == std::errc() ? std::string(text, end) : "nan";
}

}  // namespace qpip::sim
