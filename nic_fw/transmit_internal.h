// What the files of the transmit FSM share.
//
//     transmit_fsm.cc     scheduler, frames that the wire refused
//     transmit_tcp.cc     segments, one at a time or several in one packet
//     transmit_udp.cc     datagrams, whole and in fragments
//     transmit_shared.cc  work queue entries, the list of refused frames
#pragma once

#include <cstddef>
#include <span>

#include "nic_fw/abi/work_queue.h"
#include "nic_fw/packet.h"
#include "nic_fw/state.h"

namespace qpip::fw {

/// Outcome of one queue pair's turn.
struct Turn {
  enum class Kind : uint8_t {
    kIdle,     // nothing to send until something happens: off the list
    kSent,     // `bytes` were spent: stay on the list
    kNoBuffer  // no context or packet buffer: stay on the list, somebody else's completion helps
  };
  Kind kind = Kind::kIdle;
  uint32_t bytes = 0;
};
inline constexpr Turn kIdleTurn{Turn::Kind::kIdle, 0};
inline constexpr Turn kNoBufferTurn{Turn::Kind::kNoBuffer, 0};
constexpr Turn SentTurn(uint32_t bytes) { return {Turn::Kind::kSent, bytes}; }

/// Takes a free context, or kNone, and gives it back.
inline uint32_t TakeTransmitContext(const Nic& nic) {
  FirmwareState& s = nic.state;
  const uint32_t index = s.free_transmit;
  if (index == kNone) return kNone;
  s.free_transmit = nic.transmit(index).next;
  --s.free_transmit_count;
  nic.transmit(index).next = kNone;
  nic.transmit(index).payload = 0;
  return index;
}
inline void ReturnTransmitContext(const Nic& nic, uint32_t index) {
  nic.transmit(index).next = nic.state.free_transmit;
  nic.state.free_transmit = index;
  ++nic.state.free_transmit_count;
}
/// Room for one more segment or datagram on its way out.
inline bool CanFetchPayload(const Nic& nic) {
  return nic.state.free_transmit != kNone && nic.hardware.PayloadRoom() != 0;
}

/// The WQE `index`, which the cached window holds.
inline const abi::SendWqe* CachedWqe(const Nic& nic, const QueuePair& q, uint32_t index) {
  return reinterpret_cast<const abi::SendWqe*>(
      nic.SendCache(q) + ((index - q.send.window.first) << q.send.log2_stride));
}
inline std::span<const abi::Sge> SgeList(const abi::SendWqe& wqe) {
  return {reinterpret_cast<const abi::Sge*>(&wqe + 1), wqe.sge_count};
}
/// WQEs from `index` on that one transfer can fetch: posted, as many as fit the cache, not
/// wrapping.
uint32_t FetchableWqes(const Nic& nic, const QueuePair& q, uint32_t index);
/// Starts fetching them.
void FetchSendWqes(const Nic& nic, QueuePair& q, uint32_t index);
/// Whether the firmware can carry out a WQE; the host is not trusted.
abi::CompletionStatus CheckWqe(const Nic& nic, const QueuePair& q, const abi::SendWqe& wqe);

/// Puts `q` on the list of those whose frames the wire refused.
void Block(const Nic& nic, QueuePair& q);
/// Notes that the wire refers to host memory of `q`'s.
inline void NoteLease(QueuePair& q, uint64_t lease) {
  if (lease != 0) q.host_memory.lease = lease;
}

/// One packet's worth of service.
Turn ServiceTcp(const Nic& nic, QueuePair& q);
/// Puts freshly fetched WQEs into the retransmission store.
void AnnounceSends(const Nic& nic, QueuePair& q);
/// Sends a packet whose payload is ready. Returns false when the wire has no room.
bool SendReadySegment(const Nic& nic, QueuePair& q, TransmitContext& context,
                      PayloadSource payload);

/// One datagram's, or one fragment's, worth of service.
Turn ServiceUdp(const Nic& nic, QueuePair& q);
/// Sends a datagram or fragment whose payload is ready; the last one completes its WQE as soon as
/// it has left. Returns false when the wire has no room.
bool SendReadyDatagram(const Nic& nic, QueuePair& q, const TransmitContext& context,
                       PayloadSource payload);
/// A datagram that was refused for too long is lost: its send is over.
void OnDatagramLost(const Nic& nic, QueuePair& q, const TransmitContext& context);
/// A part of a datagram that was fetched for its sum alone.
void OnPartSummed(const Nic& nic, QueuePair& q, uint32_t index, uint32_t sum);

}  // namespace qpip::fw
