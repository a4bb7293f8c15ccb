// A network in virtual time for pairs of TCP machines: they share one bottleneck towards the
// receivers, a link with a drop-tail buffer that loses at random and marks what is ECN-capable;
// acknowledgements come back over a path that only delays.
//
//     sender 0 ──┐                                          ┌──> receiver 0
//     sender 1 ──┼──> [ buffer ] ── link ── loss ── delay ──┼──> receiver 1
//                └──────────────── delay <──────────────────┘
//
// Whole numbers only, and random ones from a generator of its own: the same options give the same
// packets at the same nanoseconds on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "protocols/tcp/machine.h"
#include "standalone_tcb.h"

namespace qpip::tcp::testing {

inline constexpr uint64_t kNanosASecond = 1000000000;

/// SplitMix64: the standard library's distributions differ from one library to the next.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  uint32_t Next32() { return static_cast<uint32_t>(Next() >> 32); }
  /// 0 to `limit` - 1; `limit` is small beside 2^32, so the bias does not matter.
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>((Next() >> 32) * limit >> 32); }
  bool ChancePerMillion(uint32_t chance) { return Below(1000000) < chance; }

 private:
  uint64_t state_;
};

struct Bottleneck {
  uint64_t bits_per_second = 100000000;
  uint64_t round_trip_ns = 20000000;  ///< without queueing; half of it each way
  uint32_t buffer_bytes = 250000;     ///< what fits no more is dropped
  uint32_t loss_per_million = 0;      ///< of what the link has carried
  uint32_t mark_above_bytes = ~0u;    ///< CE for what finds more than this in the buffer
  uint64_t seed = 1;

  uint64_t BandwidthDelayBytes() const {
    return bits_per_second / 8 * (round_trip_ns / 1000) / 1000000;
  }
};

/// What one flow has done so far.
struct FlowTotals {
  uint64_t delivered_bytes = 0;  ///< text, in order at the receiver
  uint64_t segments = 0;         ///< with text, sent
  uint64_t retransmissions = 0;
  uint64_t timeouts = 0;
  uint64_t misplaced = 0;  ///< times that text was taken for other bytes of the stream than it is
};

/// What a segment that no machine has sent has caused.
struct Injection {
  Arrival arrival;
  uint32_t answers = 0;  ///< segments that went out because of it
};

/// What the bottleneck has seen so far.
struct QueueTotals {
  uint64_t packets = 0;
  uint64_t waited_ns = 0;  ///< in the buffer, by all of them
  uint64_t dropped = 0;    ///< for want of room
  uint64_t lost = 0;       ///< at random
  uint64_t marked = 0;

  uint64_t MeanDelayNs() const { return packets == 0 ? 0 : waited_ns / packets; }
};

FlowTotals operator-(const FlowTotals& a, const FlowTotals& b);
QueueTotals operator-(const QueueTotals& a, const QueueTotals& b);

/// The options of the table's machines: an MTU of 1500, windows that never limit, an ACK for every
/// other segment.
Options BulkOptions(CongestionAlgorithm congestion);

class Netsim {
 public:
  static constexpr uint32_t kSender = 0;
  static constexpr uint32_t kReceiver = 1;
  static constexpr uint64_t kEndless = ~uint64_t{0};

  explicit Netsim(const Bottleneck& bottleneck);

  /// A transfer of `bytes` that opens at `start_ns`, and closes when all is sent. Returns its
  /// index.
  size_t AddFlow(const Options& options, uint64_t start_ns = 0, uint64_t bytes = kEndless);
  /// Moves the clock, which starts at zero.
  void RunUntil(uint64_t time_ns);
  /// A forged segment arrives now.
  Injection Inject(size_t index, uint32_t end, const Segment& segment);

  const FlowTotals& flow(size_t index) const { return flows_[index].totals; }
  const Tcb& tcb(size_t index, uint32_t end) const { return flows_[index].ends[end].tcb; }
  const Tcb& sender(size_t index) const { return tcb(index, kSender); }
  /// Of the machines.
  uint64_t now() const { return now_; }
  const QueueTotals& queue() const { return queue_; }

 private:
  static constexpr uint64_t kForged = ~uint64_t{0};

  struct Packet {
    uint64_t arrives_at;
    size_t flow;
    uint64_t position;  ///< of the text in the stream
    Segment segment;
  };
  struct End {
    StandaloneTcb tcb;
    uint64_t deadline = kNever;  ///< of its machine
  };
  struct Flow {
    Options options;
    uint64_t start_ns;
    uint64_t unannounced;  ///< bytes that the sender's machine does not know of yet
    End ends[2];
    FlowTotals totals;
  };

  uint64_t NextTime() const;
  void RunTimers();
  void Deliver(std::deque<Packet>* path, uint32_t to);
  void Receive(const Packet& packet, uint32_t end);
  Arrival Accept(size_t index, uint32_t end, const Segment& segment, uint64_t position);
  void Announce(Flow* flow);
  /// Everything that `end` may send now, and when it wants to be looked at again. Returns how many.
  uint32_t Transmit(size_t index, uint32_t end);
  bool SendOne(size_t index, uint32_t end);
  void CarryForward(Packet packet);

  Bottleneck bottleneck_;
  Random random_;
  uint64_t now_ = 0;
  uint64_t link_free_at_ = 0;
  std::vector<Flow> flows_;
  std::deque<Packet> forward_;   ///< left the link, in order of arrival
  std::deque<Packet> backward_;  ///< acknowledgements, likewise
  QueueTotals queue_;
};

}  // namespace qpip::tcp::testing
