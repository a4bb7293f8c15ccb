// The life of a queue pair and its TCP connection: opening, ending, flushing, freeing.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// The one place where a queue pair changes state; traced.
void SetQpState(const Nic& nic, QueuePair& q, QpState state);

/// Starts an active open to `q.tuple`, which is filed already.
void StartActiveOpen(const Nic& nic, QueuePair& q);
/// Mates `q` with a SYN that arrived for `listener`.
void StartPassiveOpen(const Nic& nic, QueuePair& q, uint32_t listener, const tcp::FourTuple& tuple,
                      const tcp::Header& syn);
/// Mates `q` with a handshake that a SYN cookie began; `ack` is to be delivered to it next.
void StartFromCookie(const Nic& nic, QueuePair& q, uint32_t listener, const tcp::FourTuple& tuple,
                     const tcp::Header& ack, const tcp::Header& syn);
/// What connections of this NIC are opened with, as far as it does not depend on the queue pair.
tcp::Options TcpDefaults(const Nic& nic);
/// A handshake that the peer does not complete gives its queue pair up, which is idle afterwards.
void EvictHalfOpen(const Nic& nic, QueuePair& q);
/// TIME-WAIT ends early: its 4-tuple is wanted (RFC 6191).
void EndTimeWait(const Nic& nic, QueuePair& q);
/// The handshake is complete: tells the host.
void OnEstablished(const Nic& nic, QueuePair& q);

/// Something to tell the host that does not end `q`: abi::NoticeFlags. One event, until it is
/// asked.
void Notify(const Nic& nic, QueuePair& q, uint32_t notices);

/// Recomputes what `q` can take and lets the TCP machine advertise it.
void UpdateReceiveWindow(const Nic& nic, QueuePair& q);

/// Ends the connection without further protocol exchange: stops timers and scheduling, then
/// flushes as soon as no DMA and no lease refers to the queue pair's memory. `head` is the status
/// of the first work request flushed in each queue; the rest get kFlushed.
void EndConnection(const Nic& nic, QueuePair& q, abi::DisconnectReason reason,
                   abi::CompletionStatus head);
/// RST (if the state calls for one), then EndConnection with kAborted.
void AbortConnection(const Nic& nic, QueuePair& q);
/// The host's own fault: send WQE `index` completes with `status`, connection is reset.
void FailSend(const Nic& nic, QueuePair& q, uint32_t index, abi::CompletionStatus status);
/// The same for the receive being filled.
void FailReceive(const Nic& nic, QueuePair& q, abi::CompletionStatus status);

/// Completes all posted sends, oldest first, with the statuses that `q` records.
void FlushSends(const Nic& nic, QueuePair& q);

/// FIN both ways (TIME-WAIT or closed): finishes once all data is delivered.
void OnTransportDone(const Nic& nic, QueuePair& q);
/// Finishes an orderly close if everything was delivered.
void FinishOrderlyClose(const Nic& nic, QueuePair& q);

/// Flushes what is drained. Returns true when at least one queue pair moved on.
bool PollDraining(const Nic& nic);

/// The host lets go of `q`: answers the kDestroyQp command once its memory is free.
void DestroyQueuePair(const Nic& nic, QueuePair& q, uint32_t command_id);
/// Returns an entry to the table.
void FreeQueuePair(const Nic& nic, QueuePair& q);
/// An unused queue pair, evicting the oldest TIME-WAIT orphan if need be; kNone when there is none.
uint32_t AllocateQueuePair(const Nic& nic);

/// An unused local port for a connection to the rest of `tuple` (RFC 6056 random start), 0 if none.
uint16_t EphemeralTcpPort(const Nic& nic, tcp::FourTuple tuple);
uint16_t EphemeralUdpPort(const Nic& nic);

/// All connections with `peer` end: its port left the fabric.
void OnPeerDown(const Nic& nic, const ipv6::Address& peer);

/// A timer of `q` is due.
void OnTimer(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
