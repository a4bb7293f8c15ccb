// The host's side of a real-time NIC: abi::HostPort over a core.
#pragma once

#include <memory>

#include "host_lib/port/host_port.h"
#include "sim/lanai/core.h"
#include "sim/lanai/uri.h"
#include "sim/wire/wire.h"

namespace qpip::lanai {

/// Makes a NIC of a wire and a firmware. Address, MTU and trust are the wire's; the rest of the
/// profile is `uri`'s. Throws std::invalid_argument when the firmware refuses the profile.
std::unique_ptr<abi::HostPort> MakeHostPort(const NicUri& uri, std::unique_ptr<wire::Wire> wire,
                                            const Firmware& firmware);

}  // namespace qpip::lanai
