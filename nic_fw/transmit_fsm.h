// The transmit FSM: schedules queue pairs, fetches work requests and payload, builds headers,
// sends (paper Figure 2, left; Table 2).
//
// A segment's way: ServiceTransmit picks a queue pair (byte-fair deficit round robin) and asks the
// TCP machine what may go; the WQE is fetched if it is not in the cached window; the payload is
// fetched; when that DMA completes the headers are built and the frame leaves. Each arrow is a DMA
// completion, so other queue pairs are served meanwhile.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Puts `q` on the scheduler's list if it is not there.
void Activate(const Nic& nic, QueuePair& q);
/// Takes `q` off the scheduler's list.
void Deactivate(const Nic& nic, QueuePair& q);

/// Gives the queue pair whose turn it is one segment's worth of service. Returns false when there
/// was nothing to do.
bool ServiceTransmit(const Nic& nic);

/// Retries one queue pair whose frames the wire refused. Returns false when none could be sent.
bool RetryBlocked(const Nic& nic);
/// Gives back the frames of `q` that the wire refused.
void DropBlocked(const Nic& nic, QueuePair& q);

/// DMA completions.
void OnSendWqesFetched(const Nic& nic, QueuePair& q, uint32_t status);
void OnPayloadFetched(const Nic& nic, uint32_t context, const DmaCompletion& completion);

/// Completes the sends that the acknowledgement `q.tcb.snd_una` covers.
void CompleteAcknowledged(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
