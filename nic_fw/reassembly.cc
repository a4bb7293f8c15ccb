#include "nic_fw/reassembly.h"

#include <cstring>

#include "nic_fw/icmp.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/neighbour.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kReassemblyTimeNs = uint64_t{60} * 1000 * 1000 * 1000;  // RFC 8200 4.5
constexpr uint64_t kRetryNs = 1000 * 1000;
/// The fragments of a packet leave one behind the other: what misses some for so long is to wait
/// for nobody's sake.
constexpr uint64_t kOverdueNs = uint64_t{1000} * 1000 * 1000;
constexpr uint32_t kHeader = ipv6::kHeaderBytes;
constexpr uint32_t kFragmentHeader = ipv6::kFragmentHeaderBytes;
constexpr uint32_t kOffsetField = 2;  // in the Fragment header
constexpr uint32_t kClassLow = 1;     // byte of the header with the traffic class's lower half
constexpr uint32_t kEcnShift = 4;     // in it

void Drop(const Nic& nic, const ReceivedPacket& packet, abi::DropReason reason) {
  nic.Drop(reason);
  ReleaseFrame(nic, packet.frame.frame);
}

/// Slots whose bytes nobody uses, so that they can be given to another packet.
bool IsEvictable(const ReassemblySlot& slot) {
  return slot.in_flight == 0 &&
         (slot.state == SlotState::kCollecting || slot.state == SlotState::kGivenUp);
}

uint32_t FindSlot(const Nic& nic, const ReceivedPacket& packet) {
  for (uint32_t i = 0; i < nic.state.config.reassembly_slots; ++i) {
    const ReassemblySlot& slot = SlotAt(nic, i);
    const bool open = slot.state == SlotState::kCollecting || slot.state == SlotState::kGivenUp;
    if (open && slot.identification == packet.upper.fragment.identification &&
        slot.source == packet.ip.source && slot.destination == packet.ip.destination) {
      return i;
    }
  }
  return kNone;
}

/// Which of two slots has waited longer; `other` may be kNone.
uint32_t Older(const Nic& nic, uint32_t index, uint32_t other) {
  return other == kNone || SlotAt(nic, index).deadline < SlotAt(nic, other).deadline ? index
                                                                                     : other;
}

/// A slot for a new packet: a free one, or that of the packet which has waited longest, as the
/// fragments it misses are the least likely still to come. But a network that has half of the slots
/// gives up one of its own, unless another's is overdue: whoever begins packets and ends none
/// drives out his own neighbours. kNone: all are in use.
uint32_t PlaceFor(const Nic& nic, const ipv6::Address& source) {
  constexpr uint32_t kNetworkBits = 64;  // a host may have all addresses of its link
  const uint32_t slots = nic.state.config.reassembly_slots;
  uint32_t oldest = kNone;
  uint32_t oldest_of_network = kNone;
  uint32_t of_network = 0;
  for (uint32_t i = 0; i < slots; ++i) {
    const ReassemblySlot& slot = SlotAt(nic, i);
    if (slot.state == SlotState::kFree) return i;
    if (!IsEvictable(slot)) continue;
    oldest = Older(nic, i, oldest);
    if (!icmpv6::PrefixMatches(slot.source, source, kNetworkBits)) continue;
    oldest_of_network = Older(nic, i, oldest_of_network);
    ++of_network;
  }
  if (oldest == kNone) return kNone;
  const bool overdue = nic.now + kReassemblyTimeNs - SlotAt(nic, oldest).deadline > kOverdueNs;
  return !overdue && 2 * of_network >= slots ? oldest_of_network : oldest;
}

uint32_t NewSlot(const Nic& nic, const ReceivedPacket& packet) {
  const uint32_t place = PlaceFor(nic, packet.ip.source);
  if (place == kNone) return kNone;
  ReassemblySlot& slot = SlotAt(nic, place);
  if (slot.state != SlotState::kFree) nic.Drop(abi::DropReason::kReassemblyFull);
  slot = ReassemblySlot{};
  slot.source = packet.ip.source;
  slot.destination = packet.ip.destination;
  slot.identification = packet.upper.fragment.identification;
  slot.state = SlotState::kCollecting;
  slot.deadline = nic.now + kReassemblyTimeNs;
  if (slot.deadline < nic.state.reassembly_deadline) nic.state.reassembly_deadline = slot.deadline;
  return place;
}

