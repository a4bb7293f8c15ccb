#include "nic_fw/layout.h"

#include <bit>

#include "nic_fw/link_state.h"
#include "nic_fw/path_mtu.h"
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
         c.max_cqs >= 1 && c.max_cqs <= kMaxQps && c.max_regions >= 1 && c.max_regions < kMaxQps &&
         c.max_page_entries <= (1u << 24) && c.max_listeners >= 1 && c.max_listeners <= 4096 &&
         c.max_backlog <= kMaxContexts && c.send_depth_log2 <= 15 && c.receive_contexts >= 1 &&
         c.receive_contexts <= kMaxContexts && c.transmit_contexts >= 1 &&
         c.transmit_contexts <= kMaxContexts && c.wqe_cache_bytes >= 128 &&
         c.wqe_cache_bytes <= 512 && std::has_single_bit(c.wqe_cache_bytes) &&
         c.wqe_prefetch >= 1 && c.wqe_prefetch <= 8 && c.tcp_reassembly <= kMaxTcpRuns &&
         c.tcp_scoreboard >= kMinTcpRuns && c.tcp_scoreboard <= kMaxTcpRuns &&
         c.tcp_congestion < tcp::kCongestionAlgorithms && c.tcp_ecn <= 2 &&
         c.tcp_mtu_probing <= 2 && c.keepalive_probes != 0 && c.keepalive_interval_s != 0 &&
         c.command_log2 >= 1 && c.command_log2 <= 16 && c.event_log2 >= 1 && c.event_log2 <= 26 &&
         c.scheduler_quantum <= (1u << 24) && c.segmentation_limit <= 0xffff &&
         c.dma_slots > c.receive_contexts && c.dma_slots > c.transmit_contexts &&
         c.reassembly_slots <= kMaxReassemblySlots && c.path_mtu_entries >= 4 &&
         c.path_mtu_entries <= 65536 && std::has_single_bit(c.path_mtu_entries) &&
         LinkInRange(c.link);
}

/// Hands out consecutive, 8-byte aligned pieces and refuses to pass 4 GiB.
class Allocator {
 public:
  explicit Allocator(uint32_t start) : next_(start) {}

  /// Reserves `count` entries of `size` bytes; the size goes to `*bytes`, the answer is the offset.
  uint32_t Take(uint64_t count, uint64_t size, uint32_t* bytes) {
    const uint64_t total = (count * size + 7) & ~uint64_t{7};
    const uint64_t offset = next_;
    *bytes = static_cast<uint32_t>(total);
    next_ += total;
    return static_cast<uint32_t>(offset);
  }
  uint64_t total() const { return next_; }

 private:
  uint64_t next_;
};

}  // namespace

