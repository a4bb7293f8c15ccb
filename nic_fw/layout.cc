#include "nic_fw/layout.h"

#include <bit>
#include <type_traits>

#include "nic_fw/link_state.h"
#include "nic_fw/memory_key.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/rdma_state.h"
#include "nic_fw/received_frame.h"
#include "protocols/ipv6/header.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kMaxQps = 1u << 20;    // handles fit 24 bits, tags and doorbells
constexpr uint32_t kMaxMtu = 65535 + 40;  // without jumbograms (RFC 8200 section 3)
constexpr uint32_t kMaxContexts = 1u << 16;
constexpr uint32_t kMaxReassemblySlots = 1024;

bool LinkInRange(const LinkConfig& link) {
  if (link.type == kLinkPointToPoint) return true;
  if (link.type != kLinkEthernet || (link.mac[0] & 1) != 0 || link.prefix_length > 128 ||
      link.route_count > kMaxStaticRoutes || link.max_neighbours < 1 ||
      link.max_neighbours > 4096) {
    return false;
  }
  for (uint32_t i = 0; i < link.route_count; ++i) {
    if (link.routes[i].length > 128) return false;
  }
  return true;
}

static_assert(kMinTcpRuns >= tcp::Scoreboard::kLeastRuns);

bool InRange(const NicConfig& c) {
  return c.mtu >= ipv6::kMinMtu && c.mtu <= kMaxMtu && c.max_qps >= 1 && c.max_qps <= kMaxQps &&
         c.max_cqs >= 1 && c.max_cqs <= kMaxQps && c.max_regions >= 1 &&
         c.max_regions <= kMostRegions && c.max_page_entries <= (1u << 24) &&
         c.max_listeners >= 1 && c.max_listeners <= 4096 && c.max_backlog <= kMaxContexts &&
         c.send_depth_log2 <= 15 && c.receive_contexts >= 1 && c.receive_contexts <= kMaxContexts &&
         c.transmit_contexts >= 1 && c.transmit_contexts <= kMaxContexts &&
         c.wqe_cache_bytes >= 128 && c.wqe_cache_bytes <= 512 &&
         std::has_single_bit(c.wqe_cache_bytes) && c.wqe_prefetch >= 1 && c.wqe_prefetch <= 8 &&
         c.tcp.reassembly <= kMaxTcpRuns && c.tcp_scoreboard >= kMinTcpRuns &&
         c.tcp_scoreboard <= kMaxTcpRuns &&
         static_cast<uint32_t>(c.tcp.congestion) < tcp::kCongestionAlgorithms &&
         c.tcp.ecn <= tcp::EcnMode::kRequest && c.tcp.mtu_probing <= tcp::MtuProbing::kAlways &&
         c.tcp.keepalive_probes != 0 && c.tcp.keepalive_interval_s != 0 && c.command_log2 >= 1 &&
         c.command_log2 <= 16 && c.event_log2 >= 1 && c.event_log2 <= 26 &&
         c.scheduler_quantum <= (1u << 24) && c.segmentation_limit <= 0xffff &&
         c.dma_slots > c.receive_contexts && c.dma_slots > c.transmit_contexts &&
         c.reassembly_slots <= kMaxReassemblySlots && c.path_mtu_entries >= 4 &&
         c.path_mtu_entries <= 65536 && std::has_single_bit(c.path_mtu_entries) &&
         c.max_rdma_qps <= c.max_qps && LinkInRange(c.link);
}

// ---------------------------------------------------------------- the tables

/// A table of the arena: all there is to say of it but what its entries mean.
struct TableRow {
  uint32_t& (*offset)(Tables&);
  uint32_t entry_bytes;
  ArenaNumber bytes;                             ///< under which name it is accounted for
  uint32_t (*each_qp)(const NicConfig&);         ///< entries that a queue pair costs, or nullptr
  uint32_t (*count)(const NicConfig&);           ///< entries; nullptr: `each_qp` of all queue pairs
  void (*format)(const Nic&, uint32_t entries);  ///< what they begin as; nullptr: nothing
};

template <auto kTable>
uint32_t& OffsetOf(Tables& tables) {
  return (tables.*kTable).bytes;
}

template <typename T>
constexpr uint32_t EntryBytes(TableOffset<T> Tables::* /*table*/) {
  return sizeof(T);
}

/// A table of so many entries for each queue pair.
template <auto kTable>
constexpr TableRow EachQp(ArenaNumber bytes, uint32_t (*each_qp)(const NicConfig&),
                          void (*format)(const Nic&, uint32_t)) {
  return {OffsetOf<kTable>, EntryBytes(kTable), bytes, each_qp, nullptr, format};
}

