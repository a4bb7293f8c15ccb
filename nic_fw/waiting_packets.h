// Packets that wait for a neighbour's link address, or for a route: a few of each neighbour
// (RFC 4861 7.2.2), so that no SYN is lost, and so that whoever has sent one goes on with the next.
// What waits is the NIC's own: its payload lies in a packet buffer, and no host memory is held.
#pragma once

#include <span>

#include "nic_fw/link_state.h"

namespace qpip::fw {

/// Makes all places free. Once, when the arena has been formatted.
void FormatWaitingPackets(const Nic& nic);

/// Takes over a packet, of whose header the last `inline_length` bytes are payload, until the
/// address of `neighbour` is known; kNone: until there is a route. Of too many for one neighbour,
/// or of all, the oldest is lost: of those that strangers have `provoked`, if there is one. False:
/// no packet buffer was free, or all places are taken by packets that nobody has been told of, or,
/// for one that was provoked, by such as were not; its payload is the caller's still.
bool KeepWaiting(const Nic& nic, uint32_t neighbour, const FrameOut& out, uint32_t inline_length,
                 bool provoked);

/// Sends those that wait for `neighbour`, whose address is known, the oldest first.
void SendWaiting(const Nic& nic, uint32_t neighbour);

/// Those that wait for `neighbour`, kNone: for a route, cannot be delivered: ICMPv6 unreachable
/// `code`.
void FailWaiting(const Nic& nic, uint32_t neighbour, uint8_t code);

/// Files the oldest one that waits for a route under `neighbour`. There must be one.
void MoveToNeighbour(const Nic& nic, uint32_t neighbour);

/// A packet that could not be delivered, of which nobody has been told. kNone: there is none.
uint32_t NextUndeliverable(const Nic& nic);
/// It is lost.
void DropWaiting(const Nic& nic, uint32_t packet);

/// The header of a packet that waits, payload perhaps behind it.
inline std::span<const uint8_t> HeaderOf(const WaitingPacket& packet) {
  return {packet.header, packet.header_length};
}

}  // namespace qpip::fw
