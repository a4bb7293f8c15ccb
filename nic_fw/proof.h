// Peers that a listener has answered without keeping a queue pair for them, and how they prove that
// they have seen the answer: by a SYN cookie (RFC 4987 3.6), or by the number that the queue pair
// used which has gone to somebody else since.
#pragma once

#include "nic_fw/state.h"
#include "protocols/tcp/header.h"

namespace qpip::fw {

/// Answers a SYN by a cookie, unless it was answered a moment ago.
void AnswerByCookie(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
                    const tcp::Header& syn);

/// An ACK for `listener` (RFC 9293 3.10.7.2, second check). A peer that it proves gets a queue
/// pair: an idle one, or that of the oldest handshake, whose peer can still come back or has had
/// its time (MayBeOnItsWay); or it waits for one. False: it proves
/// nothing, and is to be reset. True with no queue pair filed under `tuple`: it was dropped, and
/// the peer, who is connected, sends it again.
bool TakeProof(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
               const tcp::Header& header);

/// A segment for a queue pair whose passive handshake is under way. If it answers a cookie that its
/// peer was sent before, the handshake goes on as the cookie began it. False: it was dropped.
bool ReconcileHandshake(const Nic& nic, QueuePair& q, const tcp::Header& header);

}  // namespace qpip::fw
