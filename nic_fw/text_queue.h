// Received text between its acceptance and its place: a queue pair's receive contexts in stream
// order.
#pragma once

#include "nic_fw/received_frame.h"
#include "nic_fw/state.h"

namespace qpip::fw {

/// Gives back queued text; operations under way end on their own (ReceiveContext::detached). A
/// receive that is used up, but will not be completed, is flushed with those behind it.
void DropPlacements(const Nic& nic, QueuePair& q);
/// A receive that `context` has used up will not be completed by it.
void TakeBackReceive(ReceiveQueue& recv, const ReceiveContext& context);

}  // namespace qpip::fw
