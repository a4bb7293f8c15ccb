// Reassembly of fragmented packets (RFC 8200 section 4.5; RFC 5722, 6946, 7112).
//
// A packet in the making is a slot: its headers in SRAM, its bytes in 64 KiB of host memory, where
// the DMA engine puts each fragment as it arrives and from where a copy takes them to a receive.
// The core touches none of them.
//
//     fragments --> payload_place --> | slot of the pool |--> dma_copy --> posted receive
//     first one's headers ----------> | head             |    (or an ICMPv6 answer fetches them)
//
// A reassembled packet is to the layers above a received frame like any other, with a handle that
// says where it lies: so frames are placed and released by the functions here.
#pragma once

#include "nic_fw/received_packet.h"
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
  return nic.Table<ReassemblySlot>(nic.state.reassembly_offset)[index];
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
/// payload_place for a received frame of either kind.
void PlaceFrame(const Nic& nic, uint32_t frame, uint32_t offset, const DmaSegment* to,
                uint32_t count, uint32_t tag);

/// Takes over the frame of a fragment that is no atomic one.
void OnFragment(const Nic& nic, const ReceivedPacket& packet);
/// A fragment is in the pool.
void OnFragmentPlaced(const Nic& nic, uint32_t context, uint32_t status);

void FreeSlot(const Nic& nic, uint32_t index);
/// Gives up what has waited too long. Returns false when nothing has.
bool ServiceReassembly(const Nic& nic);
/// When something will be due; tcp::kNever: nothing waits.
uint64_t ReassemblyDeadline(const Nic& nic);

}  // namespace qpip::fw
