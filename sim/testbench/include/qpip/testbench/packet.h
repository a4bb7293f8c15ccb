// Raw IPv6 packets as values: built in one line, parsed into fields, printed on one line.
//
//     Bytes syn = BuildPacket({.source = peer, .destination = nic},
//                             TcpSegment{.source_port = 40000, .destination_port = 80,
//                                        .sequence = 1000, .flags = kSyn, .mss = 1440});
//     Packet answer = ParsePacket(bytes);
//     if (answer.tcp && answer.tcp->flags == (kSyn | kAck)) ...
//
// What is built is correct unless told otherwise: lengths and checksums are filled in, and every
// one of them can be given a wrong value.
#pragma once

#include <netinet/in.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qpip/types.h"

/// A virtual-time test bench for one NIC; docs/testbench.md.
namespace qpip::testbench {

using Bytes = std::vector<uint8_t>;
/// A moment or a length of virtual time. Moments count from the construction of the bench.
using Time = std::chrono::nanoseconds;

/// One extension header (RFC 8200 section 4). Its first byte, the next header field, is filled in.
struct ExtensionHeader {
  uint8_t type = 0;  ///< 0 hop-by-hop, 43 routing, 44 fragment, 60 destination options, ...
  Bytes body = {};   ///< everything behind the next header field, the length field first
};

/// The IPv6 header (RFC 8200 section 3).
struct Ipv6Header {
  in6_addr source = {};                          ///< network byte order
  in6_addr destination = {};                     ///< network byte order
  uint8_t hop_limit = 64;                        ///< RFC 8200
  uint8_t traffic_class = 0;                     ///< DSCP and, in the lower two bits, ECN
  uint32_t flow_label = 0;                       ///< 20 bits
  std::vector<ExtensionHeader> extensions = {};  ///< between this header and the upper layer
  std::optional<uint16_t> payload_length =
      {};  ///< build: overrides the correct value; parse: as found
};

/// TCP flags (RFC 9293 section 3.1), as bits of TcpSegment::flags.
enum TcpFlag : uint8_t {
  kFin = 0x01,  ///< no more data
  kSyn = 0x02,  ///< synchronise sequence numbers
  kRst = 0x04,  ///< reset
  kPsh = 0x08,  ///< push
  kAck = 0x10,  ///< the acknowledgement field counts
  kUrg = 0x20,  ///< the urgent pointer counts
  kEce = 0x40,  ///< RFC 3168
  kCwr = 0x80,  ///< RFC 3168
};

/// Bytes [start, end) of the sequence space.
struct SackRange {
  uint32_t start = 0;                                 ///< first sequence number
  uint32_t end = 0;                                   ///< one past the last
  bool operator==(const SackRange&) const = default;  ///< both edges
};

/// The timestamps option (RFC 7323 section 3).
struct TcpTimestamps {
  uint32_t value = 0;                                     ///< TSval
  uint32_t echo = 0;                                      ///< TSecr
  bool operator==(const TcpTimestamps&) const = default;  ///< both
};

/// A TCP segment (RFC 9293 section 3.1). All numbers are in host byte order.
struct TcpSegment {
  uint16_t source_port = 0;       ///< sender's
  uint16_t destination_port = 0;  ///< receiver's
  uint32_t sequence = 0;          ///< SEG.SEQ
  uint32_t acknowledgement = 0;   ///< SEG.ACK; counts with kAck
  uint8_t flags = 0;              ///< TcpFlag
  uint16_t window = 65535;        ///< as on the wire, not scaled
  uint16_t urgent_pointer = 0;    ///< counts with kUrg
  uint8_t reserved = 0;           ///< the four bits between data offset and flags

  std::optional<uint16_t> mss = {};              ///< option 2
  std::optional<uint8_t> window_scale = {};      ///< option 3
  bool sack_permitted = false;                   ///< option 4
  std::vector<SackRange> sack = {};              ///< option 5, at most four
  std::optional<TcpTimestamps> timestamps = {};  ///< option 8
  /// Build: option bytes put behind those above, padded with zeros to a multiple of four. Parse:
  /// all option bytes as found, whatever they mean.
  Bytes raw_options = {};

  Bytes payload = {};  ///< the text

  std::optional<uint16_t> checksum = {};  ///< build: overrides the correct one; parse: as found
  std::optional<uint8_t> data_offset =
      {};  ///< build: overrides the correct one; words. Parse: as found

  bool Has(uint8_t flag) const { return (flags & flag) != 0; }  ///< any of `flag`
  uint32_t SequenceLength() const;  ///< SEG.LEN: text, and one each for SYN and FIN
};

/// A UDP datagram (RFC 768).
struct UdpDatagram {
  uint16_t source_port = 0;               ///< sender's
  uint16_t destination_port = 0;          ///< receiver's
  Bytes payload = {};                     ///< the text
  std::optional<uint16_t> checksum = {};  ///< build: overrides the correct one; parse: as found
  std::optional<uint16_t> length = {};    ///< build: overrides the correct one; parse: as found
};

/// An ICMPv6 message (RFC 4443).
struct Icmpv6Message {
  uint8_t type = 0;    ///< 1 unreachable, 2 too big, 3 time exceeded, 4 parameter, 128/129 echo
  uint8_t code = 0;    ///< depends on the type
  uint32_t body = 0;   ///< echo: identifier << 16 | sequence; too big: the MTU; parameter: the
                       ///< pointer
  Bytes payload = {};  ///< what follows: echo data, or the packet an error is about
  std::optional<uint16_t> checksum = {};  ///< build: overrides the correct one; parse: as found
};

/// A packet taken apart. At most one of `tcp`, `udp` and `icmp` is there.
struct Packet {
  Time time{0};                            ///< when it left the NIC
  Bytes bytes = {};                        ///< all of it, from the IPv6 header on
  Ipv6Header ip = {};                      ///< with what lies before the upper layer
  uint8_t protocol = 59;                   ///< next header value of the upper layer; 59: none
  std::optional<TcpSegment> tcp = {};      ///< protocol 6
  std::optional<UdpDatagram> udp = {};     ///< protocol 17
  std::optional<Icmpv6Message> icmp = {};  ///< protocol 58
  Bytes payload = {};                      ///< the upper layer, when it is none of these
  bool checksum_ok = false;                ///< of tcp, udp or icmp
  std::string error = {};                  ///< why the parts below the first bad one are not there
};

/// A whole IPv6 packet. Throws std::invalid_argument for what no header can hold: options of more
/// than 40 bytes, more than four SACK ranges, a payload of more than 65535 bytes.
Bytes BuildPacket(const Ipv6Header& ip, const TcpSegment& segment);
/// As above.
Bytes BuildPacket(const Ipv6Header& ip, const UdpDatagram& datagram);
/// As above.
Bytes BuildPacket(const Ipv6Header& ip, const Icmpv6Message& message);
/// Any upper layer: `protocol` is its next header value.
Bytes BuildPacket(const Ipv6Header& ip, uint8_t protocol, std::span<const uint8_t> payload);

/// Takes a packet apart; never throws. What cannot be parsed is left out and named in `error`.
Packet ParsePacket(std::span<const uint8_t> bytes, Time time = Time{0});

/// One line as packetdrill has it: "S. 0:0(0) ack 1 win 65535 <mss 1440,sackOK>".
std::string ToString(const TcpSegment& segment);
/// One line with time, addresses and ports.
std::string ToString(const Packet& packet);

/// Bytes that can be told apart: `count` of them, the first being `first`, counting up modulo 251.
Bytes Pattern(size_t count, uint8_t first = 0);

}  // namespace qpip::testbench
