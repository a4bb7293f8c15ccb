// What a NIC is built with, and what SRAM that takes.
#pragma once

#include <cstdint>

#include "nic_fw/abi/work_queue.h"

namespace qpip::fw {

/// What a NIC's link is.
enum LinkType : uint8_t {
  kLinkPointToPoint = 0,  ///< frames are IPv6 packets; whoever is at the other end gets them
  kLinkEthernet = 1,      ///< frames go to a link address, which neighbour discovery finds
};

/// Where packets to a prefix go, unless a longer prefix says otherwise.
struct StaticRoute {
  abi::Ip6Address prefix = {};   ///< its first `length` bits count
  abi::Ip6Address gateway = {};  ///< on the link
  uint8_t length = 0;            ///< bits, 0 (default route) to 128
};

inline constexpr uint32_t kMaxStaticRoutes = 4;
/// Of one connection: of what is in flight; and of it and of what is held behind a gap.
inline constexpr uint32_t kMinTcpRuns = 8;
inline constexpr uint32_t kMaxTcpRuns = 1024;

/// The link. All zero is a point-to-point link, for which nothing else counts.
struct LinkConfig {
  uint8_t type = kLinkPointToPoint;  ///< LinkType
  uint8_t mac[6] = {};               ///< Ethernet: the NIC's own link address, unicast
  uint8_t prefix_length = 64;        ///< of the NIC's address: what is on the link, 0 to 128
  uint8_t dad_transmits = 1;         ///< RFC 4862 5.1: 0 switches duplicate address detection off
  uint8_t route_count = 0;           ///< static routes, at most kMaxStaticRoutes
  uint8_t loops_back = 0;            ///< 1: brings back what the NIC sends to its own address; else
                                     ///< a frame from that address is somebody's forgery
  uint16_t max_neighbours = 64;      ///< entries of the neighbour cache, 1 to 4096
  StaticRoute routes[kMaxStaticRoutes];  ///< the first `route_count` count
};

/// What a NIC is built with. Plain data; zero means "default" only where said.
struct NicConfig {
  abi::Ip6Address address = {};  ///< the NIC's IPv6 address (unicast, not ::)
  uint32_t mtu = 1500;           ///< bytes of the largest IPv6 packet, 1280 to 65575

  // Table sizes. Their sum decides the SRAM that is needed; see ArenaBytes().
  uint32_t max_qps = 64;              ///< at most 2^20
  uint32_t max_cqs = 64;              ///< at most 2^20
  uint32_t max_regions = 256;         ///< below 2^20
  uint32_t max_page_entries = 16384;  ///< translation table entries of all paged regions
  uint32_t max_listeners = 16;        ///< 1 to 4096
  uint32_t max_backlog = 64;          ///< SYNs waiting for an idle queue pair, all listeners
  uint32_t send_depth_log2 = 7;       ///< largest send queue: message records a queue pair
  uint32_t receive_contexts = 64;     ///< segments being placed at a time
  uint32_t transmit_contexts = 32;    ///< segments being fetched at a time
  uint32_t dma_slots = 256;           ///< tagged operations the backend can hold
  uint32_t wqe_cache_bytes = 512;     ///< SRAM a work queue for fetched WQEs, power of two, 128 to
                                      ///< 512: also the largest stride a queue pair may ask for

  uint32_t path_mtu_entries = 64;  ///< destinations whose path MTU is remembered, power of two,
                                   ///< 4 to 65536

  // Host rings of the management FSM, DMA addresses.
  uint64_t command_ring = 0;  ///< 2^command_log2 abi::Command
  uint64_t event_ring = 0;    ///< 2^event_log2 abi::Event
  uint32_t command_log2 = 6;  ///< 1 to 16
  uint32_t event_log2 = 9;    ///< 1 to 26

  // Fragmented packets are put together in host memory.
  uint64_t reassembly_pool = 0;   ///< DMA address of 64 KiB a slot
  uint32_t reassembly_slots = 4;  ///< packets at a time, at most 1024; 0: fragments are dropped

