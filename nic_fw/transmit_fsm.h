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

/// Gives the queue pair whose turn it is one segment's worth of service. Returns false when there
/// was nothing to do.
bool ServiceTransmit(const Nic& nic);

/// Retries queue pairs whose frames the wire refused, in turn and a bounded number, until one gets
/// on. Returns false when none did.
bool RetryRefused(const Nic& nic);

/// DMA completions.
void OnSendWqesFetched(const Nic& nic, QueuePair& q, uint32_t status);
void OnPayloadFetched(const Nic& nic, uint32_t context, const DmaCompletion& completion);

}  // namespace qpip::fw
