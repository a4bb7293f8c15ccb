// A UDP socket as wires of datagrams want it.
#pragma once

#include <cstdint>
#include <string>

#include "sim/wire/descriptor.h"
#include "sim/wire/udp_peers.h"

namespace qpip::wire {

/// A non-blocking socket bound to `host` (empty: every address of this machine, by IPv6 and IPv4)
/// and `port` (0: any free one), with large buffers as far as the system lets it have them, which
/// keeps the errors of its paths (udp_errors.h) and does not fragment. `*local` is where it is
/// bound. Throws std::system_error, std::runtime_error with a message that says what to do.
Descriptor OpenUdpSocket(const std::string& host, uint16_t port, SocketAddress* local);

}  // namespace qpip::wire
