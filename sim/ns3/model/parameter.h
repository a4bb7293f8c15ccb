// The parameters of a simulated NIC: every number of the model by name, with unit, range, meaning.
//
// A profile (profile.h) gives them values and says where each value comes from. The names are what
// `qpip-sim --set`, `sweep` and profile files use.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qpip::sim {

/// One number of the model.
struct ParameterSpec {
  std::string name;      ///< "dma.bytes_per_s"
  std::string unit;      ///< "B/s"; empty: a count or a switch
  double minimum = 0;    ///< least value accepted
  double maximum = 0;    ///< greatest value accepted
  bool required = true;  ///< a complete profile gives it a value
  bool whole = false;    ///< no fractions: a count, a switch, bytes
  std::string meaning;   ///< one sentence
};

/// All of them, in the order in which they are shown. Constant; thread-safe.
std::span<const ParameterSpec> ParameterSpecs();
/// The one of this name, or nullptr.
const ParameterSpec* FindParameter(std::string_view name);

}  // namespace qpip::sim
