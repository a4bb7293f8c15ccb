// Received frames, and what is under way with them. Two kinds: a frame that the receive engine
// holds, and a packet that was put together from fragments, which lies in a slot of host memory.
// To the layers above they are alike.
//
// A packet in the making is a slot: its headers in SRAM, its bytes in 64 KiB of host memory.
#pragma once

#include "nic_fw/state.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/fragment.h"

namespace qpip::fw {

enum class SlotState : uint8_t {
  kFree = 0,
  kCollecting = 1,  ///< fragments are missing, or on their way into the pool
  kGivenUp = 2,     ///< they overlapped: what still comes of the packet is dropped, until the
                    ///< time is over (RFC 5722 section 4)
  kDelivered = 3,   ///< whole; the upper layer has it as a frame
  kAnswering = 4,   ///< an ICMPv6 message is being sent of its bytes; then it is free
};

/// An ICMPv6 message that carries a slot's bytes: see icmp_answer.h.
struct SlotAnswer {
  icmpv6::Header header;        ///< its checksum is right when it goes out in fragments
  uint32_t quoted = 0;          ///< bytes of `head` in front of those of the pool
  uint32_t start = 0;           ///< first byte of the pool
  uint32_t next = 0;            ///< first byte not sent
  uint32_t end = 0;             ///< behind the last byte
  uint32_t chunk = 0;           ///< bytes a fragment; 0: goes out whole
  uint32_t identification = 0;  ///< of the fragments
  uint32_t payload = 0;         ///< being fetched
  uint32_t fetching = 0;        ///< bytes of it
};

struct ReassemblySlot {
  ipv6::Address source;
  ipv6::Address destination;
  uint32_t identification = 0;
  SlotState state = SlotState::kFree;
  uint8_t ecn_seen = 0;             ///< bits of EcnBit: what its fragments had
  uint64_t deadline = tcp::kNever;  ///< 60 s after the first of its fragments came
  uint32_t in_flight = 0;           ///< fragments on their way into the pool
  uint16_t sum = 0;                 ///< of the fragmentable part that is here
  // Of the first fragment.
  uint32_t head_length = 0;     ///< bytes in `head`; 0: it has not come
  uint32_t header_at = 0;       ///< where the Fragment header stands, and is taken out at the end
  uint32_t next_header_at = 0;  ///< where the byte stands that says there is one
  uint32_t first_length = 0;    ///< bytes behind the Fragment header
  uint8_t head[kMaxHeaderBytes] = {};
  SlotAnswer answer;
  ipv6::FragmentMap map;
};
static_assert(std::is_trivially_copyable_v<ReassemblySlot>);

inline ReassemblySlot& SlotAt(const Nic& nic, uint32_t index) {
  return nic.Table(nic.state.tables.reassembly)[index];
}
/// DMA address of a slot's bytes.
inline uint64_t PoolOf(const Nic& nic, uint32_t index) {
  return nic.state.config.reassembly_pool + uint64_t{index} * abi::kReassemblySlotBytes;
}

/// Handles of received frames: the backend's are below.
inline constexpr uint32_t kReassembledFrame = 1u << 31;
constexpr bool IsReassembled(uint32_t frame) { return (frame & kReassembledFrame) != 0; }
constexpr uint32_t SlotOf(uint32_t frame) { return frame & ~kReassembledFrame; }

/// Gives back a received frame of either kind. One that is being answered from stays until then.
void ReleaseFrame(const Nic& nic, uint32_t frame);
/// payload_place for a received frame of either kind; `length` 0 and `count` 0: no bytes.
void PlaceFrame(const Nic& nic, uint32_t frame, uint32_t offset, const DmaSegment* to,
                uint32_t count, uint32_t tag);

/// Reads bytes of a received frame into SRAM: a few, as the core does it itself. Answers DmaStatus;
/// kDmaFault when they are out of its reach (fragments, beyond their headers).
uint32_t ReadFrame(const Nic& nic, uint32_t frame, uint32_t offset, uint32_t length, uint8_t* to);

void FreeSlot(const Nic& nic, uint32_t index);

/// True when a context is free for another segment, datagram or fragment.
inline bool HasReceiveContext(const Nic& nic) { return !nic.state.free_receive.empty(); }
/// Takes that context, empty.
uint32_t TakeReceiveContext(const Nic& nic);
/// Gives a context back, and its frame.
void ReturnReceiveContext(const Nic& nic, uint32_t index);

}  // namespace qpip::fw