/// What a fragment is refused for by itself, and answered, whatever else has come of its packet.
bool IsWellFormed(const Nic& nic, ReceivedPacket& packet) {
  const ipv6::FragmentInfo& fragment = packet.upper.fragment;
  const uint32_t length = packet.upper.length;
  if (length == 0 || (fragment.more && length % ipv6::kFragmentUnit != 0)) {
    packet.upper.pointer = ipv6::offset::kPayloadLength;
    packet.upper.icmp_code = icmpv6::kErroneousField;
  } else if (fragment.header_at - kHeader + fragment.offset + length > ipv6::kMaxPayload) {
    packet.upper.pointer = fragment.header_at + kOffsetField;
    packet.upper.icmp_code = icmpv6::kErroneousField;
  } else if (fragment.offset == 0 &&
             !ipv6::HasWholeHeaderChain({packet.frame.header, packet.frame.header_length},
                                        packet.ip)) {
    packet.upper.pointer = 0;
    packet.upper.icmp_code = icmpv6::kIncompleteHeaderChain;  // RFC 7112 section 5
  } else {
    return true;
  }
  SendParameterProblem(nic, packet);
  return false;
}

/// The bit of a codepoint in ReassemblySlot::ecn_seen.
constexpr uint8_t EcnBit(tcp::EcnCodepoint codepoint) {
  return static_cast<uint8_t>(1u << static_cast<uint32_t>(codepoint));
}

/// No mark of a fragment is lost, and none is put on a packet whose transport does not know them
/// (RFC 3168 section 5.3). Returns false when only dropping the packet does both.
bool KeepMark(ReassemblySlot& slot) {
  constexpr auto kMark = tcp::EcnCodepoint::kCongestionExperienced;
  if ((slot.ecn_seen & EcnBit(kMark)) == 0) return true;
  if ((slot.ecn_seen & EcnBit(tcp::EcnCodepoint::kNotCapable)) != 0) return false;
  slot.head[kClassLow] |= static_cast<uint8_t>(static_cast<uint32_t>(kMark) << kEcnShift);
  return true;
}

/// The first fragment brings the headers, as RFC 8200 takes them from it alone.
void KeepHead(ReassemblySlot& slot, const ReceivedPacket& packet) {
  const uint32_t end = packet.upper.offset + packet.upper.length;
  uint32_t length = packet.frame.header_length < end ? packet.frame.header_length : end;
  if (length > sizeof(slot.head)) length = sizeof(slot.head);
  std::memcpy(slot.head, packet.frame.header, length);
  slot.head_length = length;
  slot.header_at = packet.upper.fragment.header_at;
  slot.next_header_at = packet.upper.next_header_at;
  slot.first_length = packet.upper.length;
}

void StartPlacing(const Nic& nic, uint32_t index, const ReceivedPacket& packet) {
  ReassemblySlot& slot = SlotAt(nic, index);
  const uint32_t context_index = TakeReceiveContext(nic);
  ReceiveContext& context = nic.receive(context_index);
  context.frame = packet.frame.frame;
  context.in_flight = packet.upper.length;
  context.slot = index;
  const DmaSegment to{PoolOf(nic, index) + packet.upper.fragment.offset, packet.upper.length, 0};
  ++slot.in_flight;
  nic.hardware.PayloadPlace(context.frame, packet.upper.offset, &to, 1,
                            MakeTag(Tag::kFragment, context_index));
}

/// Takes the Fragment header out of `head`, which becomes the start of the whole packet. Returns
/// false when that is longer than a packet may be.
bool Whole(ReassemblySlot& slot, uint32_t* packet_length) {
  const uint32_t payload = slot.header_at - kHeader + slot.map.length;
  if (payload > ipv6::kMaxPayload) return false;
  slot.head[slot.next_header_at] = slot.head[slot.header_at];
  StoreBe16(slot.head + ipv6::offset::kPayloadLength, static_cast<uint16_t>(payload));
  const uint32_t behind = slot.header_at + kFragmentHeader;
  std::memmove(slot.head + slot.header_at, slot.head + behind, slot.head_length - behind);
  slot.head_length -= kFragmentHeader;
  *packet_length = kHeader + payload;
  return true;
}

/// All fragments are in the pool: the packet goes the way of any other. Returns false when it is
/// dropped.
bool Deliver(const Nic& nic, uint32_t index, ReceivedPacket* packet) {
  ReassemblySlot& slot = SlotAt(nic, index);
  *packet = ReceivedPacket{};
  packet->variant = Variant::kDatagram;
  if (!Whole(slot, &packet->frame.length)) {
    nic.Drop(abi::DropReason::kBadFragment);
    FreeSlot(nic, index);
    return false;
  }
  if (!KeepMark(slot)) {
    nic.Drop(abi::DropReason::kFragmentMarks);
    FreeSlot(nic, index);
    return false;
  }
  slot.state = SlotState::kDelivered;
  slot.deadline = tcp::kNever;
  packet->frame.header = slot.head;
  packet->frame.header_length = slot.head_length;
  packet->frame.frame = kReassembledFrame | index;
  packet->frame.flags = kFrameSumValid;
  packet->frame.sum = ChecksumAdd({slot.head + kHeader, slot.header_at - kHeader}, slot.sum);
  nic.Count(abi::NicCounter::kPacketsReassembled);
  return true;
}

