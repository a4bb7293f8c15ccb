// How a connection and its queue pair end: failing, resetting, closing in order, flushing, freeing.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Ends the connection without further protocol exchange: stops timers and scheduling, then
/// flushes as soon as no DMA and no lease refers to the queue pair's memory. `head` is the status
/// of the first work request flushed in each queue; the rest get kFlushed.
void EndConnection(const Nic& nic, QueuePair& q, abi::DisconnectReason reason,
                   abi::CompletionStatus head);
/// Whatever still has to happen before the end, the connection is not waited for beyond its user
/// time-out (100 s without one): it is aborted then.
void LimitEnding(const Nic& nic, QueuePair& q);
/// The peer has gone without a word, or with a reset. As EndConnection, but for RDMA messages that
/// wait for receives: the peer knows them to be done, so that they are received first. The
/// connection ends then, or when the host sends or shuts down.
void LosePeer(const Nic& nic, QueuePair& q, abi::DisconnectReason reason,
              abi::CompletionStatus head);
/// The end of a connection that LosePeer has kept.
void EndLost(const Nic& nic, QueuePair& q);
/// RST (if the state calls for one), then EndConnection.
void ResetConnection(const Nic& nic, QueuePair& q, abi::DisconnectReason reason,
                     abi::CompletionStatus head);
/// ... with kAborted.
void AbortConnection(const Nic& nic, QueuePair& q);
/// The host's own fault: send WQE `index` completes with `status`, connection is reset.
void FailSend(const Nic& nic, QueuePair& q, uint32_t index, abi::CompletionStatus status);
/// The same for the receive being filled.
void FailReceive(const Nic& nic, QueuePair& q, abi::CompletionStatus status);

/// A handshake leaves its queue pair, which is idle afterwards; the peer is told nothing.
void GiveUpHandshake(const Nic& nic, QueuePair& q);
/// TIME-WAIT ends early: its 4-tuple is wanted (RFC 6191).
void EndTimeWait(const Nic& nic, QueuePair& q);

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
/// Frees the oldest TIME-WAIT orphan that speaks RDMA, for what only those have a place in. Returns
/// false when there is none.
bool EvictRdmaOrphan(const Nic& nic);

}  // namespace qpip::fw