  // Protocol profile.
  uint8_t wire_trusted = 0;         ///< 1: no checksums are filled in
  uint32_t segmentation_limit = 0;  ///< largest packet, bytes, that the link engine cuts into TCP
                                    ///< segments (FrameOut::segment_size), at most 65535; 0: none
  uint8_t tcp_timestamps = 1;       ///< offer RFC 7323 timestamps
  uint8_t tcp_window_scaling = 1;   ///< offer RFC 7323 window scaling
  uint8_t ack_every = 2;            ///< acknowledge at least every n-th segment
  uint8_t ack_on_batch_end = 1;     ///< acknowledge as soon as the receive queue has drained
  uint8_t hop_limit = 64;           ///< of packets sent
  uint8_t wqe_prefetch = 4;         ///< WQEs fetched in one DMA, 1 to 8, as far as the cache holds
  uint8_t tcp_sack = 1;             ///< offer SACK, RFC 2018
  uint32_t ack_delay_us = 40000;    ///< delayed-ACK timer, RFC 9293 3.8.6.3: below 500 ms
  uint32_t rto_initial_us = 1000000;     ///< RFC 6298 (2.1)
  uint32_t rto_min_us = 200000;          ///< of K * RTTVAR, as in Linux; not RFC 6298 (2.4)
  uint32_t rto_max_us = 60000000;        ///< RFC 6298 (2.5)
  uint32_t time_wait_ms = 60000;         ///< 2 MSL
  uint32_t user_timeout_ms = 100000;     ///< give up unacknowledged data, RFC 9293 3.8.3; 0: never
  uint32_t connect_timeout_ms = 180000;  ///< give up a SYN, RFC 9293 3.8.3; 0: never
  uint32_t keepalive_idle_s = 0;         ///< RFC 9293 3.8.4: silence before the first probe; 0: no
                                         ///< keep-alive
  uint32_t keepalive_interval_s = 75;    ///< between probes, at least 1
  uint8_t keepalive_probes = 9;          ///< unanswered ones before the connection is given up, at
                                         ///< least 1
  uint8_t tcp_congestion = 1;            ///< tcp::CongestionAlgorithm: 0 NewReno, 1 CUBIC, 2 DCTCP
  uint8_t tcp_ecn = 1;                   ///< RFC 3168: 0 never, 1 when the peer asks, 2 ask
  uint8_t tcp_hystart = 1;               ///< HyStart++ (RFC 9406), on connections with SACK
  uint8_t tcp_pacing = 0;                ///< spread new text over the round trip
  uint8_t tcp_undo = 1;                  ///< take back window reductions that were for nothing
                                         ///< (RFC 3522, 5682, 3708)
  uint8_t tcp_user_timeout_option = 0;   ///< tell the peer user_timeout_ms, and heed its (RFC 5482)
  uint8_t tcp_mtu_probing = 1;           ///< RFC 4821: 0 never, 1 for a black hole, 2 always
  uint32_t scheduler_quantum = 0;        ///< deficit round robin bytes a turn; 0: two MTUs, or
                                         ///< segmentation_limit if that is more
  uint32_t tcp_reassembly = 32;          ///< ranges a connection holds behind a gap, at most
                                         ///< kMaxTcpRuns; 0: drops them
  uint32_t tcp_scoreboard = 32;          ///< runs a connection tells apart in flight, 8 to
                                         ///< kMaxTcpRuns
  LinkConfig link;                       ///< what the NIC is attached to
};

/// Bytes of SRAM a configuration needs, by table. The sum is `total`.
struct ArenaBytes {
  uint32_t header = 0;        ///< firmware state, scheduler, counters
  uint32_t qp_table = 0;      ///< queue pairs
  uint32_t send_records = 0;  ///< messages not yet acknowledged
  uint32_t cq_table = 0;      ///< completion queues
  uint32_t regions = 0;       ///< registered memory
  uint32_t page_entries = 0;  ///< translation table
  uint32_t listeners = 0;     ///< with the backlog
  uint32_t demux = 0;         ///< hash buckets
  uint32_t timers = 0;        ///< heap
  uint32_t contexts = 0;      ///< transmit and receive contexts
  uint32_t wqe_cache = 0;     ///< two a queue pair
  uint32_t held_ranges = 0;   ///< text that TCP connections hold behind a gap
  uint32_t sent_runs = 0;     ///< what became of their text in flight
  uint32_t path_mtus = 0;     ///< what is known of the paths' MTUs
  uint32_t reassembly = 0;    ///< fragmented packets' headers, and what of them is there
  uint32_t neighbours = 0;    ///< Ethernet: neighbour cache, routers, frames that wait
  uint32_t total = 0;         ///< 0: the configuration is refused
  uint32_t per_qp = 0;        ///< all bytes that one more queue pair costs
};

/// One number of ArenaBytes, for reports.
struct ArenaPart {
  const char* name;
  uint32_t ArenaBytes::*bytes;
};
inline constexpr ArenaPart kArenaParts[] = {
    {"header", &ArenaBytes::header},
    {"qp_table", &ArenaBytes::qp_table},
    {"send_records", &ArenaBytes::send_records},
    {"cq_table", &ArenaBytes::cq_table},
    {"regions", &ArenaBytes::regions},
    {"page_entries", &ArenaBytes::page_entries},
    {"listeners", &ArenaBytes::listeners},
    {"demux", &ArenaBytes::demux},
    {"timers", &ArenaBytes::timers},
    {"contexts", &ArenaBytes::contexts},
    {"wqe_cache", &ArenaBytes::wqe_cache},
    {"reassembly", &ArenaBytes::reassembly},
    {"held_ranges", &ArenaBytes::held_ranges},
    {"sent_runs", &ArenaBytes::sent_runs},
    {"path_mtus", &ArenaBytes::path_mtus},
    {"neighbours", &ArenaBytes::neighbours},
    {"arena_total", &ArenaBytes::total},
    {"arena_per_qp", &ArenaBytes::per_qp},
};
static_assert(sizeof(kArenaParts) / sizeof(ArenaPart) == sizeof(ArenaBytes) / sizeof(uint32_t),
              "each number is in the list");

}  // namespace qpip::fw
