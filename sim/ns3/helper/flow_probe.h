// ns-3's FlowMonitor beside QPIP NICs: what its probes in an Internet stack report, from a NIC.
#pragma once

#include <ns3/flow-monitor.h>
#include <ns3/flow-probe.h>
#include <ns3/ipv6-flow-classifier.h>
#include <ns3/nstime.h>
#include <ns3/packet.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::sim {

/// Packets that were sent and have not arrived. A NIC's frames carry no tags of ns-3's: a packet is
/// known again by its headers, but for what routers change in them. Of two that are the same the
/// first is taken to arrive first.
class PacketsInFlight {
 public:
  struct Id {
    ns3::FlowId flow;
    ns3::FlowPacketId packet;
  };
  /// `packet` begins with its IPv6 header.
  void Sent(const ns3::Packet& packet, Id id);
  /// Which one it is; nullopt: none that was sent within the last kForgottenAfter.
  std::optional<Id> Arrived(const ns3::Packet& packet);

  /// As long as FlowMonitor waits for a packet before it counts it as lost.
  static constexpr int kForgottenAfterSeconds = 10;

 private:
  void Forget();

  struct Entry {
    Id id;
    ns3::Time sent;
  };
  std::unordered_map<uint64_t, std::deque<Entry>> packets_;  ///< by hash of their headers
  std::deque<std::pair<ns3::Time, uint64_t>> order_;         ///< of sending: time and hash
};

/// Of one NIC. Made by QpipHelper::MonitorFlows.
class QpipFlowProbe : public ns3::FlowProbe {
 public:
  static ns3::TypeId GetTypeId();  ///< "ns3::QpipFlowProbe"
  QpipFlowProbe(ns3::Ptr<ns3::FlowMonitor> monitor,
                const ns3::Ptr<ns3::Ipv6FlowClassifier>& classifier,
                std::shared_ptr<PacketsInFlight> flight);
  /// Reports what `nic` sends and receives from now on.
  void Watch(ns3::Ptr<QpipNetDevice> nic);

 private:
  void OnSent(ns3::Ptr<const ns3::Packet> packet);
  void OnReceived(ns3::Ptr<const ns3::Packet> packet);

  const ns3::Ptr<ns3::Ipv6FlowClassifier> classifier_;
  const std::shared_ptr<PacketsInFlight> flight_;
};

}  // namespace qpip::sim
