// Two stacks compete for a bottleneck that loses packets: ns-3's own TCP on one pair of hosts, QPIP
// NICs on the other.
//
//     ns-3 stack ---.                              .--- ns-3 stack
//                    router === bottleneck === router
//     QPIP NIC   ---'      (rate, delay, loss)     '--- QPIP NIC
//
//     dumbbell --duration=10 --loss=0.01 --flows=flows.xml --pcap=dumbbell
//
// Each pair alone: --pairs=ns3, --pairs=qpip. Attributes from the command line:
//
//     dumbbell --ns3::QpipNetDevice::ProtocolCongestion=0      NewReno instead of CUBIC
#include "ns3/qpip-module.h"
// Behind it, since it says how these are to be read.
#include <ns3/applications-module.h>
#include <ns3/core-module.h>
#include <ns3/flow-monitor-module.h>
#include <ns3/internet-module.h>
#include <ns3/network-module.h>
#include <ns3/point-to-point-module.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

using namespace ns3;

namespace {

constexpr uint16_t kPort = 5001;
constexpr uint64_t kMessageBytes = 64 * 1024;
constexpr double kStart = 2;  // seconds: IPv6 addresses are tentative at first

/// A host's link to its router; the host's device first.
struct Edge {
  NetDeviceContainer devices;
  Ipv6Address host;
};

Ipv6AddressHelper addresses;

/// Addresses at the router; the host's are its stack's, or will be its NIC's.
NetDeviceContainer Link(Ptr<Node> host, Ptr<Node> router, const char* network) {
  PointToPointHelper link;
  link.SetDeviceAttribute("DataRate", StringValue("1Gbps"));
  link.SetChannelAttribute("Delay", StringValue("10us"));
  const NetDeviceContainer devices = link.Install(host, router);
  addresses.SetBase(network, 64);
  addresses.Assign(NetDeviceContainer(devices.Get(1))).SetForwarding(0, true);
  return devices;
}

Edge StackEdge(Ptr<Node> host, Ptr<Node> router, const char* network) {
  Edge edge{Link(host, router, network), {}};
  auto interface = addresses.Assign(NetDeviceContainer(edge.devices.Get(0)));
  const auto at_router = router->GetObject<Ipv6>();
  const auto index = at_router->GetInterfaceForDevice(edge.devices.Get(1));
  Ipv6StaticRoutingHelper()
      .GetStaticRouting(host->GetObject<Ipv6>())
      ->SetDefaultRoute(at_router->GetAddress(index, 1).GetAddress(),
                        interface.GetInterfaceIndex(0));
  edge.host = interface.GetAddress(0, 1);
  return edge;
}

Edge NicEdge(QpipHelper& qpip, Ptr<Node> host, Ptr<Node> router, const char* network) {
  Edge edge{Link(host, router, network), {}};
  edge.devices = qpip.InstallOver(NetDeviceContainer(edge.devices.Get(0)), addresses);
  QpipHelper::IntroduceNeighbours(edge.devices);
  edge.host = NicAt(edge.devices, 0)->GetIpv6();
  return edge;
}

/// The bottleneck between the routers, which loses packets in both directions.
void JoinRouters(const NodeContainer& routers, const std::string& rate, const std::string& delay,
                 double loss) {
  PointToPointHelper bottleneck;
  bottleneck.SetDeviceAttribute("DataRate", StringValue(rate));
  bottleneck.SetChannelAttribute("Delay", StringValue(delay));
  const NetDeviceContainer middle = bottleneck.Install(routers);
  for (uint32_t i = 0; i < 2; ++i) {
    auto model = CreateObject<RateErrorModel>();
    model->SetUnit(RateErrorModel::ERROR_UNIT_PACKET);
    model->SetRate(loss);
    middle.Get(i)->SetAttribute("ReceiveErrorModel", PointerValue(model));
  }
  addresses.SetBase("fd00:0:0:f::", 64);
  auto between = addresses.Assign(middle);
  for (uint32_t i = 0; i < 2; ++i) {
    between.SetForwarding(i, true);
    between.SetDefaultRoute(i, 1 - i);
  }
}

/// Blocking programs of host_lib: one takes what the other sends until the simulation ends.
void Serve(QpipNetDevice& device, uint64_t* received) {
  auto nic = device.OpenNic();
  auto pd = nic->AllocatePd();
  qpip::ByteStream stream(*nic, *pd);
  auto listener = nic->Listen(kPort);
  listener->Offer(stream.qp());
  listener->Accept();
  for (auto run = stream.WaitReadable(); !run.empty(); run = stream.WaitReadable()) {
    *received += run.size();
    stream.reader().Consume(run.size());
  }
}

void Send(QpipNetDevice& device, Ipv6Address server) {
  auto nic = device.OpenNic();
  auto pd = nic->AllocatePd();
  qpip::ByteStream stream(*nic, *pd);
  qpip::Endpoint to{.address = {}, .port = kPort};
  server.GetBytes(to.address.s6_addr);
  stream.Connect(to);
  const std::vector<std::byte> message(kMessageBytes);
  for (;;) stream.Write(message);
}

/// The first node sends to the second as fast as it can; what arrives there is counted.
Ptr<PacketSink> StartStacks(const NodeContainer& nodes, Ipv6Address server) {
  PacketSinkHelper sink("ns3::TcpSocketFactory", Inet6SocketAddress(Ipv6Address::GetAny(), kPort));
  BulkSendHelper sender("ns3::TcpSocketFactory", Inet6SocketAddress(server, kPort));
  sender.Install(nodes.Get(0)).Start(Seconds(kStart));
  return sink.Install(nodes.Get(1)).Get(0)->GetObject<PacketSink>();
}

void StartNics(const NodeContainer& nodes, Ipv6Address server, uint64_t* received) {
  nodes.Get(1)->AddApplication(CreateObject<QpipProgram>(
      "server", [received](QpipNetDevice& device) { Serve(device, received); }));
  auto sender = CreateObject<QpipProgram>(
      "sender", [server](QpipNetDevice& device) { Send(device, server); });
  sender->SetStartTime(Seconds(kStart));
  nodes.Get(0)->AddApplication(sender);
}

}  // namespace

