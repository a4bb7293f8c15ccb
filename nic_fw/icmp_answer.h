// Sending ICMPv6 messages whose body is bytes of a received packet: echo replies and errors.
//
// Bytes of a frame are copied by the port at once. Those of a reassembled packet lie in host memory
// and are fetched, a fragment's worth at a time, while the packet's slot is kept.
#pragma once

#include "nic_fw/received_packet.h"
#include "nic_fw/state.h"
#include "protocols/icmpv6/message.h"

namespace qpip::fw {

/// Answers `packet`, which stays the caller's, with `header` and [offset, offset + length) of it;
/// in fragments if that is larger than the path takes. Best effort: an answer that finds no buffer
/// or a full wire is lost.
void SendFromPacket(const Nic& nic, const ReceivedPacket& packet, icmpv6::Header header,
                    uint32_t offset, uint32_t length);

/// Sends `header` with the first `length` bytes of the first fragment that a slot has, which is
/// then free.
void SendFromFirstFragment(const Nic& nic, uint32_t slot, icmpv6::Header header, uint32_t length);

/// Bytes of an answer have been fetched from a slot's pool.
void OnAnswerFetched(const Nic& nic, uint32_t slot, const DmaCompletion& completion);

}  // namespace qpip::fw
