// Transmit contexts: what is on its way from a work request to the wire, and the frames that the
// wire has refused.
#pragma once

#include "nic_fw/packet.h"
#include "nic_fw/state.h"

namespace qpip::fw {

/// Takes a free context, or kNone.
inline uint32_t TakeTransmitContext(const Nic& nic) {
  const uint32_t index = PopFront(nic.state.free_transmit, TransmitLink{nic});
  if (index == kNone) return kNone;
  nic.transmit(index).payload = 0;
  nic.transmit(index).framing_bytes = 0;
  nic.transmit(index).is_request_less = false;
  nic.transmit(index).seal = false;
  return index;
}
/// Gives it back.
inline void ReturnTransmitContext(const Nic& nic, uint32_t index) {
  PushFront(nic.state.free_transmit, TransmitLink{nic}, index);
}
/// Room for one more segment or datagram on its way out.
inline bool CanFetchPayload(const Nic& nic) {
  return !nic.state.free_transmit.empty() && nic.hardware.PayloadRoom() != 0;
}

/// Where the text of a context lies, its payload fetched.
PayloadSource SourceOf(const TransmitContext& context);

/// Gives back what the wire refused of `q`: lost, as in a switch with a full queue.
void DropRefused(const Nic& nic, QueuePair& q);
/// What the wire refused of answers to peers' requests is the NIC's own from now on. No work
/// request of the host stands for them, so that it may take their memory back at any time.
void KeepRefusedAnswers(const Nic& nic);
/// UDP: a datagram was refused for too long: its send is over.
void OnDatagramLost(const Nic& nic, SendQueue& send, const TransmitContext& context);

/// Notes that the wire refers to host memory; `repeat`: by text that is sent again.
inline void NoteLease(HostMemoryUse& use, uint64_t lease, bool repeat) {
  if (lease == 0) return;
  use.lease = lease;
  if (repeat) use.repeat_lease = lease;
}

/// Whether the wire still refers to text that was sent again.
inline bool RepeatOnWire(const Nic& nic, HostMemoryUse& use) {
  if (use.repeat_lease == 0) return false;
  if (nic.hardware.LeasePending(use.repeat_lease) != 0) return true;
  use.repeat_lease = 0;
  return false;
}

/// Completes the sends that are acknowledged. A completion gives the memory back: it waits for the
/// wire while that refers to text that was sent again (RetryRefused goes on).
void CompleteSends(const Nic& nic, QueuePair& q);
/// ... whether it does or not.
void CompleteDone(const Nic& nic, QueuePair& q);

}  // namespace qpip::fw