/// A table whose size the configuration says.
template <auto kTable>
constexpr TableRow Shared(ArenaNumber bytes, uint32_t (*count)(const NicConfig&),
                          void (*format)(const Nic&, uint32_t)) {
  return {OffsetOf<kTable>, EntryBytes(kTable), bytes, nullptr, count, format};
}

uint32_t One(const NicConfig& /*config*/) { return 1; }
uint32_t Buckets(const NicConfig& c) { return std::bit_ceil(c.max_qps); }
/// Entries of a table that an Ethernet link needs.
template <typename Count>
uint32_t OnEthernetOnly(const NicConfig& c, Count count) {
  return c.link.type == kLinkEthernet ? count(c.link) : 0;
}

/// Every entry begins as its type says.
template <auto kTable>
void Clear(const Nic& nic, uint32_t entries) {
  auto* table = nic.Table(nic.state.tables.*kTable);
  for (uint32_t i = 0; i < entries; ++i) table[i] = std::remove_reference_t<decltype(*table)>{};
}

/// Every context is cleared and free, the first of them to be taken first.
template <auto kTable, auto kFree, typename LinkOfContext>
void ClearAndFree(const Nic& nic, uint32_t entries) {
  Clear<kTable>(nic, entries);
  for (uint32_t i = entries; i-- > 0;) PushFront(nic.state.*kFree, LinkOfContext{nic}, i);
}

void FormatQueuePairs(const Nic& nic, uint32_t entries) {
  for (uint32_t i = 0; i < entries; ++i) FormatQueuePair(nic, i);
}

void EmptyBuckets(const Nic& nic, uint32_t entries) {
  uint32_t* buckets = nic.Table(nic.state.tables.demux);
  for (uint32_t i = 0; i < entries; ++i) buckets[i] = kNone;
}

/// In the order in which they lie in the arena. Those that are not set to anything are written
/// before they are read: on a host, memory that nothing has needed is not there yet.
constexpr TableRow kTables[] = {
    EachQp<&Tables::queue_pairs>(&ArenaBytes::qp_table, One, FormatQueuePairs),
    EachQp<&Tables::send_records>(
        &ArenaBytes::send_records,
        [](const NicConfig& c) { return uint32_t{1} << c.send_depth_log2; }, nullptr),
    Shared<&Tables::completion_queues>(
        &ArenaBytes::cq_table, [](const NicConfig& c) { return c.max_cqs; },
        Clear<&Tables::completion_queues>),
    Shared<&Tables::regions>(
        &ArenaBytes::regions, [](const NicConfig& c) { return c.max_regions; },
        ClearAndFree<&Tables::regions, &FirmwareState::free_regions, RegionLink>),
    Shared<&Tables::page_entries>(
        &ArenaBytes::page_entries, [](const NicConfig& c) { return c.max_page_entries; }, nullptr),
    Shared<&Tables::listeners>(
        &ArenaBytes::listeners, [](const NicConfig& c) { return c.max_listeners; },
        Clear<&Tables::listeners>),
    Shared<&Tables::backlog>(
        &ArenaBytes::listeners, [](const NicConfig& c) { return c.max_backlog; },
        Clear<&Tables::backlog>),
    {OffsetOf<&Tables::demux>, sizeof(uint32_t), &ArenaBytes::demux, One, Buckets, EmptyBuckets},
    EachQp<&Tables::timers>(&ArenaBytes::timers, One, nullptr),
    Shared<&Tables::transmit_contexts>(
        &ArenaBytes::contexts, [](const NicConfig& c) { return c.transmit_contexts; },
        ClearAndFree<&Tables::transmit_contexts, &FirmwareState::free_transmit, TransmitLink>),
    Shared<&Tables::receive_contexts>(
        &ArenaBytes::contexts, [](const NicConfig& c) { return c.receive_contexts; },
        ClearAndFree<&Tables::receive_contexts, &FirmwareState::free_receive, ReceiveLink>),
    EachQp<&Tables::wqe_cache>(
        &ArenaBytes::wqe_cache, [](const NicConfig& c) { return 2 * c.wqe_cache_bytes; }, nullptr),
    Shared<&Tables::reassembly>(
        &ArenaBytes::reassembly, [](const NicConfig& c) { return c.reassembly_slots; },
        Clear<&Tables::reassembly>),
    EachQp<&Tables::held_ranges>(
        &ArenaBytes::held_ranges, [](const NicConfig& c) { return uint32_t{c.tcp.reassembly}; },
        nullptr),
    EachQp<&Tables::sent_runs>(
        &ArenaBytes::sent_runs, [](const NicConfig& c) { return c.tcp_scoreboard; }, nullptr),
    Shared<&Tables::path_mtus>(
        &ArenaBytes::path_mtus, [](const NicConfig& c) { return c.path_mtu_entries; },
        Clear<&Tables::path_mtus>),
    // StartLink puts these four into their initial state.
    Shared<&Tables::link>(
        &ArenaBytes::neighbours,
        [](const NicConfig& c) { return OnEthernetOnly(c, [](const LinkConfig&) { return 1u; }); },
        nullptr),
    Shared<&Tables::neighbours>(
        &ArenaBytes::neighbours,
        [](const NicConfig& c) {
          return OnEthernetOnly(c, [](const LinkConfig& link) { return link.max_neighbours; });
        },
        nullptr),
    Shared<&Tables::neighbour_buckets>(
        &ArenaBytes::neighbours,
        [](const NicConfig& c) { return OnEthernetOnly(c, NeighbourBuckets); }, nullptr),
    Shared<&Tables::waiting_packets>(
        &ArenaBytes::neighbours,
        [](const NicConfig& c) { return OnEthernetOnly(c, WaitingPackets); }, nullptr),
    Shared<&Tables::rdma>(
        &ArenaBytes::rdma, [](const NicConfig& c) { return c.max_rdma_qps; }, nullptr),
    Shared<&Tables::rdma_deliveries>(
        &ArenaBytes::rdma,
        [](const NicConfig& c) { return c.max_rdma_qps != 0 ? c.receive_contexts : 0; }, nullptr),
};
static_assert(sizeof(kTables) / sizeof(TableRow) == sizeof(Tables) / sizeof(uint32_t),
              "each table has one row");

