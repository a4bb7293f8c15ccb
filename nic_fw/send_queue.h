// The send queue of a queue pair: checking its entries, the retransmission store, completing and
// flushing.
#pragma once

#include <span>

#include "nic_fw/abi/work_queue.h"
#include "nic_fw/state.h"

namespace qpip::fw {

/// The WQE `index`, which the cached window holds.
const abi::SendWqe& CachedSend(const Nic& nic, const SendQueue& send, uint32_t index);
std::span<const abi::Sge> SgeList(const abi::SendWqe& wqe);

/// Whether the firmware can carry out a WQE of `q`; the host is not trusted.
abi::CompletionStatus CheckSend(const Nic& nic, const SendQueue& send, uint32_t protection_domain,
                                const abi::SendWqe& wqe);

/// The announced message that holds `sequence`; kNone when there is none.
uint32_t FindRecord(const Nic& nic, SendQueue& send, tcp::SequenceNumber sequence);

/// Completes the oldest announced send.
void CompleteOldest(const Nic& nic, SendQueue& send);
/// Completes the sends that an acknowledgement of all before `acknowledged` covers.
void CompleteAcknowledged(const Nic& nic, SendQueue& send, tcp::SequenceNumber acknowledged);
/// UDP: the send `index` of `length` bytes is over, and all before it. `flags`: abi::SendWqeFlags.
void CompleteDatagram(const Nic& nic, SendQueue& send, uint32_t index, uint32_t flags,
                      uint32_t length);
/// UDP: the send `index` cannot be delivered, which no other send suffers from. Those before it are
/// over.
void FailDatagram(const Nic& nic, SendQueue& send, uint32_t index);
/// Completes all posted sends, oldest first, with the statuses that `ending` records.
void FlushSends(const Nic& nic, SendQueue& send, const Ending& ending);

}  // namespace qpip::fw
