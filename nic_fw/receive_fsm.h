// The receive FSM: from a frame on the link to text in host memory and completions (paper Figure 2,
// right; Table 3).
#pragma once

#include "nic_fw/received_packet.h"
#include "nic_fw/state.h"

namespace qpip::fw {

/// Processes one received frame or link event. Returns false when there was none.
bool ServiceReceive(const Nic& nic);
/// Processes a packet of which the frame and the variant are known. Takes over the frame.
void ProcessPacket(const Nic& nic, ReceivedPacket& packet);

}  // namespace qpip::fw