bool ComputeLayout(const NicConfig& c, FirmwareState* state) {
  state->config = c;
  if (!InRange(c)) return false;
  ArenaBytes& b = state->bytes;
  b = ArenaBytes{};
  b.header = static_cast<uint32_t>((sizeof(FirmwareState) + 63) & ~size_t{63});
  Allocator arena(b.header);
  const uint32_t buckets = std::bit_ceil(c.max_qps);
  uint32_t backlog_bytes = 0;
  uint32_t transmit_bytes = 0;
  uint32_t receive_bytes = 0;
  state->qp_offset = arena.Take(c.max_qps, sizeof(QueuePair), &b.qp_table);
  state->record_offset =
      arena.Take(uint64_t{c.max_qps} << c.send_depth_log2, sizeof(SendRecord), &b.send_records);
  state->cq_offset = arena.Take(c.max_cqs, sizeof(CompletionQueueState), &b.cq_table);
  state->region_offset = arena.Take(c.max_regions, sizeof(Region), &b.regions);
  state->page_offset = arena.Take(c.max_page_entries, sizeof(uint64_t), &b.page_entries);
  state->listener_offset = arena.Take(c.max_listeners, sizeof(ListenerState), &b.listeners);
  state->backlog_offset = arena.Take(c.max_backlog, sizeof(BacklogEntry), &backlog_bytes);
  b.listeners += backlog_bytes;
  state->demux_offset = arena.Take(buckets, sizeof(uint32_t), &b.demux);
  state->timer_offset = arena.Take(c.max_qps, sizeof(uint32_t), &b.timers);
  state->transmit_offset =
      arena.Take(c.transmit_contexts, sizeof(TransmitContext), &transmit_bytes);
  state->receive_offset = arena.Take(c.receive_contexts, sizeof(ReceiveContext), &receive_bytes);
  b.contexts = transmit_bytes + receive_bytes;
  state->wqe_offset = arena.Take(c.max_qps, uint64_t{2} * c.wqe_cache_bytes, &b.wqe_cache);
  state->reassembly_offset = arena.Take(c.reassembly_slots, sizeof(ReassemblySlot), &b.reassembly);
  state->held_offset =
      arena.Take(uint64_t{c.max_qps} * c.tcp_reassembly, sizeof(tcp::HeldRange), &b.held_ranges);
  state->sent_offset =
      arena.Take(uint64_t{c.max_qps} * c.tcp_scoreboard, sizeof(tcp::SentRun), &b.sent_runs);
  state->path_mtu_offset = arena.Take(c.path_mtu_entries, sizeof(PathMtuEntry), &b.path_mtus);
  if (c.link.type == kLinkEthernet) {
    state->neighbour_offset =
        arena.Take(1, sizeof(LinkState) + c.link.max_neighbours * sizeof(Neighbour), &b.neighbours);
  }
  if (arena.total() > 0xffffffffu) return false;
  b.total = static_cast<uint32_t>(arena.total());
  b.per_qp = static_cast<uint32_t>(sizeof(QueuePair) + (sizeof(SendRecord) << c.send_depth_log2) +
                                   sizeof(uint32_t) * 2 + 2 * c.wqe_cache_bytes +
                                   c.tcp_reassembly * sizeof(tcp::HeldRange) +
                                   c.tcp_scoreboard * sizeof(tcp::SentRun));
  state->demux_mask = buckets - 1;
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
  q.send.cache = s.wqe_offset + handle * 2 * config.wqe_cache_bytes;
  q.recv.cache = q.send.cache + config.wqe_cache_bytes;
  q.send.records = s.record_offset +
                   (handle << config.send_depth_log2) * static_cast<uint32_t>(sizeof(SendRecord));
  // Not set to anything: on a host, memory that no connection has needed is not there yet.
  q.tcb.rcv.held.ranges.Place(
      nic.Table<tcp::HeldRange>(s.held_offset) + size_t{handle} * config.tcp_reassembly,
      config.tcp_reassembly);
  q.tcb.sent.runs.Place(
      nic.Table<tcp::SentRun>(s.sent_offset) + size_t{handle} * config.tcp_scoreboard,
      config.tcp_scoreboard);
}

void FormatTables(const Nic& nic) {
  FirmwareState& s = nic.state;
  for (uint32_t i = 0; i < s.config.max_qps; ++i) FormatQueuePair(nic, i);
  for (uint32_t i = 0; i < s.config.max_cqs; ++i) nic.cq(i) = CompletionQueueState{};
  for (uint32_t i = 0; i < s.config.max_regions; ++i) nic.region(i) = Region{};
  for (uint32_t i = 0; i < s.config.max_listeners; ++i) nic.listener(i) = ListenerState{};
  for (uint32_t i = 0; i < s.config.max_backlog; ++i) nic.backlog(i) = BacklogEntry{};
  uint32_t* buckets = nic.Table<uint32_t>(s.demux_offset);
  for (uint32_t i = 0; i <= s.demux_mask; ++i) buckets[i] = kNone;
  for (uint32_t i = s.config.transmit_contexts; i-- > 0;) {
    nic.transmit(i) = TransmitContext{};
    PushFront(s.free_transmit, TransmitLink{nic}, i);
  }
  for (uint32_t i = s.config.receive_contexts; i-- > 0;) {
    nic.receive(i) = ReceiveContext{};
    PushFront(s.free_receive, ReceiveLink{nic}, i);
  }
  for (uint32_t i = 0; i < s.config.path_mtu_entries; ++i) {
    nic.Table<PathMtuEntry>(s.path_mtu_offset)[i] = PathMtuEntry{};
  }
  for (uint32_t i = 0; i < s.config.reassembly_slots; ++i) SlotAt(nic, i) = ReassemblySlot{};
}

}  // namespace qpip::fw
