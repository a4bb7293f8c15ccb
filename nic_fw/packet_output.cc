#include "nic_fw/packet_output.h"

#include <cstring>

#include "nic_fw/neighbour_cache.h"
#include "nic_fw/waiting_packets.h"
#include "protocols/common/byte_order.h"
#include "protocols/ipv6/header.h"

namespace qpip::fw {
namespace {

/// Lost, as in a switch with a full queue: whoever has sent it goes on.
uint32_t Lose(const Nic& nic, uint32_t payload, abi::DropReason reason) {
  if (payload != 0) nic.hardware.PayloadRelease(payload);
  nic.Drop(reason);
  return kSendOk;
}

/// Whether a packet is of a queue pair that sends to others as well.
bool IsDatagram(const FrameOut& packet) {
  const uint8_t next = static_cast<const uint8_t*>(packet.header)[ipv6::offset::kNextHeader];
  return next == ipv6::kUdp || next == ipv6::kFragment;
}

/// Fills in whom a packet goes to. Returns false, with the answer to the sender, when it does not
/// go out now.
bool FindLinkAddress(const Nic& nic, FrameOut& packet, uint32_t inline_length, uint32_t* status) {
  const LinkResolution way =
      ResolveLink(nic, static_cast<const uint8_t*>(packet.header), packet.header_length);
  *status = kSendOk;
  switch (way.answer) {
    case LinkAnswer::kReady:
      std::memcpy(packet.link_address, way.link.data(), way.link.size());
      return true;
    case LinkAnswer::kResolving:
    case LinkAnswer::kNoRouteYet:
      if (!KeepWaiting(nic, way.neighbour, packet, inline_length, way.provoked)) {
        Lose(nic, packet.payload, abi::DropReason::kNoNeighbour);
      }
      break;
    case LinkAnswer::kWait:
      nic.Count(abi::NicCounter::kWireBusy);
      *status = kSendBusy;
      break;
    case LinkAnswer::kNoPlace:
      Lose(nic, packet.payload, abi::DropReason::kNoNeighbour);
      break;
    case LinkAnswer::kUnreachable:
      *status = NoWay(nic, packet.payload, abi::DropReason::kNoNeighbour);
      break;
    case LinkAnswer::kNoRoute:
      *status = NoWay(nic, packet.payload, abi::DropReason::kNoRoute);
      break;
  }
  return false;
}

}  // namespace

uint32_t NoWay(const Nic& nic, uint32_t payload, abi::DropReason reason) {
  if (payload != 0) nic.hardware.PayloadRelease(payload);
  nic.Drop(reason);
  return kSendNoRoute;
}

uint32_t SendPacket(const Nic& nic, FrameOut& packet, uint32_t inline_length, uint64_t* lease) {
  *lease = 0;
  uint32_t status = kSendOk;
  if (OnEthernet(nic) && !FindLinkAddress(nic, packet, inline_length, &status)) return status;
  status = nic.hardware.FrameSend(&packet, lease);
  if (status == kSendStopped) [[unlikely]] {
    // A connection waits for its own peer; datagrams to others do not wait for it.
    if (IsDatagram(packet)) return Lose(nic, packet.payload, abi::DropReason::kWireFull);
    status = kSendBusy;
  }
  if (status == kSendOk) {
    const auto* header = static_cast<const uint8_t*>(packet.header);
    nic.Count(abi::NicCounter::kFramesSent);
    nic.Count(abi::NicCounter::kBytesSent,
              ipv6::kHeaderBytes + LoadBe16(header + ipv6::offset::kPayloadLength));
  } else if (status == kSendBusy) {
    nic.Count(abi::NicCounter::kWireBusy);
  } else {
    nic.Drop(abi::DropReason::kNoRoute);
  }
  return status;
}

}  // namespace qpip::fw