void GiveUp(const Nic& nic, ReassemblySlot& slot, abi::DropReason reason) {
  nic.Drop(reason);
  slot.state = SlotState::kGivenUp;
}

}  // namespace

void OnFragment(const Nic& nic, const ReceivedPacket& received) {
  ReceivedPacket packet = received;
  nic.Count(abi::NicCounter::kFragmentsReceived);
  const NicConfig& config = nic.state.config;
  if (config.reassembly_slots == 0 || config.reassembly_pool == 0 ||
      IsReassembled(packet.frame.frame)) {  // a fragment in fragments, which nobody has a use for
    Drop(nic, packet, abi::DropReason::kFragment);
    return;
  }
  if (!IsWellFormed(nic, packet)) {
    Drop(nic, packet, abi::DropReason::kBadFragment);
    return;
  }
  if (packet.upper.offset > sizeof(ReassemblySlot::head)) {
    Drop(nic, packet, abi::DropReason::kHeaderChainTooLong);
    return;
  }
  if (!HasReceiveContext(nic)) {
    Drop(nic, packet, abi::DropReason::kNoReceiveContext);
    return;
  }
  uint32_t index = FindSlot(nic, packet);
  if (index == kNone) index = NewSlot(nic, packet);
  if (index == kNone) {
    Drop(nic, packet, abi::DropReason::kReassemblyFull);
    return;
  }
  ReassemblySlot& slot = SlotAt(nic, index);
  if (slot.state == SlotState::kGivenUp) {
    Drop(nic, packet, abi::DropReason::kFragmentOverlap);
    return;
  }
  const ipv6::FragmentInfo& fragment = packet.upper.fragment;
  switch (ipv6::AddFragment(slot.map, fragment.offset, packet.upper.length, fragment.more)) {
    case ipv6::FragmentVerdict::kDuplicate:
      Drop(nic, packet, abi::DropReason::kFragmentDuplicate);
      return;
    case ipv6::FragmentVerdict::kOverlap:
      GiveUp(nic, slot, abi::DropReason::kFragmentOverlap);
      ReleaseFrame(nic, packet.frame.frame);
      return;
    case ipv6::FragmentVerdict::kTaken:
      break;
  }
  if (fragment.offset == 0) KeepHead(slot, packet);
  slot.ecn_seen |= EcnBit(static_cast<tcp::EcnCodepoint>(packet.ip.traffic_class & 3));
  // Offsets are even, so no part's sum needs a swap.
  slot.sum = ChecksumCombine(slot.sum, UpperSum(nic, packet));
  StartPlacing(nic, index, packet);
}

bool OnFragmentPlaced(const Nic& nic, uint32_t context, uint32_t status, ReceivedPacket* whole) {
  const uint32_t index = nic.receive(context).slot;
  ReassemblySlot& slot = SlotAt(nic, index);
  nic.Charge(Stage::kRxPutData, Variant::kDatagram, nic.receive(context).in_flight);
  ReturnReceiveContext(nic, context);
  --slot.in_flight;
  if (slot.state != SlotState::kCollecting) return false;
  if (status != kDmaOk) {
    GiveUp(nic, slot, abi::DropReason::kBadFragment);
    return false;
  }
  return slot.map.Complete() && slot.in_flight == 0 && Deliver(nic, index, whole);
}

bool ServiceReassembly(const Nic& nic) {
  if (nic.state.reassembly_deadline > nic.now) return false;
  uint64_t next = tcp::kNever;
  for (uint32_t i = 0; i < nic.state.config.reassembly_slots; ++i) {
    ReassemblySlot& slot = SlotAt(nic, i);
    if (slot.deadline <= nic.now && slot.in_flight != 0) slot.deadline = nic.now + kRetryNs;
    if (slot.deadline <= nic.now) {
      const bool collecting = slot.state == SlotState::kCollecting;
      slot.deadline = tcp::kNever;
      if (collecting) nic.Drop(abi::DropReason::kReassemblyTimeout);
      if (!collecting || slot.head_length == 0 || !SendReassemblyTimeExceeded(nic, i)) {
        FreeSlot(nic, i);
      }
    }
    if (slot.deadline < next) next = slot.deadline;
  }
  nic.state.reassembly_deadline = next;
  return true;
}

uint64_t ReassemblyDeadline(const Nic& nic) { return nic.state.reassembly_deadline; }

}  // namespace qpip::fw