uint64_t EntriesOf(const TableRow& row, const NicConfig& c) {
  return row.count != nullptr ? row.count(c) : uint64_t{c.max_qps} * row.each_qp(c);
}

}  // namespace

bool ComputeLayout(const NicConfig& c, FirmwareState* state) {
  state->config = c;
  if (!InRange(c)) return false;
  ArenaBytes& b = state->bytes;
  b = ArenaBytes{};
  b.header = static_cast<uint32_t>((sizeof(FirmwareState) + 63) & ~size_t{63});
  uint64_t next = b.header;
  uint64_t per_qp = 0;
  for (const TableRow& row : kTables) {
    const uint64_t bytes = (EntriesOf(row, c) * row.entry_bytes + 7) & ~uint64_t{7};
    row.offset(state->tables) = static_cast<uint32_t>(next);
    b.*row.bytes += static_cast<uint32_t>(bytes);
    next += bytes;
    if (row.each_qp != nullptr) per_qp += uint64_t{row.each_qp(c)} * row.entry_bytes;
  }
  if (next > 0xffffffffu) return false;
  b.total = static_cast<uint32_t>(next);
  b.per_qp = static_cast<uint32_t>(per_qp);
  state->demux_mask = Buckets(c) - 1;
  const uint32_t packet = c.segmentation_limit >> 1 > c.mtu ? c.segmentation_limit >> 1 : c.mtu;
  state->quantum = c.scheduler_quantum != 0 ? c.scheduler_quantum : 2 * packet;
  return true;
}

void FormatQueuePair(const Nic& nic, uint32_t handle) {
  const FirmwareState& s = nic.state;
  const NicConfig& config = s.config;
  QueuePair& q = nic.qp(handle);
  q = QueuePair{};
  q.handle = handle;
  q.send.owner = handle;
  q.recv.owner = handle;
  q.send.cache = s.tables.wqe_cache.bytes + handle * 2 * config.wqe_cache_bytes;
  q.recv.cache = q.send.cache + config.wqe_cache_bytes;
  q.send.records = s.tables.send_records.bytes +
                   (handle << config.send_depth_log2) * static_cast<uint32_t>(sizeof(SendRecord));
  PlaceRuns(nic, q);
}

void PlaceRuns(const Nic& nic, QueuePair& q) {
  const FirmwareState& s = nic.state;
  const NicConfig& config = s.config;
  const uint32_t handle = q.handle;
  // Not set to anything: on a host, memory that no connection has needed is not there yet.
  q.tcb.rcv.held.ranges.Place(
      nic.Table(s.tables.held_ranges) + size_t{handle} * config.tcp.reassembly,
      config.tcp.reassembly);
  q.tcb.sent.runs.Place(nic.Table(s.tables.sent_runs) + size_t{handle} * config.tcp_scoreboard,
                        config.tcp_scoreboard);
}

void FormatTables(const Nic& nic) {
  for (const TableRow& row : kTables) {
    if (row.format == nullptr) continue;
    row.format(nic, static_cast<uint32_t>(EntriesOf(row, nic.state.config)));
  }
}

}  // namespace qpip::fw
