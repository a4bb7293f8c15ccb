// The receive queue of a queue pair: fetching its WQEs, using them up, flushing them.
#pragma once

#include <span>

#include "nic_fw/abi/work_queue.h"
#include "nic_fw/completion.h"
#include "nic_fw/state.h"

namespace qpip::fw {

/// The WQE being filled, if it is at hand.
struct CurrentReceive {
  const abi::RecvWqe* wqe = nullptr;  ///< nullptr: none is posted, or it is being fetched
  bool malformed = false;             ///< the host is to blame; `wqe` is nullptr
};
/// Answers what can be filled now. One that is posted but not cached is fetched; the completion of
/// that pumps again.
CurrentReceive FindCurrentReceive(const Nic& nic, ReceiveQueue& recv, HostMemoryUse& use);
std::span<const abi::Sge> ReceiveList(const abi::RecvWqe& wqe);
/// Learns from the host's memory of receives whose doorbell has not been taken yet: what is posted
/// before a message is sent has to be there for it. Returns whether there are any.
bool LookForReceives(const Nic& nic, QueuePair& q);
/// The current WQE, of `length` bytes, is used up (however much of it was filled).
void ConsumeReceive(ReceiveQueue& recv, uint32_t length);
/// WQE `index` is complete.
void CompleteReceive(const Nic& nic, const ReceiveQueue& recv, uint32_t index,
                     const CompletionDetail& detail);
/// Completes the next WQE with no bytes: the peer's FIN. A partly filled one completes before it.
void CompleteEndOfStream(const Nic& nic, ReceiveQueue& recv, Placement& placement);
/// Completes all posted receives, the first with the status that `ending` records.
void FlushReceives(const Nic& nic, ReceiveQueue& recv, Placement& placement, Ending& ending);

}  // namespace qpip::fw
