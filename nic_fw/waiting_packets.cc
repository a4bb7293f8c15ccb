#include "nic_fw/waiting_packets.h"

#include <cstring>

#include "protocols/common/byte_order.h"
#include "protocols/ipv6/header.h"

namespace qpip::fw {
namespace {

// Packets that wait for one neighbour, and for a route; fragments of one datagram count as one.
constexpr uint32_t kPerNeighbour = 3;
constexpr uint32_t kWithoutRoute = 16;

/// The list that the packets of `neighbour` are on.
List& QueueOf(const Nic& nic, uint32_t neighbour) {
  return neighbour == kNone ? LinkOf(nic).without_route : NeighbourAt(nic, neighbour).waiting;
}

void Release(const Nic& nic, uint32_t index, List& list) {
  LinkState& link = LinkOf(nic);
  Remove(list, WaitingLink{nic}, index);
  Remove(link.waiting, WaitingAgeLink{nic}, index);
  PushFront(link.free_packets, WaitingLink{nic}, index);
}

/// A packet that waits is lost.
void Lose(const Nic& nic, uint32_t index) {
  const WaitingPacket& packet = WaitingAt(nic, index);
  if (packet.payload != 0) nic.hardware.PayloadRelease(packet.payload);
  Release(nic, index, QueueOf(nic, packet.neighbour));
  nic.Drop(abi::DropReason::kNoNeighbour);
}

/// Which packet of a list goes for another one: the oldest that was provoked, else the oldest, but
/// not for one that was provoked itself. kNone: there is none such.
template <typename LinkOfPacket>
uint32_t VictimOf(const Nic& nic, const List& list, LinkOfPacket link, bool provoked) {
  for (uint32_t i = list.head; i != kNone; i = link(i).next) {
    if (WaitingAt(nic, i).provoked) return i;
  }
  return provoked ? kNone : list.head;
}

/// What tells the datagram of a fragment from others of the same hosts; 0: not a fragment.
uint64_t DatagramOf(const uint8_t* header) {
  if (header[ipv6::offset::kNextHeader] != ipv6::kFragment) return 0;
  return uint64_t{1} << 32 | LoadBe32(header + ipv6::kHeaderBytes + 4);
}

/// Whether a packet is a fragment of a datagram of which one has come to the queue just before.
bool Continues(const Nic& nic, const List& queue, const uint8_t* header) {
  const uint64_t datagram = DatagramOf(header);
  return datagram != 0 && !queue.empty() &&
         DatagramOf(WaitingAt(nic, queue.tail).header) == datagram;
}

/// Packets of a queue, all fragments of one datagram counted as one.
uint32_t CountDatagrams(const Nic& nic, const List& queue) {
  uint32_t count = 0;
  uint64_t before = 0;
  for (uint32_t i = queue.head; i != kNone; i = WaitingAt(nic, i).link.next) {
    const uint64_t datagram = DatagramOf(WaitingAt(nic, i).header);
    if (datagram == 0 || datagram != before) ++count;
    before = datagram;
  }
  return count;
}

/// Whether another one has to go from the queue of `neighbour` before this packet may wait there.
bool IsFull(const Nic& nic, uint32_t neighbour, const uint8_t* header) {
  const List& queue = QueueOf(nic, neighbour);
  const uint32_t most = neighbour == kNone ? kWithoutRoute : kPerNeighbour;
  return !Continues(nic, queue, header) && CountDatagrams(nic, queue) >= most;
}

/// Whether MakeRoom finds room.
bool MayWait(const Nic& nic, uint32_t neighbour, const uint8_t* header, bool provoked) {
  const LinkState& link = LinkOf(nic);
  if (IsFull(nic, neighbour, header)) {
    return VictimOf(nic, QueueOf(nic, neighbour), WaitingLink{nic}, provoked) != kNone;
  }
  return !link.free_packets.empty() ||
         VictimOf(nic, link.waiting, WaitingAgeLink{nic}, provoked) != kNone;
}

/// Makes room for one more packet of `neighbour`.
void MakeRoom(const Nic& nic, uint32_t neighbour, const uint8_t* header, bool provoked) {
  const LinkState& link = LinkOf(nic);
  while (IsFull(nic, neighbour, header)) {
    const uint32_t victim = VictimOf(nic, QueueOf(nic, neighbour), WaitingLink{nic}, provoked);
    if (victim == kNone) break;  // the route has come for more than may wait for a neighbour
    Lose(nic, victim);
  }
  if (link.free_packets.empty()) {
    Lose(nic, VictimOf(nic, link.waiting, WaitingAgeLink{nic}, provoked));
  }
}

}  // namespace

void FormatWaitingPackets(const Nic& nic) {
  for (uint32_t i = 0; i < WaitingPackets(nic.state.config.link); ++i) {
    WaitingAt(nic, i) = WaitingPacket{};
    PushBack(LinkOf(nic).free_packets, WaitingLink{nic}, i);
  }
}

bool KeepWaiting(const Nic& nic, uint32_t neighbour, const FrameOut& out, uint32_t inline_length,
                 bool provoked) {
  LinkState& link = LinkOf(nic);
  const auto* bytes = static_cast<const uint8_t*>(out.header);
  // What does not fit here goes in front of the payload.
  const uint32_t length = out.header_length <= WaitingPacket::kBytes
                              ? out.header_length
                              : out.header_length - inline_length;
  QPIP_ASSERT(length <= WaitingPacket::kBytes);
  if (!MayWait(nic, neighbour, bytes, provoked)) return false;
  uint32_t payload = out.payload;
  if (payload != 0 || length != out.header_length) {
    payload = nic.hardware.PayloadKeep(payload, bytes + length, out.header_length - length);
    if (payload == 0) return false;
  }
  MakeRoom(nic, neighbour, bytes, provoked);
  List& queue = QueueOf(nic, neighbour);
  const uint32_t index = PopFront(link.free_packets, WaitingLink{nic});
  WaitingPacket& packet = WaitingAt(nic, index);
  packet.neighbour = neighbour;
  packet.payload = payload;
  packet.segment_size = out.segment_size;
  packet.provoked = provoked;
  packet.header_length = static_cast<uint8_t>(length);
  std::memcpy(packet.header, bytes, length);
  PushBack(queue, WaitingLink{nic}, index);
  PushBack(link.waiting, WaitingAgeLink{nic}, index);
  return true;
}

void SendWaiting(const Nic& nic, uint32_t neighbour) {
  const Neighbour& n = NeighbourAt(nic, neighbour);
  List& queue = QueueOf(nic, neighbour);
  while (!queue.empty()) {
    const uint32_t index = queue.head;
    const WaitingPacket& packet = WaitingAt(nic, index);
    FrameOut out;
    out.header = packet.header;
    out.header_length = packet.header_length;
    out.payload = packet.payload;
    out.segment_size = packet.segment_size;
    std::memcpy(out.link_address, n.link.data(), n.link.size());
    uint64_t lease = 0;
    const uint32_t status = nic.hardware.FrameSend(&out, &lease);
    if (status != kSendOk && status != kSendNoRoute && packet.payload != 0) {
      nic.hardware.PayloadRelease(packet.payload);
    }
    if (status == kSendOk) {
      nic.Count(abi::NicCounter::kFramesSent);
      nic.Count(abi::NicCounter::kBytesSent,
                ipv6::kHeaderBytes + LoadBe16(packet.header + ipv6::offset::kPayloadLength));
    } else {
      nic.Drop(abi::DropReason::kWireFull);
    }
    Release(nic, index, queue);
  }
}

void FailWaiting(const Nic& nic, uint32_t neighbour, uint8_t code) {
  LinkState& link = LinkOf(nic);
  List& queue = QueueOf(nic, neighbour);
  for (;;) {
    const uint32_t index = PopFront(queue, WaitingLink{nic});
    if (index == kNone) return;
    WaitingPacket& packet = WaitingAt(nic, index);
    packet.unreachable_code = code;
    Remove(link.waiting, WaitingAgeLink{nic}, index);
    PushBack(link.undeliverable, WaitingLink{nic}, index);
  }
}

void MoveToNeighbour(const Nic& nic, uint32_t neighbour) {
  const uint32_t index = PopFront(LinkOf(nic).without_route, WaitingLink{nic});
  WaitingAt(nic, index).neighbour = neighbour;
  List& queue = QueueOf(nic, neighbour);
  PushBack(queue, WaitingLink{nic}, index);
}

uint32_t NextUndeliverable(const Nic& nic) { return LinkOf(nic).undeliverable.head; }

void DropWaiting(const Nic& nic, uint32_t index) {
  LinkState& link = LinkOf(nic);
  Remove(link.undeliverable, WaitingLink{nic}, index);
  if (WaitingAt(nic, index).payload != 0) {
    nic.hardware.PayloadRelease(WaitingAt(nic, index).payload);
  }
  PushFront(link.free_packets, WaitingLink{nic}, index);
  nic.Drop(abi::DropReason::kNoNeighbour);
}

}  // namespace qpip::fw
