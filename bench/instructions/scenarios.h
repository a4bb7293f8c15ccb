// What is counted: short programs on two NICs of one process, both driven by one thread, so that no
// hand-over between threads and no scheduler is in the count.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace qpip::instructions {

/// Brackets what counts. Nothing else of the program does.
class Counted {
 public:
  Counted();
  ~Counted();
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
};

struct Scenario {
  std::string_view name;  ///< letters, digits and underscores
  std::string_view what;  ///< one line
  uint32_t times;         ///< how often it is done; the count is divided by this
  /// Percent that two counts of the same program may differ by: the NICs' own threads tick beside
  /// it, and what they have done it does not find.
  double tolerance;
  void (*run)(uint32_t times);
};

std::span<const Scenario> Scenarios();

}  // namespace qpip::instructions
