// What is to be chosen of a TCP connection before it opens.
#pragma once

#include <cstdint>

namespace qpip::tcp {

/// Its policy: congestion_control.h.
enum class CongestionAlgorithm : uint8_t {
  kNewReno = 0,  ///< RFC 5681
  kCubic = 1,    ///< RFC 9438
  kDctcp = 2,    ///< RFC 8257; wants ECN marks from the switches, and the same at the peer
};
inline constexpr uint32_t kCongestionAlgorithms = 3;

/// RFC 3168 on connections of this end.
enum class EcnMode : uint8_t {
  kOff = 0,
  kAccept = 1,   ///< when the peer asks for it
  kRequest = 2,  ///< ask for it
};

/// RFC 4821: finding the path's MTU where routers say nothing. Linux counts the same way.
enum class MtuProbing : uint8_t {
  kOff = 0,
  kBlackHole = 1,  ///< once full segments have timed out in a row
  kAlways = 2,     ///< from the start, at the smallest MTU of IPv6
};

/// Options of a connection, fixed at open. A NIC has them too (NicConfig::tcp): those that its
/// connections begin with.
struct Options {
  uint32_t mss = 1220;  ///< largest payload this end receives: MTU - 60 (RFC 9293 3.7.1)
  uint32_t segmentation_limit = 0;    ///< largest packet that is cut into segments on its way out,
                                      ///< bytes; 0: each segment is a packet
  uint32_t receive_buffer = 65536;    ///< largest window that will ever be advertised: scale factor
  uint32_t rto_initial_us = 1000000;  ///< RFC 6298 (2.1)
  uint32_t rto_min_us = 200000;       ///< of K * RTTVAR, as in Linux; not RFC 6298 (2.4)
  uint32_t rto_max_us = 60000000;     ///< RFC 6298 (2.5)
  uint32_t ack_delay_us = 40000;      ///< delayed-ACK timer, RFC 9293 3.8.6.3: below 500 ms
  uint32_t user_timeout_ms = 100000;  ///< give up unacknowledged data, RFC 9293 3.8.3; 0: never
  uint32_t connect_timeout_ms = 180000;  ///< give up a SYN, RFC 9293 3.8.3; 0: never
  uint32_t time_wait_ms = 60000;         ///< 2 MSL
  uint8_t ack_every = 2;                 ///< acknowledge at least every n-th segment
  bool ack_on_batch_end = true;          ///< acknowledge as soon as the receive queue has drained
  bool timestamps = true;                ///< offer RFC 7323 timestamps
  bool window_scaling = true;            ///< offer RFC 7323 window scaling
  bool sack = true;                      ///< offer SACK (RFC 2018)
  uint16_t reassembly = 256;  ///< ranges held behind a gap, as far as `Tcb::held` has room; 0: what
                              ///< is out of order is dropped
  CongestionAlgorithm congestion = CongestionAlgorithm::kCubic;
  EcnMode ecn = EcnMode::kAccept;  ///< RFC 3168
  bool hystart = true;             ///< HyStart++ (RFC 9406), on connections with SACK
  bool pacing = false;             ///< spread text beyond an initial window over the round trip
  bool undo = true;                ///< F-RTO (RFC 5682), Eifel (RFC 3522), D-SACK (RFC 3708): a
                                   ///< reduction that proves to have been for nothing is taken back
  bool nagle = false;  ///< RFC 9293 3.7.4; not for framings whose segments mean something
  MtuProbing mtu_probing = MtuProbing::kBlackHole;
  bool user_timeout_option = false;    ///< tell and heed RFC 5482's option
  uint8_t keepalive_probes = 9;        ///< unanswered ones, after which the connection is given up,
                                       ///< at least 1
  uint32_t keepalive_idle_s = 0;       ///< RFC 9293 3.8.4: first probe; 0: no keep-alive
  uint32_t keepalive_interval_s = 75;  ///< between probes, at least 1
};

}  // namespace qpip::tcp
