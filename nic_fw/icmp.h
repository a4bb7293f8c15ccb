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

}  // namespace qpip::fw
