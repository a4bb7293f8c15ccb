#include "sim/ns3/helper/packet_text.h"

#include <ns3/ipv6-header.h>
#include <ns3/simulator.h>
#include <ns3/tcp-header.h>
#include <ns3/udp-header.h>

namespace qpip::sim {
namespace {

template <typename Header>
void TakeHeader(std::ostream& out, ns3::Packet& packet) {
  Header header;
  if (packet.RemoveHeader(header) == 0) return;
  out << ' ' << header.GetInstanceTypeId().GetName() << " (";
  header.Print(out);
  out << ')';
}

}  // namespace

// By value: ns-3 binds callbacks to such parameters only.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
void WritePacketText(ns3::Ptr<ns3::OutputStreamWrapper> stream, std::string event, std::string path,
                     ns3::Ptr<const ns3::Packet> packet) {
  std::ostream& out = *stream->GetStream();
  out << event << ' ' << ns3::Simulator::Now().GetSeconds() << ' ' << path;
  const ns3::Ptr<ns3::Packet> rest = packet->Copy();
  ns3::Ipv6Header ip;
  rest->PeekHeader(ip);
  TakeHeader<ns3::Ipv6Header>(out, *rest);
  if (ip.GetNextHeader() == ns3::Ipv6Header::IPV6_TCP) {
    TakeHeader<ns3::TcpHeader>(out, *rest);
  } else if (ip.GetNextHeader() == ns3::Ipv6Header::IPV6_UDP) {
    TakeHeader<ns3::UdpHeader>(out, *rest);
  }
  out << " Payload (size=" << rest->GetSize() << ")\n";
}

}  // namespace qpip::sim
