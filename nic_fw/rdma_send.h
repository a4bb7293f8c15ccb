// RDMA messages on their way out: work requests and the peer's requests become messages, messages
// FPDUs, an FPDU a segment where it fits (RFC 5040 section 5, RFC 5041 section 5.2, RFC 5044
// section 4).
//
//     | length 2 | DDP header | bytes of host memory           | pad | CRC |
//       inline, in front        fetched by the engine            put behind it (payload_seal)
//
// What TCP wants of an FPDU that it has to cut goes in up to three segments: what is in front with
// the bytes, the bytes, what is behind them.
#pragma once

#include "nic_fw/state.h"
#include "nic_fw/turn.h"

namespace qpip::fw {

/// One packet's worth of service, of an RDMA queue pair.
Turn ServiceRdma(const Nic& nic, QueuePair& q);
/// WQEs have been fetched, or not.
void OnRdmaSendsFetched(const Nic& nic, QueuePair& q, uint32_t status);
/// A segment's text has been fetched: puts the end of the FPDU behind it, if it is a whole one.
void SealFetched(const Nic& nic, TransmitContext& context);

}  // namespace qpip::fw
