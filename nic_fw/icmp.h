// ICMPv6 (RFC 4443): answers echo requests, reports what cannot be delivered, at a bounded rate.
#pragma once

#include "nic_fw/received_packet.h"

namespace qpip::fw {

/// Errors that may be sent back to back; then one every 10 ms (RFC 4443 2.4(f): token bucket).
inline constexpr uint32_t kIcmpErrorBurst = 10;

/// Takes over the frame.
void OnIcmp(const Nic& nic, const ReceivedPacket& packet);

// Errors about a packet that stays the caller's. Subject to RFC 4443 2.4(e) and (f).
void SendPortUnreachable(const Nic& nic, const ReceivedPacket& packet);
void SendParameterProblem(const Nic& nic, const ReceivedPacket& packet);
void SendUnknownNextHeader(const Nic& nic, const ReceivedPacket& packet);

/// Tells the source of a slot's first fragment that the rest has not come in time. Returns false
/// when that may not be said; else the slot is free when it has been.
bool SendReassemblyTimeExceeded(const Nic& nic, uint32_t slot);

}  // namespace qpip::fw
