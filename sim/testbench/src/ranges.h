// Options are refused by name, with what they may be.
#pragma once

#include <cstdint>
#include <string>

#include "qpip/testbench/packet.h"

namespace qpip::testbench {

/// "1500 ms": in the largest unit that has it whole.
inline std::string ToText(Time time) {
  constexpr struct {
    int64_t ns;
    const char* name;
  } kUnits[] = {{1'000'000'000, " s"}, {1'000'000, " ms"}, {1000, " us"}, {1, " ns"}};
  for (const auto& unit : kUnits) {
    if (time.count() % unit.ns == 0) return std::to_string(time.count() / unit.ns) + unit.name;
  }
  return {};
}
inline std::string ToText(uint64_t number) { return std::to_string(number); }

/// "NAME is VALUE, must be LOW to HIGH", or nothing when it is.
template <typename T>
std::string OutOfRange(const char* name, T value, T low, T high) {
  if (value >= low && value <= high) return {};
  return std::string(name) + " is " + ToText(value) + ", must be " + ToText(low) + " to " +
         ToText(high);
}

}  // namespace qpip::testbench
