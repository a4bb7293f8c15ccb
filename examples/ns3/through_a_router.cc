// A plain ns-3 script with a QPIP NIC in it: a bulk sender on ns-3's own Internet stack, a router,
// and a server whose NIC runs the TCP connection in firmware.
//
//     sender (ns-3 stack) ---- 1 Gb/s ---- router (ns-3 stack) ---- 1 Gb/s ---- server (QPIP NIC)
//      fd00:a::/64                                                  fd00:b::/64
//
//     through_a_router --bytes=10000000 --pcap=router      writes router-2-1.pcap
//
// Headers one by one: ns-3 3.37's core-module.h is not valid C++20, which QPIP needs.
#include <ns3/bulk-send-helper.h>
#include <ns3/command-line.h>
#include <ns3/config.h>
#include <ns3/inet6-socket-address.h>
#include <ns3/internet-stack-helper.h>
#include <ns3/ipv6-address-helper.h>
#include <ns3/node-container.h>
#include <ns3/point-to-point-helper.h>
#include <ns3/simulator.h>
#include <ns3/string.h>
#include <ns3/uinteger.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "qpip/stream.h"
#include "sim/ns3/helper/qpip_helper.h"
#include "sim/ns3/helper/qpip_program.h"

using qpip::sim::NicAt;
using qpip::sim::QpipHelper;
using qpip::sim::QpipNetDevice;
using qpip::sim::QpipProgram;

namespace {

constexpr uint16_t kPort = 5001;

/// An ordinary blocking host_lib program: takes one connection and counts what comes.
uint64_t Serve(QpipNetDevice& device) {
  auto nic = device.OpenNic();
  auto pd = nic->AllocatePd();
  qpip::ByteStream stream(*nic, *pd);
  auto listener = nic->Listen(kPort);
  listener->Offer(stream.qp());
  listener->Accept();
  const ns3::Time begin = ns3::Simulator::Now();
  const uint64_t busy_before_ps = device.totals().core_busy_ps;
  uint64_t received = 0;
  for (auto run = stream.WaitReadable(); !run.empty(); run = stream.WaitReadable()) {
    received += run.size();
    stream.reader().Consume(run.size());
  }
  const double seconds = (ns3::Simulator::Now() - begin).GetSeconds();
  stream.CloseWrite();
  const double busy = static_cast<double>(device.totals().core_busy_ps - busy_before_ps) * 1e-12;
  std::printf("%llu bytes in %.3f s: %.1f MB/s; the NIC's core was busy %.0f%% of the time\n",
              static_cast<unsigned long long>(received), seconds,
              static_cast<double>(received) / seconds / 1e6, 100 * busy / seconds);
  stream.qp().Disconnect();
  return received;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t bytes = 1'000'000;
  std::string pcap;
  ns3::CommandLine command;
  command.AddValue("bytes", "bytes to send", bytes);
  command.AddValue("pcap", "prefix of pcap files of the NIC; empty: none", pcap);
  command.Parse(argc, argv);

  ns3::NodeContainer nodes(3);
  const auto sender = nodes.Get(0), router = nodes.Get(1), server = nodes.Get(2);
  ns3::InternetStackHelper internet;
  internet.Install(ns3::NodeContainer(sender, router));  // the server's NIC needs no stack
  ns3::PointToPointHelper wire;
  wire.SetDeviceAttribute("DataRate", ns3::StringValue("1Gbps"));
  wire.SetChannelAttribute("Delay", ns3::StringValue("50us"));
  const auto near = wire.Install(sender, router);
  const auto far = wire.Install(router, server);

  ns3::Ipv6AddressHelper addresses;
  addresses.SetBase("fd00:a::", 64);
  auto near_addresses = addresses.Assign(near);
  near_addresses.SetForwarding(1, true);
  near_addresses.SetDefaultRouteInAllNodes(1);
  addresses.SetBase("fd00:b::", 64);
  addresses.Assign(ns3::NetDeviceContainer(far.Get(0))).SetForwarding(0, true);

  QpipHelper qpip;
  qpip.SetDeviceAttribute("Profile", ns3::StringValue("lanai9-hardware-checksum"));
  const auto nics = qpip.InstallOver(ns3::NetDeviceContainer(far.Get(1)), addresses);
  QpipHelper::IntroduceNeighbours(nics);
  if (!pcap.empty()) qpip.EnablePcap(pcap, nics);

  uint64_t received = 0;
  server->AddApplication(ns3::CreateObject<QpipProgram>(
      "server", [&received](QpipNetDevice& device) { received = Serve(device); }));
  ns3::Config::SetDefault("ns3::TcpSocket::SegmentSize", ns3::UintegerValue(1400));
  ns3::BulkSendHelper bulk("ns3::TcpSocketFactory",
                           ns3::Inet6SocketAddress(NicAt(nics, 0)->GetIpv6(), kPort));
  bulk.SetAttribute("MaxBytes", ns3::UintegerValue(bytes));
  bulk.Install(sender).Start(ns3::Seconds(2));  // IPv6 addresses are tentative at first

  ns3::Simulator::Stop(ns3::Seconds(600));
  ns3::Simulator::Run();
  ns3::Simulator::Destroy();
  return received == bytes ? 0 : 1;
}
