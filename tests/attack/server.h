// The servers that are attacked: echo over TCP and UDP on one port and a source of bytes on
// another, with queue pairs and, as the control, with the kernel's sockets. Neither keeps a
// connection that has said nothing and taken nothing for kIdle. Both print "ready", end on SIGTERM,
// and print at the end what they are left with: a line of JSON with "sessions", "kibibytes"
// (resident, beyond those at the start) and, of queue pairs, the NIC's "statistics".
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace qpip::attack {

inline constexpr std::chrono::milliseconds kIdle(2000);

/// `offered` queue pairs wait for connections, and no more than `most` exist.
void ServeQpip(const std::string& uri, uint32_t offered, uint32_t most);
void ServeKernel(int backlog);
void RequestStop();  ///< from a signal handler

}  // namespace qpip::attack
