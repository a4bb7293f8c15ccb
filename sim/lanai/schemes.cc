#include <array>

#include "sim/lanai/scheme.h"

namespace qpip::lanai {

// Each in the file that defines it.
extern const Scheme kSharedMemoryScheme, kMemoryScheme;  // scheme_fabric.cc
extern const Scheme kUdpScheme;                          // scheme_udp.cc
extern const Scheme kWireguardScheme;                    // scheme_wg.cc
extern const Scheme kTunScheme, kTapScheme;              // scheme_kernel.cc

std::span<const Scheme* const> Schemes() {
  static constexpr std::array kSchemes = {
      &kSharedMemoryScheme, &kMemoryScheme, &kUdpScheme,
      &kWireguardScheme,    &kTunScheme,    &kTapScheme,
  };
  return kSchemes;
}

}  // namespace qpip::lanai
