#include "sim/ns3/helper/flow_probe.h"

#include <ns3/ipv6-header.h>
#include <ns3/simulator.h>

#include <array>

namespace qpip::sim {
namespace {

/// Version, traffic class (congestion marks) and flow label; and the hop limit, which routers
/// count.
constexpr uint32_t kFirstBytesIgnored = 4;
constexpr uint32_t kHopLimitOffset = 7;
/// IPv6 and TCP with options, and a little of what comes behind.
constexpr uint32_t kBytesHashed = 120;

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
uint64_t HashOf(const ns3::Packet& packet) {
  std::array<uint8_t, kBytesHashed> bytes;
  const uint32_t length = packet.CopyData(bytes.data(), bytes.size());
  uint64_t hash = 0xcbf29ce484222325u ^ packet.GetSize();
  for (uint32_t i = kFirstBytesIgnored; i < length; ++i) {
    if (i != kHopLimitOffset) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  }
  return hash;
}

}  // namespace

void PacketsInFlight::Sent(const ns3::Packet& packet, Id id) {
  Forget();
  const uint64_t hash = HashOf(packet);
  packets_[hash].push_back({id, ns3::Simulator::Now()});
  order_.emplace_back(ns3::Simulator::Now(), hash);
}

std::optional<PacketsInFlight::Id> PacketsInFlight::Arrived(const ns3::Packet& packet) {
  const auto found = packets_.find(HashOf(packet));
  if (found == packets_.end()) return std::nullopt;
  const Id id = found->second.front().id;
  found->second.pop_front();
  if (found->second.empty()) packets_.erase(found);
  return id;
}

void PacketsInFlight::Forget() {
  const ns3::Time old = ns3::Simulator::Now() - ns3::Seconds(kForgottenAfterSeconds);
  for (; !order_.empty() && order_.front().first < old; order_.pop_front()) {
    const auto found = packets_.find(order_.front().second);
    if (found == packets_.end() || found->second.front().sent >= old) continue;
    found->second.pop_front();
    if (found->second.empty()) packets_.erase(found);
  }
}

NS_OBJECT_ENSURE_REGISTERED(QpipFlowProbe);

ns3::TypeId QpipFlowProbe::GetTypeId() {
  static ns3::TypeId id =
      ns3::TypeId("ns3::QpipFlowProbe").SetParent<ns3::FlowProbe>().SetGroupName("Qpip");
  return id;
}

QpipFlowProbe::QpipFlowProbe(ns3::Ptr<ns3::FlowMonitor> monitor,
                             const ns3::Ptr<ns3::Ipv6FlowClassifier>& classifier,
                             std::shared_ptr<PacketsInFlight> flight)
    : FlowProbe(monitor), classifier_(classifier), flight_(std::move(flight)) {}

void QpipFlowProbe::Watch(ns3::Ptr<QpipNetDevice> nic) {
  const ns3::Ptr<QpipFlowProbe> self(this);
  nic->TraceConnectWithoutContext("MacTx", ns3::MakeCallback(&QpipFlowProbe::OnSent, self));
  nic->TraceConnectWithoutContext("MacRx", ns3::MakeCallback(&QpipFlowProbe::OnReceived, self));
}

void QpipFlowProbe::OnSent(ns3::Ptr<const ns3::Packet> packet) {
  const ns3::Ptr<ns3::Packet> text = packet->Copy();
  ns3::Ipv6Header header;
  text->RemoveHeader(header);
  PacketsInFlight::Id id;
  if (!classifier_->Classify(header, text, &id.flow, &id.packet)) return;  // no UDP, no TCP
  m_flowMonitor->ReportFirstTx(ns3::Ptr<QpipFlowProbe>(this), id.flow, id.packet,
                               packet->GetSize());
  flight_->Sent(*packet, id);
}

void QpipFlowProbe::OnReceived(ns3::Ptr<const ns3::Packet> packet) {
  const auto id = flight_->Arrived(*packet);
  if (!id) return;
  m_flowMonitor->ReportLastRx(ns3::Ptr<QpipFlowProbe>(this), id->flow, id->packet,
                              packet->GetSize());
}

}  // namespace qpip::sim
