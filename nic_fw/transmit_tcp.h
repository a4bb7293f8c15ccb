// Segments on their way out, one at a time or several in one packet.
#pragma once

#include "nic_fw/packet.h"
#include "nic_fw/state.h"
#include "nic_fw/turn.h"

namespace qpip::fw {

/// One packet's worth of service.
Turn ServiceTcp(const Nic& nic, QueuePair& q);
/// Puts freshly fetched WQEs into the retransmission store.
void AnnounceSends(const Nic& nic, QueuePair& q);
/// Sends a packet whose text is ready. Returns false when the wire has no room.
bool SendReadySegment(const Nic& nic, QueuePair& q, TransmitContext& context, PayloadSource text);

}  // namespace qpip::fw
