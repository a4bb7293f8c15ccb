#include "sim/ns3/helper/qpip_helper.h"

#include <ns3/boolean.h>
#include <ns3/global-value.h>
#include <ns3/names.h>

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sim/ns3/helper/fat_tree.h"
#include "sim/ns3/helper/flow_probe.h"
#include "sim/ns3/helper/neighbours.h"
#include "sim/ns3/helper/packet_text.h"

namespace qpip::sim {
namespace {

constexpr uint32_t kSwitchPorts = 256;

std::vector<ns3::Ptr<QpipNetDevice>> AsNics(const ns3::NetDeviceContainer& devices) {
  std::vector<ns3::Ptr<QpipNetDevice>> nics;
  for (uint32_t i = 0; i < devices.GetN(); ++i) nics.push_back(NicAt(devices, i));
  return nics;
}

void RequireChecksums() { ns3::GlobalValue::Bind("ChecksumEnabled", ns3::BooleanValue(true)); }

}  // namespace

ns3::Ptr<QpipNetDevice> NicOf(ns3::Ptr<ns3::Node> node) {
  for (uint32_t i = 0; i < node->GetNDevices(); ++i) {
    if (auto nic = ns3::DynamicCast<QpipNetDevice>(node->GetDevice(i))) return nic;
  }
  throw std::invalid_argument("node " + std::to_string(node->GetId()) +
                              " has no QPIP NIC; make one with QpipHelper");
}

ns3::Ptr<QpipNetDevice> NicAt(const ns3::NetDeviceContainer& nics, uint32_t index) {
  if (index < nics.GetN()) {
    if (auto nic = ns3::DynamicCast<QpipNetDevice>(nics.Get(index))) return nic;
  }
  throw std::invalid_argument("device " + std::to_string(index) + " of the container, which has " +
                              std::to_string(nics.GetN()) + ", is no QPIP NIC");
}

QpipHelper::QpipHelper() {
  factory_.SetTypeId(QpipNetDevice::GetTypeId());
  SetNetwork("fd00::");
}

void QpipHelper::SetDeviceAttribute(const std::string& name, const ns3::AttributeValue& value) {
  factory_.Set(name, value);
}

void QpipHelper::SetNetwork(ns3::Ipv6Address network, ns3::Ipv6Prefix prefix) {
  addresses_.SetBase(network, prefix);
}

// --- Making NICs

ns3::NetDeviceContainer QpipHelper::Install(ns3::Ptr<ns3::Node> node) {
  auto nic = factory_.Create<QpipNetDevice>();
  nic->SetIpv6(addresses_.NewAddress());
  node->AddDevice(nic);
  return ns3::NetDeviceContainer(nic);
}

ns3::NetDeviceContainer QpipHelper::Install(const ns3::NodeContainer& nodes) {
  ns3::NetDeviceContainer nics;
  for (uint32_t i = 0; i < nodes.GetN(); ++i) nics.Add(Install(nodes.Get(i)));
  return nics;
}

ns3::NetDeviceContainer QpipHelper::InstallOnCable(const ns3::NodeContainer& nodes) {
  if (nodes.GetN() != 2) throw std::invalid_argument("a cable joins two NICs, no more or fewer");
  ns3::NetDeviceContainer nics = Install(nodes);
  ns3::CreateObject<QpipFabric>()->Connect(NicAt(nics, 0), NicAt(nics, 1));
  return nics;
}

ns3::NetDeviceContainer QpipHelper::InstallOnSwitch(const ns3::NodeContainer& nodes) {
  if (nodes.GetN() == 0 || nodes.GetN() > kSwitchPorts) {
    throw std::invalid_argument("a switch has 1 to 256 ports; use InstallOnFatTree for more");
  }
  ns3::NetDeviceContainer nics = Install(nodes);
  auto fabric = ns3::CreateObject<QpipFabric>();
  fabric->AddSwitch(nodes.GetN(), NicAt(nics, 0)->model());
  for (uint32_t i = 0; i < nics.GetN(); ++i) fabric->Connect(NicAt(nics, i), 0, i);
  return nics;
}

ns3::NetDeviceContainer QpipHelper::InstallOnFatTree(const ns3::NodeContainer& nodes) {
  if (nodes.GetN() == 0) throw std::invalid_argument("a fat tree joins one NIC at least");
  ns3::NetDeviceContainer nics = Install(nodes);
  BuildFatTree(*ns3::CreateObject<QpipFabric>(), AsNics(nics), NicAt(nics, 0)->model());
  return nics;
}

ns3::NetDeviceContainer QpipHelper::InstallOver(const ns3::NetDeviceContainer& lower,
                                                ns3::Ipv6AddressHelper& addresses) {
  RequireChecksums();
  ns3::NetDeviceContainer nics;
  for (uint32_t i = 0; i < lower.GetN(); ++i) {
    auto nic = factory_.Create<QpipNetDevice>();
    nic->SetIpv6(addresses.NewAddress());
    lower.Get(i)->GetNode()->AddDevice(nic);
    nic->AttachToDevice(lower.Get(i));
    nics.Add(nic);
  }
  return nics;
}

ns3::NetDeviceContainer QpipHelper::InstallOver(const ns3::NetDeviceContainer& lower) {
  return InstallOver(lower, addresses_);
}

void QpipHelper::IntroduceNeighbours(const ns3::NetDeviceContainer& nics) {
  for (const auto& nic : AsNics(nics)) IntroduceOnLink(nic);
}

void QpipHelper::SetDefaultRouter(const ns3::NetDeviceContainer& nics,
                                  ns3::Ptr<ns3::NetDevice> router) {
  for (const auto& nic : AsNics(nics)) nic->SetDefaultNeighbour(router->GetAddress());
}

void QpipHelper::MonitorFlows(ns3::FlowMonitorHelper& monitor,
                              const ns3::NetDeviceContainer& nics) {
  auto classifier = ns3::DynamicCast<ns3::Ipv6FlowClassifier>(monitor.GetClassifier6());
  const auto flight = std::make_shared<PacketsInFlight>();
  for (const auto& nic : AsNics(nics)) {
    ns3::CreateObject<QpipFlowProbe>(monitor.GetMonitor(), classifier, flight)->Watch(nic);
  }
}

// --- Tracing

void QpipHelper::EnablePcapInternal(std::string prefix, ns3::Ptr<ns3::NetDevice> device,
                                    bool /*promiscuous*/, bool explicit_file_name) {
  auto nic = ns3::DynamicCast<QpipNetDevice>(device);
  if (nic == nullptr) return;  // EnablePcapAll offers every device there is
  ns3::PcapHelper pcap;
  const std::string name = explicit_file_name ? prefix : pcap.GetFilenameFromDevice(prefix, device);
  auto file = pcap.CreateFile(name, std::ios::out, ns3::PcapHelper::DLT_RAW);
  pcap.HookDefaultSink<QpipNetDevice>(nic, "Sniffer", file);
}

void QpipHelper::EnableAsciiInternal(ns3::Ptr<ns3::OutputStreamWrapper> stream, std::string prefix,
                                     ns3::Ptr<ns3::NetDevice> device, bool explicit_file_name) {
  auto nic = ns3::DynamicCast<QpipNetDevice>(device);
  if (nic == nullptr) return;
  if (stream == nullptr) {
    ns3::AsciiTraceHelper ascii;
    stream = ascii.CreateFileStream(
        explicit_file_name ? prefix : ascii.GetFilenameFromDevice(prefix, device));
  }
  const std::string path = "/NodeList/" + std::to_string(nic->GetNode()->GetId()) + "/DeviceList/" +
                           std::to_string(nic->GetIfIndex());
  // ns-3 binds values by their exact types.
  for (const auto& [source, event] : {std::pair{"MacTx", "t"}, {"MacRx", "r"}}) {
    nic->TraceConnectWithoutContext(
        source, ns3::MakeBoundCallback(&WritePacketText, stream, std::string(event), path));
  }
}

}  // namespace qpip::sim
