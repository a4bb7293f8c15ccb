// Listening ports: idle queue pairs that the server has offered, and SYNs that wait for one.
#pragma once

#include "nic_fw/state.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {

/// The listener on `port`, or kNone.
uint32_t FindListener(const Nic& nic, uint16_t port);

/// Starts listening; port 0 takes an ephemeral one. The handle goes to `*listener`.
abi::CommandStatus OpenListener(const Nic& nic, uint16_t port, uint16_t backlog,
                                uint32_t* listener);
/// Stops listening: who waits is forgotten, or reset if it takes itself for connected; offered
/// queue pairs return to kIdle, handshakes under way are reset.
void CloseListener(const Nic& nic, uint32_t listener);

/// A SYN for a connection of `tuple` in TIME-WAIT that yields to it. The connection makes way when
/// a queue pair takes the SYN up, and not before: its numbers say where the new ones may begin.
/// There is no cookie for the peer, whose number is not free; it was real a moment ago, and gets a
/// queue pair under pressure, too. Where none is idle, it waits or is dropped.
void OnReopeningSyn(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
                    const tcp::Header& syn);

/// Segment arrival in LISTEN (RFC 9293 3.10.7.2).
void OnListenSegment(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
                     const tcp::Segment& segment);

}  // namespace qpip::fw
