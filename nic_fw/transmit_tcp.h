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
/// What a segment is, besides its text.
struct SegmentPlan {
  uint32_t wqe_index = 0;
  uint32_t length = 0;  ///< in the sequence space: that of the text, and of what seals it
  bool ends_message = false;
  uint32_t segment_size = 0;     ///< 0: the wire need not cut it
  bool is_request_less = false;  ///< RDMA: of no work request
  bool seal = false;             ///< RDMA: pad and CRC follow the text
  bool seal_crc = false;         ///< ... the CRC is one, and not 0
  uint32_t head_crc = 0;         ///< ... of what `text` has in front of what is fetched
};
/// Commits a segment, and sends it, or starts fetching its text. CanFetchPayload holds.
Turn StartSegment(const Nic& nic, QueuePair& q, const tcp::SendIntent& intent,
                  const GatheredText& text, const SegmentPlan& plan);
/// What needs no fetch stays behind text whose fetch is under way, or the peer takes it for loss.
bool WaitsForText(SendQueue& send);

}  // namespace qpip::fw
