// Datagrams on their way out. One that is larger than the path leaves in fragments (RFC 8200
// section 4.5), a turn of the scheduler each. The first of them carries the checksum of all, so the
// payload is read twice: once for its sum, part by part, and once to be sent. Only one part at a
// time needs a packet buffer, however large the datagram is.
#pragma once

#include "nic_fw/packet.h"
#include "nic_fw/state.h"
#include "nic_fw/turn.h"

namespace qpip::fw {

/// One datagram's, or one fragment's, worth of service.
Turn ServiceUdp(const Nic& nic, QueuePair& q);
/// Sends a datagram or fragment whose payload is ready; the last one completes its WQE as soon as
/// it has left. Returns false when the wire has no room.
bool SendReadyDatagram(const Nic& nic, QueuePair& q, const TransmitContext& context,
                       PayloadSource payload);
/// A part of a datagram that was fetched for its sum alone.
void OnPartSummed(const Nic& nic, SendQueue& send, uint32_t index, uint32_t sum);

}  // namespace qpip::fw
