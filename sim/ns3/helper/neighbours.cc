#include "sim/ns3/helper/neighbours.h"

#include <ns3/channel.h>
#include <ns3/ipv6-interface.h>
#include <ns3/ipv6-l3-protocol.h>
#include <ns3/ndisc-cache.h>

namespace qpip::sim {
namespace {

/// The stack of a device's node, and the NIC: each learns the other's addresses.
void IntroduceToStack(QpipNetDevice& nic, ns3::Ptr<ns3::NetDevice> other) {
  const auto stack = other->GetNode()->GetObject<ns3::Ipv6L3Protocol>();
  if (stack == nullptr) return;
  const int32_t index = stack->GetInterfaceForDevice(other);
  if (index < 0) return;
  const auto interface = stack->GetInterface(static_cast<uint32_t>(index));
  for (uint32_t i = 0; i < interface->GetNAddresses(); ++i) {
    nic.AddNeighbour(interface->GetAddress(i).GetAddress(), other->GetAddress());
  }
  const auto cache = interface->GetNdiscCache();
  if (cache == nullptr) return;  // a device without addresses, such as PointToPoint
  ns3::NdiscCache::Entry* entry = cache->Lookup(nic.GetIpv6());
  if (entry == nullptr) entry = cache->Add(nic.GetIpv6());
  entry->SetMacAddress(nic.lower()->GetAddress());
  entry->MarkPermanent();
}

/// NICs over a device.
void IntroduceToNics(QpipNetDevice& nic, ns3::Ptr<ns3::NetDevice> other) {
  const auto node = other->GetNode();
  for (uint32_t i = 0; i < node->GetNDevices(); ++i) {
    const auto peer = ns3::DynamicCast<QpipNetDevice>(node->GetDevice(i));
    if (peer == nullptr || peer->lower() != other) continue;
    nic.AddNeighbour(peer->GetIpv6(), other->GetAddress());
    peer->AddNeighbour(nic.GetIpv6(), nic.lower()->GetAddress());
  }
}

}  // namespace

void IntroduceOnLink(ns3::Ptr<QpipNetDevice> nic) {
  if (nic->lower() == nullptr) return;
  const auto channel = nic->lower()->GetChannel();
  for (size_t i = 0; i < channel->GetNDevices(); ++i) {
    const auto other = channel->GetDevice(i);
    if (other == nic->lower()) continue;
    IntroduceToStack(*nic, other);
    IntroduceToNics(*nic, other);
  }
}

}  // namespace qpip::sim
