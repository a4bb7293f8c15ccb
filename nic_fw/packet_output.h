// How a whole packet leaves: whom on the link it goes to, and what becomes of one that cannot go
// now.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Hands a packet to the wire, and counts it. On Ethernet its neighbour's link address is filled in
/// first; while that is being asked for, the packet is kept, and is as good as sent. The last
/// `inline_length` bytes of its header are payload. Answers SendStatus, and its payload is consumed
/// unless that is kSendBusy. `*lease` is 0 or the frame's.
uint32_t SendPacket(const Nic& nic, FrameOut& packet, uint32_t inline_length, uint64_t* lease);

/// A packet that cannot go anywhere: its payload is let go of. Answers kSendNoRoute.
uint32_t NoWay(const Nic& nic, uint32_t payload, abi::DropReason reason);

}  // namespace qpip::fw
