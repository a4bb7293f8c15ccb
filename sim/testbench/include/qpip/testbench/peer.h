// The other end of one TCP connection, scripted: it knows the addresses and ports, counts sequence
// numbers from 0 (the SYN) on both sides, and has a word for each usual segment. It does nothing by
// itself: no acknowledgement, no retransmission.
//
//     TcpPeer peer(bench, {.nic_port = 80});
//     peer.HandshakeAsClient();
//     peer.Data(Pattern(100));              // 1:101(100) ack 1
//     ToString(*peer.Take());               // ". 1:1(0) ack 101 win ..."
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "qpip/testbench/bench.h"
#include "qpip/testbench/packet.h"

namespace qpip::testbench {

/// Of a scripted peer.
struct TcpPeerOptions {
  in6_addr address = ParseAddress("fd00::2");  ///< its own
  uint16_t port = 40000;                       ///< its own
  uint16_t nic_port = 0;                       ///< the NIC's; 0: 80, or the source of the NIC's SYN
                                               ///< if that comes first
  uint32_t isn = 1'000'000;                    ///< its initial sequence number
  uint16_t window = 65535;                     ///< of every segment, as on the wire
  std::optional<uint16_t> mss = 1440;          ///< offered
  std::optional<uint8_t> window_scale = {};    ///< offered
  bool sack_permitted = false;                 ///< offered
  bool timestamps = false;                     ///< offered, and sent once both offered them
};

/// A scripted peer. The bench must outlive it.
class TcpPeer {
 public:
  explicit TcpPeer(TestBench& bench, const TcpPeerOptions& options = {});

  // --- Exact segments. Sequence numbers are relative: 0 is the SYN of the respective side.

  /// A segment with the present numbers, ports, window and timestamps, to be changed at will. A
  /// SYN among them has no option of those offered: Syn and SynAck inject one that has.
  TcpSegment Segment(uint8_t flags, std::span<const uint8_t> payload = {}) const;
  /// Injects exactly that, and counts nothing.
  void Inject(TcpSegment segment);
  /// The bytes that Inject would inject: for packets that are damaged or wrapped further.
  Bytes Raw(TcpSegment segment) const;
  /// The NIC's next segment to this peer, in relative numbers; nullopt: there is none, from the
  /// NIC's port at least: what the NIC sends from another stays on the bench.
  std::optional<TcpSegment> Take();
  /// As Take, letting up to `limit` of time pass until there is one.
  std::optional<TcpSegment> Wait(Time limit);
  Time TakenAt() const { return taken_at_; }  ///< when the last segment taken had left the NIC
  const Ipv6Header& TakenIp() const { return taken_ip_; }  ///< of the last segment taken

  // --- Usual segments. They go at the present numbers, and count what they send.

  void Syn();     ///< with the options offered
  void SynAck();  ///< with the options offered
  void Ack();     ///< of all that was taken in order
  void Data(std::span<const uint8_t> text, uint8_t flags = kAck | kPsh);  ///< text and ACK
  void Fin();                                                             ///< with ACK
  void Reset();  ///< RST at the present number

  // --- Handshakes. Throw std::runtime_error when the NIC does something else.

  /// SYN, SYN-ACK, ACK, towards a listener. Returns the NIC's SYN-ACK.
  TcpSegment HandshakeAsClient();
  /// Takes the NIC's SYN, from whatever port, answers it and takes the ACK. Returns the SYN.
  TcpSegment HandshakeAsServer();

  uint32_t next_sequence = 0;  ///< relative: of the next byte this peer sends
  uint32_t next_ack = 0;       ///< relative: next byte expected of the NIC
  uint16_t window = 65535;     ///< of the segments to come, as on the wire
  uint32_t ts_value = 1000;    ///< TSval of the segments to come; never counts by itself
  uint8_t traffic_class = 0;   ///< of the packets to come: DSCP and, in the lower two bits, ECN

  uint32_t isn() const { return options_.isn; }      ///< this peer's, absolute
  uint32_t nic_isn() const { return nic_isn_; }      ///< the NIC's, absolute, once known
  uint32_t ts_recent() const { return ts_recent_; }  ///< TSval of the last segment taken
  Endpoint endpoint() const;                         ///< this peer's address and port
  uint16_t nic_port() const { return nic_port_; }    ///< the NIC's

 private:
  Bytes Build(TcpSegment segment) const;
  void AddOffers(TcpSegment* segment) const;
  TcpSegment Expect(uint8_t flags, const char* what);
  /// The segment of a packet to this peer; nullptr: it is none, or somebody else's.
  const TcpSegment* ToThis(const Packet& packet) const;
  void OnTaken(const Packet& packet, const TcpSegment& segment);

  TestBench& bench_;
  TcpPeerOptions options_;
  uint16_t nic_port_ = 80;
  bool learns_port_ = false;  ///< until either side's first segment
  uint32_t nic_isn_ = 0;
  bool nic_isn_known_ = false;
  bool timestamps_on_ = false;
  uint32_t ts_recent_ = 0;
  Time taken_at_{0};
  Ipv6Header taken_ip_;
};

}  // namespace qpip::testbench
