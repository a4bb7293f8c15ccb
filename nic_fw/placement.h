// Placement: received text on its way to posted receives, or to the overflow pool when short
// messages have used the receives up; and the end of the stream.
//
// A queue pair's accepted segments form a list of receive contexts in stream order. Each issues one
// DMA at a time; later contexts go on as soon as earlier ones have issued all their bytes, so the
// order of the engine is the order of the stream. While the pool holds anything, new text goes
// behind it. What text means is the framing's (framing.h).
//
// Text that is ahead of its turn goes to its place in the pool at once, beside that list. When the
// gap before it is filled it is there already: the engine finishes transfers in the order they
// were started in, and what fills the gap was started later.
#pragma once

#include "nic_fw/state.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {

/// Takes over `frame`: its bytes from `text_offset` on are what `arrival` takes of `q`'s stream:
/// the next in order, or held ones. A context is free (HasReceiveContext).
void QueueText(const Nic& nic, QueuePair& q, uint32_t frame, uint32_t text_offset,
               const tcp::Arrival& arrival);
/// Takes over `frame` for a datagram. A receive must be posted for it (CanQueueDatagram), and a
/// context be free.
void QueueDatagram(const Nic& nic, QueuePair& q, uint32_t frame, uint32_t offset, uint32_t length,
                   const ipv6::Address& peer, uint16_t peer_port);
bool CanQueueDatagram(const Nic& nic, QueuePair& q);

/// Receives were posted, or text has found its place: offers the window, issues whatever can be,
/// delivers the end of the stream, and lets an acknowledgement go that is due.
void AfterProgress(const Nic& nic, QueuePair& q);

/// DMA completions.
void OnPlaced(const Nic& nic, uint32_t context, uint32_t status);
void OnRecvWqesFetched(const Nic& nic, QueuePair& q, uint32_t status);
void OnDrainRecordsFetched(const Nic& nic, QueuePair& q, uint32_t status);
void OnDrainCopied(const Nic& nic, QueuePair& q, uint32_t status);

/// Delivers the end of the stream if all data before it has been.
void DeliverEndOfStream(const Nic& nic, QueuePair& q);

/// Acknowledges what the batch of received frames has placed. Returns false when there was nothing.
bool EndBatch(const Nic& nic);

}  // namespace qpip::fw
