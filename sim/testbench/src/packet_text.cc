// Packets on one line.
#include <cstdio>

#include "qpip/testbench/packet.h"

namespace qpip::testbench {
namespace {

std::string Flags(const TcpSegment& segment) {
  constexpr struct {
    uint8_t flag;
    char letter;
  } kLetters[] = {{kSyn, 'S'}, {kFin, 'F'}, {kRst, 'R'}, {kPsh, 'P'},
                  {kUrg, 'U'}, {kEce, 'E'}, {kCwr, 'W'}, {kAck, '.'}};
  std::string text;
  for (const auto& entry : kLetters) {
    if (segment.Has(entry.flag)) text += entry.letter;
  }
  return text.empty() ? "-" : text;
}

std::string Options(const TcpSegment& segment) {
  std::string text;
  const auto add = [&text](const std::string& option) {
    if (!text.empty()) text += ',';
    text += option;
  };
  if (segment.mss) add("mss " + std::to_string(*segment.mss));
  if (segment.sack_permitted) add("sackOK");
  if (segment.timestamps) {
    add("TS val " + std::to_string(segment.timestamps->value) + " ecr " +
        std::to_string(segment.timestamps->echo));
  }
  if (segment.window_scale) add("wscale " + std::to_string(*segment.window_scale));
  std::string ranges;
  for (const SackRange& range : segment.sack) {
    ranges += " " + std::to_string(range.start) + ":" + std::to_string(range.end);
  }
  if (!ranges.empty()) add("sack" + ranges);
  return text;
}

std::string Ports(const Packet& packet, uint16_t source, uint16_t destination) {
  return Endpoint{packet.ip.source, source}.ToString() + " > " +
         Endpoint{packet.ip.destination, destination}.ToString() + " ";
}

}  // namespace

std::string ToString(const TcpSegment& segment) {
  const uint64_t end = uint64_t{segment.sequence} + segment.payload.size();
  std::string text = Flags(segment) + " " + std::to_string(segment.sequence) + ":" +
                     std::to_string(end & 0xffffffffu) + "(" +
                     std::to_string(segment.payload.size()) + ")";
  if (segment.Has(kAck)) text += " ack " + std::to_string(segment.acknowledgement);
  text += " win " + std::to_string(segment.window);
  if (segment.Has(kUrg)) text += " urg " + std::to_string(segment.urgent_pointer);
  const std::string options = Options(segment);
  if (!options.empty()) text += " <" + options + ">";
  return text;
}

std::string ToString(const Packet& packet) {
  char time[48];
  std::snprintf(time, sizeof(time), "%.6f ", std::chrono::duration<double>(packet.time).count());
  std::string text = time;
  if (packet.tcp) {
    return text + Ports(packet, packet.tcp->source_port, packet.tcp->destination_port) +
           ToString(*packet.tcp);
  }
  if (packet.udp) {
    return text + Ports(packet, packet.udp->source_port, packet.udp->destination_port) + "udp (" +
           std::to_string(packet.udp->payload.size()) + ")";
  }
  text += AddressToString(packet.ip.source) + " > " + AddressToString(packet.ip.destination) + " ";
  if (packet.icmp) {
    return text + "icmpv6 type " + std::to_string(packet.icmp->type) + " code " +
           std::to_string(packet.icmp->code);
  }
  return text +
         (packet.error.empty() ? "next header " + std::to_string(packet.protocol) : packet.error);
}

}  // namespace qpip::testbench
