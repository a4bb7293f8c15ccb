// What a NIC is built with, and what SRAM that takes.
#pragma once

#include <cstdint>

#include "nic_fw/abi/work_queue.h"
#include "protocols/tcp/options.h"

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
  uint32_t max_regions = 256;         ///< at most 65536
  uint32_t max_page_entries = 16384;  ///< translation table entries of all paged regions
  uint32_t max_listeners = 16;        ///< 1 to 4096
  uint32_t max_backlog = 64;          ///< SYNs waiting for an idle queue pair, all listeners
  uint32_t send_depth_log2 = 7;       ///< largest send queue: message records a queue pair
  uint32_t receive_contexts = 64;     ///< segments being placed at a time
  uint32_t transmit_contexts = 32;    ///< segments being fetched at a time
  uint32_t dma_slots = 256;           ///< tagged operations the backend can hold
  uint32_t wqe_cache_bytes = 512;     ///< SRAM a work queue for fetched WQEs, power of two, 128 to
                                      ///< 512: also the largest stride a queue pair may ask for

  uint32_t max_rdma_qps = 0;  ///< queue pairs that may be RDMA ones, at most max_qps

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
  uint8_t hop_limit = 64;           ///< of packets sent
  uint8_t wqe_prefetch = 4;         ///< WQEs fetched in one DMA, 1 to 8, as far as the cache holds
  uint32_t scheduler_quantum = 0;   ///< deficit round robin bytes a turn; 0: two MTUs, or
                                    ///< segmentation_limit if that is more
  uint32_t tcp_scoreboard = 32;     ///< runs a connection tells apart in flight, 8 to kMaxTcpRuns
  /// What connections begin with. `mss`, `segmentation_limit`, `receive_buffer` and `nagle` do not
  /// count: they come from the fields above and from the queue pair. Ranges: `ack_delay_us` below
  /// 500 ms, `keepalive_interval_s` and `keepalive_probes` at least 1, `reassembly` at most
  /// kMaxTcpRuns; a time-out of 0 is never.
  tcp::Options tcp = {.reassembly = 32};
  LinkConfig link;  ///< what the NIC is attached to
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
  uint32_t rdma = 0;          ///< RDMA: what those queue pairs have beyond
  uint32_t total = 0;         ///< 0: the configuration is refused
  uint32_t per_qp = 0;        ///< all bytes that one more queue pair costs
};

/// One number of ArenaBytes.
using ArenaNumber = decltype(&ArenaBytes::total);

/// It and its name, for reports.
struct ArenaPart {
  const char* name;
  ArenaNumber bytes;
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
    {"rdma", &ArenaBytes::rdma},
    {"arena_total", &ArenaBytes::total},
    {"arena_per_qp", &ArenaBytes::per_qp},
};
static_assert(sizeof(kArenaParts) / sizeof(ArenaPart) == sizeof(ArenaBytes) / sizeof(uint32_t),
              "each number is in the list");

}  // namespace qpip::fw
