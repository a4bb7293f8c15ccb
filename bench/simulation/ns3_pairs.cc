#include <ns3/boolean.h>
#include <ns3/bulk-send-helper.h>
#include <ns3/config.h>
#include <ns3/data-rate.h>
#include <ns3/inet6-socket-address.h>
#include <ns3/internet-stack-helper.h>
#include <ns3/ipv6-address-helper.h>
#include <ns3/object-factory.h>
#include <ns3/packet-sink-helper.h>
#include <ns3/packet-sink.h>
#include <ns3/point-to-point-helper.h>
#include <ns3/simulator.h>
#include <ns3/string.h>
#include <ns3/tcp-congestion-ops.h>
#include <ns3/uinteger.h>

#include <chrono>
#include <stdexcept>
#include <vector>

#include "bench/simulation/pairs.h"

namespace qpip::bench {
namespace {

constexpr uint16_t kPort = 5001;
constexpr uint32_t kHeaderBytes = 60;  // IPv6 and TCP without options
constexpr uint32_t kSocketBytes = 256 * 1024;

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

uint64_t packets_sent = 0;
void CountPacket(ns3::Ptr<const ns3::Packet>) { ++packets_sent; }

}  // namespace

PairsResult RunNs3Pairs(const PairsOptions& options) {
  using namespace ns3;
  const auto begin = std::chrono::steady_clock::now();
  Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(options.mtu - kHeaderBytes));
  Config::SetDefault("ns3::TcpSocketBase::Timestamp", BooleanValue(false));
  Config::SetDefault("ns3::TcpSocket::DelAckCount", UintegerValue(2));
  Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(kSocketBytes));
  Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(kSocketBytes));
  Config::SetDefault("ns3::TcpL4Protocol::SocketType", TypeIdValue(TcpNewReno::GetTypeId()));
  // The one that suits it best; the QPIP side has it too.
  Simulator::SetScheduler(ObjectFactory("ns3::PriorityQueueScheduler"));
  NodeContainer nodes;
  nodes.Create(2 * options.pairs);
  InternetStackHelper stack;
  stack.SetIpv4StackInstall(false);
  stack.Install(nodes);
  PointToPointHelper cable;
  cable.SetDeviceAttribute("DataRate",
                           DataRateValue(DataRate(static_cast<uint64_t>(options.bits_per_s))));
  cable.SetDeviceAttribute("Mtu", UintegerValue(options.mtu));
  cable.SetChannelAttribute("Delay", TimeValue(NanoSeconds(100)));
  cable.SetQueue("ns3::DropTailQueue", "MaxSize", StringValue("10000p"));
  Ipv6AddressHelper addresses;
  addresses.SetBase(Ipv6Address("2001:db8::"), Ipv6Prefix(64));
  std::vector<Ptr<PacketSink>> sinks;
  ApplicationContainer applications;
  for (uint32_t i = 0; i < options.pairs; ++i) {
    NetDeviceContainer devices = cable.Install(nodes.Get(2 * i), nodes.Get(2 * i + 1));
    Ipv6InterfaceContainer interfaces = addresses.Assign(devices);
    addresses.NewNetwork();
    for (uint32_t k = 0; k < 2; ++k) {
      devices.Get(k)->TraceConnectWithoutContext("PhyTxEnd", MakeCallback(&CountPacket));
    }
    const Address to = Inet6SocketAddress(interfaces.GetAddress(0, 1), kPort);
    PacketSinkHelper sink("ns3::TcpSocketFactory", to);
    applications.Add(sink.Install(nodes.Get(2 * i)));
    sinks.push_back(DynamicCast<PacketSink>(applications.Get(applications.GetN() - 1)));
    BulkSendHelper source("ns3::TcpSocketFactory", to);
    source.SetAttribute("MaxBytes", UintegerValue(options.bytes));
    source.SetAttribute("SendSize", UintegerValue(options.message));
    ApplicationContainer sending = source.Install(nodes.Get(2 * i + 1));
    sending.Start(ns3::Seconds(2));  // after duplicate address detection
  }
  PairsResult result;
  // Address detection and router solicitation are not part of the transfer.
  Simulator::Stop(ns3::Seconds(1.9));
  Simulator::Run();
  result.build_seconds = bench::Seconds(begin);
  packets_sent = 0;
  const uint64_t events_before = Simulator::GetEventCount();
  const auto start = std::chrono::steady_clock::now();
  Simulator::Run();
  result.wall_seconds = bench::Seconds(start);
  result.packets = packets_sent;
  result.events = Simulator::GetEventCount() - events_before;
  for (const Ptr<PacketSink>& sink : sinks) result.bytes += sink->GetTotalRx();
  Simulator::Destroy();
  if (result.bytes != options.bytes * options.pairs) {
    throw std::runtime_error("ns-3 pairs: bytes are missing");
  }
  return result;
}

}  // namespace qpip::bench
