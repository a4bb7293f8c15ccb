// The messages of an RDMA queue pair that lie in the sequence space, and which work requests are
// done.
#pragma once

#include "nic_fw/rdma_state.h"

namespace qpip::fw {

/// Takes an entry of the table for a new queue pair; false: there is none.
bool TakeRdmaState(const Nic& nic, QueuePair& q);
/// Gives it back, if there is one.
void ReturnRdmaState(const Nic& nic, QueuePair& q);

inline bool HasMessageRoom(const RdmaState& r, uint32_t messages = 1) {
  return r.message_count + messages <= kRdmaMessages;
}
/// Puts a message behind all others; there is room. Returns it.
RdmaMessage& PushMessage(QueuePair& q, RdmaState& r, const iwarp::StartedMessage& started,
                         MessageSource source);
/// ... and one that is no FPDU.
RdmaMessage& PushStartup(QueuePair& q, RdmaState& r, uint32_t bytes);
/// The message that holds `sequence`; nullptr: none.
RdmaMessage* FindMessage(RdmaState& r, tcp::SequenceNumber sequence);

/// In SendRecord::flags: it is done by a response, the `length`th of this end's requests.
inline constexpr uint32_t kRecordIsRequest = 1u << 16;

/// Forgets messages that are acknowledged: there is room for others, and for the peer's requests.
void ForgetAcknowledged(const Nic& nic, QueuePair& q);
/// ... and completes the work requests that are done.
void CompleteRdma(const Nic& nic, QueuePair& q);

/// The stream has been refused: text that nobody will look at gives its contexts back.
void DropRefusedText(const Nic& nic, QueuePair& q);
/// The connection is over: a receive that is being filled out of the pool is taken back.
void DropDelivery(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
