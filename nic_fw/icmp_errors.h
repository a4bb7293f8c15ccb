// ICMPv6 errors that arrive: the packet they quote leads to a queue pair, and that it has really
// been sent from here is checked as far as can be, since anybody can send an error (RFC 5927).
#pragma once

#include "nic_fw/received_packet.h"
#include "nic_fw/state.h"
#include "protocols/icmpv6/message.h"

namespace qpip::fw {

/// Takes an error message whose checksum is right; the frame stays the caller's. Returns false when
/// it is about nothing that a queue pair here has sent.
bool OnIcmpError(const Nic& nic, const ReceivedPacket& packet, const icmpv6::Header& header);

/// Tells the queue pairs whose packets have waited on this link in vain, as by Destination
/// Unreachable (RFC 4861 7.2.2), and lets go of the packets.
void ReportUndeliverable(const Nic& nic);

}  // namespace qpip::fw
