// How a connection begins: active and passive opens.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// What connections of this NIC are opened with, as far as it does not depend on the queue pair.
tcp::Options TcpDefaults(const Nic& nic);

/// Starts an active open to `q.tuple`, which is filed already.
void StartActiveOpen(const Nic& nic, QueuePair& q);
/// Mates `q` with a SYN that arrived for `listener`. A connection of `tuple` in TIME-WAIT, which
/// yields to the SYN (tcp::TimeWaitYields), ends by this.
void StartPassiveOpen(const Nic& nic, QueuePair& q, uint32_t listener, const tcp::FourTuple& tuple,
                      const tcp::Header& syn);
/// Mates `q` with a handshake that its peer has proven to have seen. The ACK is to be delivered to
/// it next.
void StartFromHandshake(const Nic& nic, QueuePair& q, uint32_t listener,
                        const tcp::FourTuple& tuple, const tcp::Handshake& handshake);
/// The handshake is complete: tells the host.
void OnEstablished(const Nic& nic, QueuePair& q);

/// Takes up those that had to wait for a queue pair, or for handshakes that have ended since.
/// Returns true when there was one.
bool ServiceBacklogs(const Nic& nic);

}  // namespace qpip::fw
