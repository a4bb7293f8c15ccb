// The receive queue of a queue pair: fetching its WQEs, using them up, flushing them.
#pragma once

#include <span>

#include "nic_fw/state.h"

namespace qpip::fw {

/// The WQE being filled, checked. nullptr when none is posted, when it is being fetched (the
/// completion pumps again), or when it was malformed and the queue pair has failed.
const abi::RecvWqe* CurrentReceive(const Nic& nic, QueuePair& q);
std::span<const abi::Sge> ReceiveList(const abi::RecvWqe& wqe);
/// The current WQE, of `length` bytes, is used up (however much of it was filled).
void ConsumeReceive(QueuePair& q, uint32_t length);
/// Completes the next WQE with no bytes: the peer's FIN. A partly filled one completes before it.
void CompleteEndOfStream(const Nic& nic, QueuePair& q);
/// Tells the host that the peer has shut down its direction.
void ReportPeerClosed(const Nic& nic, const QueuePair& q);

}  // namespace qpip::fw
