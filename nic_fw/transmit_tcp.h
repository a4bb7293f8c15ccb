// Segments on their way out, one at a time or several in one packet.
#pragma once

#include "nic_fw/packet.h"
#include "nic_fw/state.h"
#include "nic_fw/turn.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {

/// False when a turn would find nothing, be it because of what is not posted yet, or as all that is
/// has been sent and nothing is owed.
inline bool MayHaveToSend(const Nic& nic, const QueuePair& q) {
  return tcp::MayHaveSegment(q.tcb) || q.send.announced != q.send.producer ||
         q.send.shutdown_wanted || tcp::AckDue(q.tcb, nic.now);
}
/// One packet's worth of service.
Turn ServiceTcp(const Nic& nic, QueuePair& q);
/// WQEs have been fetched, or not: into the retransmission store with them. Those of a queue pair
/// that has failed meanwhile are forgotten.
void OnSendsFetched(const Nic& nic, QueuePair& q, uint32_t status);
/// Sends a packet whose text has been fetched. Returns false when the wire has no room.
bool SendFetchedSegment(const Nic& nic, QueuePair& q, TransmitContext& context,
                        const PayloadSource& text);

// For segments whose text comes from elsewhere (rdma_send.h).
struct GatheredText;
/// Sends what needs no payload: SYN, FIN, RST, acknowledgements.
Turn SendControl(const Nic& nic, QueuePair& q, const tcp::SendIntent& intent);
/// Sends a packet whose text is ready and whose header is as of now. Returns false when the wire
/// has no room.
bool SendReadySegment(const Nic& nic, QueuePair& q, TransmitContext& context, PayloadSource text);
/// What needs no fetch stays behind text whose fetch is under way, or the peer takes it for loss.
bool WaitsForText(SendQueue& send);
/// Starts fetching a packet's payload. Returns false when no packet buffer is free.
bool FetchText(const Nic& nic, QueuePair& q, const GatheredText& text, uint32_t context_index);

}  // namespace qpip::fw