int main(int argc, char** argv) {
  double duration = 10;
  double loss = 0.01;
  std::string rate = "100Mbps";
  std::string delay = "5ms";
  std::string pairs = "both";
  std::string flows;
  std::string pcap;
  // A profile, and attributes of single numbers on top.
  Config::SetDefault("ns3::QpipNetDevice::Profile",
                     StringValue("lanai9-hardware-checksum+modern-tcp"));
  CommandLine command(__FILE__);
  command.AddValue("duration", "seconds", duration);
  command.AddValue("loss", "share of packets that the bottleneck loses, each way", loss);
  command.AddValue("rate", "of the bottleneck", rate);
  command.AddValue("delay", "of the bottleneck, one way", delay);
  command.AddValue("pairs", "ns3, qpip or both", pairs);
  command.AddValue("flows", "file for FlowMonitor's report", flows);
  command.AddValue("pcap", "prefix of pcap files of the QPIP NICs", pcap);
  command.Parse(argc, argv);
  NS_ABORT_MSG_IF(pairs != "ns3" && pairs != "qpip" && pairs != "both",
                  "--pairs=" << pairs << ": give ns3, qpip or both");

  NodeContainer routers(2);
  NodeContainer stacks(2);
  NodeContainer hosts(2);  // of the QPIP NICs: they need no stack
  InternetStackHelper internet;
  internet.Install(NodeContainer(routers, stacks));

  JoinRouters(routers, rate, delay, loss);

  QpipHelper qpip;
  const Edge stack_sender = StackEdge(stacks.Get(0), routers.Get(0), "fd00:0:0:1::");
  const Edge stack_server = StackEdge(stacks.Get(1), routers.Get(1), "fd00:0:0:2::");
  const Edge nic_sender = NicEdge(qpip, hosts.Get(0), routers.Get(0), "fd00:0:0:3::");
  const Edge nic_server = NicEdge(qpip, hosts.Get(1), routers.Get(1), "fd00:0:0:4::");
  const NetDeviceContainer nics(nic_sender.devices, nic_server.devices);

  Ptr<PacketSink> sink;
  if (pairs != "qpip") sink = StartStacks(stacks, stack_server.host);
  uint64_t received = 0;
  if (pairs != "ns3") StartNics(hosts, nic_server.host, &received);
  uint32_t largest_window = 0;
  Config::ConnectWithoutContext(
      "/NodeList/*/DeviceList/*/$ns3::QpipNetDevice/CongestionWindow",
      Callback<void, uint32_t, uint32_t, uint32_t>([&](uint32_t, uint32_t, uint32_t now) {
        largest_window = std::max(largest_window, now);
      }));
  if (!pcap.empty()) qpip.EnablePcap(pcap, nics);
  FlowMonitorHelper monitor;
  if (!flows.empty()) {
    monitor.Install(stacks);
    QpipHelper::MonitorFlows(monitor, nics);
  }

  Simulator::Stop(Seconds(kStart + duration));
  Simulator::Run();
  const auto megabits = [duration](uint64_t bytes) {
    return 8e-6 * static_cast<double>(bytes) / duration;
  };
  if (sink != nullptr) {
    std::printf("ns-3 TCP: %8.2f Mb/s\n", megabits(sink->GetTotalRx()));
  }
  if (pairs != "ns3") {
    std::printf("QPIP:     %8.2f Mb/s, congestion window up to %u bytes\n", megabits(received),
                largest_window);
  }
  if (!flows.empty()) monitor.SerializeToXmlFile(flows, true, true);
  Simulator::Destroy();
  return 0;
}
