// Makes QPIP NICs the way ns-3's helpers make devices.
//
//     QpipHelper qpip;
//     qpip.SetDeviceAttribute("Profile", StringValue("lanai9-firmware-checksum"));
//     NetDeviceContainer nics = qpip.InstallOnSwitch(nodes);      // NICs among themselves
//     qpip.EnablePcapAll("run");
//
// or, to talk to ns-3's own Internet stack, over devices of another helper:
//
//     NetDeviceContainer link = pointToPoint.Install(nicNode, stackNode);
//     Ipv6InterfaceContainer stack = addresses.Assign(link.Get(1));
//     NetDeviceContainer nics = qpip.InstallOver(link.Get(0), addresses);
//     qpip.IntroduceNeighbours(nics);
//
// A program on a node is written with host_lib and runs as a QpipProgram (qpip_program.h).
#pragma once

#include <ns3/flow-monitor-helper.h>
#include <ns3/ipv6-address-helper.h>
#include <ns3/ipv6-address.h>
#include <ns3/net-device-container.h>
#include <ns3/node-container.h>
#include <ns3/object-factory.h>
#include <ns3/trace-helper.h>

#include <string>

#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::sim {

/// The QPIP NIC among a node's devices, the first; throws std::invalid_argument when there is none.
ns3::Ptr<QpipNetDevice> NicOf(ns3::Ptr<ns3::Node> node);
/// A container's device, as what it is; throws std::invalid_argument when it is no QPIP NIC.
ns3::Ptr<QpipNetDevice> NicAt(const ns3::NetDeviceContainer& nics, uint32_t index);

/// Makes QPIP NICs on nodes and joins them: to each other, or through devices of ns-3's own.
class QpipHelper : public ns3::PcapHelperForDevice, public ns3::AsciiTraceHelperForDevice {
 public:
  QpipHelper();

  /// An attribute of the NICs made from now on; ns-3 ends the program for names there are not. See
  /// QpipNetDevice::GetTypeId.
  void SetDeviceAttribute(const std::string& name, const ns3::AttributeValue& value);
  /// Addresses of the NICs made from now on: `network` and 1, 2, ... Default: fd00::/64.
  void SetNetwork(ns3::Ipv6Address network, ns3::Ipv6Prefix prefix = 64);

  // --- Each of these makes one NIC a node, with the next address.

  /// Joined to nothing yet: for QpipFabric::Connect or QpipNetDevice::AttachToDevice.
  ns3::NetDeviceContainer Install(const ns3::NodeContainer& nodes);
  /// The same for one node.
  ns3::NetDeviceContainer Install(ns3::Ptr<ns3::Node> node);
  /// Two nodes, joined by a cable. Throws std::invalid_argument for other numbers.
  ns3::NetDeviceContainer InstallOnCable(const ns3::NodeContainer& nodes);
  /// All on one crossbar switch, 256 at most (std::invalid_argument).
  ns3::NetDeviceContainer InstallOnSwitch(const ns3::NodeContainer& nodes);
  /// All on a three-level fat tree (fat_tree.h).
  ns3::NetDeviceContainer InstallOnFatTree(const ns3::NodeContainer& nodes);
  /// A NIC over each of these devices, on their nodes, with `addresses`' next address. ns-3
  /// computes checksums only when its GlobalValue "ChecksumEnabled" is true; a NIC drops packets
  /// without, so this sets it. The node needs no Internet stack of its own.
  ns3::NetDeviceContainer InstallOver(const ns3::NetDeviceContainer& lower,
                                      ns3::Ipv6AddressHelper& addresses);
  /// As above, with this helper's own addresses.
  ns3::NetDeviceContainer InstallOver(const ns3::NetDeviceContainer& lower);

  /// Tells NICs and ns-3 stacks on the same links about each other, as there is no neighbour
  /// discovery in the firmware: permanent entries in the NdiscCache of every stack, and in the NICs
  /// for every address of the stacks and of other NICs. Call when all addresses are assigned.
  static void IntroduceNeighbours(const ns3::NetDeviceContainer& nics);
  /// Sends what is for no neighbour to this device of the link: a router's.
  static void SetDefaultRouter(const ns3::NetDeviceContainer& nics,
                               ns3::Ptr<ns3::NetDevice> router);

  /// Has ns-3's FlowMonitor see what these NICs send each other: flows of UDP and TCP with packets,
  /// bytes, delays, jitter and losses, in the same report as flows of ns-3's own stacks
  /// (FlowMonitorHelper::Install on their nodes). NICs that talk to each other must be in one call;
  /// a flow between a NIC and an ns-3 stack is seen by neither end. Call before the simulation
  /// runs.
  static void MonitorFlows(ns3::FlowMonitorHelper& monitor, const ns3::NetDeviceContainer& nics);

 private:
  void EnablePcapInternal(std::string prefix, ns3::Ptr<ns3::NetDevice> device, bool promiscuous,
                          bool explicit_file_name) override;
  void EnableAsciiInternal(ns3::Ptr<ns3::OutputStreamWrapper> stream, std::string prefix,
                           ns3::Ptr<ns3::NetDevice> device, bool explicit_file_name) override;

  ns3::ObjectFactory factory_;
  ns3::Ipv6AddressHelper addresses_;
};

}  // namespace qpip::sim
