// Reassembly of fragmented packets (RFC 8200 section 4.5; RFC 5722, 6946, 7112).
//
//     fragments --> payload_place --> | slot of the pool |--> dma_copy --> posted receive
//     first one's headers ----------> | head             |    (or an ICMPv6 answer fetches them)
//
// A slot's bytes lie in host memory, where the DMA engine puts each fragment as it arrives
// (received_frame.h). The core touches none of them.
#pragma once

#include "nic_fw/received_frame.h"
#include "nic_fw/received_packet.h"

namespace qpip::fw {

/// Takes over the frame of a fragment that is no atomic one.
void OnFragment(const Nic& nic, const ReceivedPacket& packet);
/// A fragment is in the pool. Returns true when its packet is whole: `*whole` is a received packet
/// like any other, to be processed.
bool OnFragmentPlaced(const Nic& nic, uint32_t context, uint32_t status, ReceivedPacket* whole);

/// Gives up what has waited too long. Returns false when nothing has.
bool ServiceReassembly(const Nic& nic);
/// When something will be due; tcp::kNever: nothing waits.
uint64_t ReassemblyDeadline(const Nic& nic);

}  // namespace qpip::fw
