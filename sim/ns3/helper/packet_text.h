// Packets of a QPIP NIC as lines of an ns-3 ASCII trace.
#pragma once

#include <ns3/output-stream-wrapper.h>
#include <ns3/packet.h>
#include <ns3/ptr.h>

#include <string>

namespace qpip::sim {

/// Writes "EVENT SECONDS PATH ns3::Ipv6Header (...) ns3::TcpHeader (...) Payload (size=...)", as
/// ns-3's own sinks do. `event`: t (sent) or r (received).
void WritePacketText(ns3::Ptr<ns3::OutputStreamWrapper> stream, std::string event, std::string path,
                     ns3::Ptr<const ns3::Packet> packet);

}  // namespace qpip::sim
