#include "netsim.h"

#include <algorithm>

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kIpv6Bytes = 40;
constexpr uint32_t kAhead = 1 << 25;  // text announced to a sender beyond what is acknowledged
constexpr uint32_t kReceiveWindow = 1 << 24;
constexpr uint64_t kEpoch = kNanosASecond;  // of the machines' clock, which does not start at zero

uint32_t PacketBytes(const Segment& segment) {
  return kIpv6Bytes + static_cast<uint32_t>(EmitSize(segment.header)) + segment.text_length;
}

}  // namespace

FlowTotals operator-(const FlowTotals& a, const FlowTotals& b) {
  return {a.delivered_bytes - b.delivered_bytes, a.segments - b.segments,
          a.retransmissions - b.retransmissions, a.timeouts - b.timeouts};
}

QueueTotals operator-(const QueueTotals& a, const QueueTotals& b) {
  return {a.packets - b.packets, a.waited_ns - b.waited_ns, a.dropped - b.dropped, a.lost - b.lost,
          a.marked - b.marked};
}

Options BulkOptions(CongestionAlgorithm congestion) {
  Options options;
  options.mss = 1440;
  options.receive_buffer = kReceiveWindow;
  options.ack_on_batch_end = false;
  options.user_timeout_ms = 0;
  options.connect_timeout_ms = 0;
  options.congestion = congestion;
  const bool marks = congestion == CongestionAlgorithm::kDctcp;
  options.ecn = marks ? EcnMode::kRequest : EcnMode::kOff;
  return options;
}

Netsim::Netsim(const Bottleneck& bottleneck)
    : bottleneck_(bottleneck), random_(bottleneck.seed), now_(kEpoch) {}

size_t Netsim::AddFlow(const Options& options, uint64_t start_ns) {
  flows_.push_back({options, kEpoch + start_ns, {}, {}});
  return flows_.size() - 1;
}

void Netsim::RunUntil(uint64_t time_ns) {
  const uint64_t until = kEpoch + time_ns;
  for (uint64_t next = NextTime(); next <= until; next = NextTime()) {
    now_ = std::max(now_, next);
    Deliver(&forward_, kReceiver);
    Deliver(&backward_, kSender);
    RunTimers();
  }
  now_ = until;
}

uint64_t Netsim::NextTime() const {
  uint64_t next = kNever;
  if (!forward_.empty()) next = std::min(next, forward_.front().arrives_at);
  if (!backward_.empty()) next = std::min(next, backward_.front().arrives_at);
  for (const Flow& flow : flows_) {
    next = std::min({next, flow.start_ns, flow.ends[0].deadline, flow.ends[1].deadline});
  }
  return next;
}

void Netsim::RunTimers() {
  for (size_t i = 0; i < flows_.size(); ++i) {
    Flow& flow = flows_[i];
    if (flow.start_ns <= now_) {
      Tcb& tcb = flow.ends[kSender].tcb;
      OpenActive(tcb, flow.options, SequenceNumber(1000), now_);
      SetReceiveWindow(tcb, kReceiveWindow, now_);
      flow.start_ns = kNever;
      Transmit(i, kSender);
    }
    for (uint32_t end : {kSender, kReceiver}) {
      if (flow.ends[end].deadline > now_) continue;
      if (OnTimer(flow.ends[end].tcb, now_).retransmission_timeout) ++flow.totals.timeouts;
      Transmit(i, end);
    }
  }
}

void Netsim::Deliver(std::deque<Packet>* path, uint32_t to) {
  while (!path->empty() && path->front().arrives_at <= now_) {
    const Packet packet = path->front();
    path->pop_front();
    Receive(packet.flow, to, packet.segment);
  }
}

void Netsim::Receive(size_t index, uint32_t end, const Segment& segment) {
  Tcb& tcb = flows_[index].ends[end].tcb;
  if (end == kReceiver && tcb.state == State::kClosed) {
    if (!segment.header.Has(kSyn)) return;
    OpenPassive(tcb, flows_[index].options, SequenceNumber(5000), segment, now_);
    SetReceiveWindow(tcb, kReceiveWindow, now_);
  } else {
    Accept(index, end, segment);
  }
  Transmit(index, end);
}

void Netsim::Accept(size_t index, uint32_t end, const Segment& segment) {
  Flow& flow = flows_[index];
  Tcb& tcb = flow.ends[end].tcb;
  const Arrival arrival = OnSegment(tcb, segment, now_);
  if (arrival.held || arrival.text_length == 0) return;
  uint64_t placed = arrival.text_length;
  OnPlaced(tcb, arrival.text_length, now_);
  HeldRange range;
  while (NextReleased(tcb, &range)) {
    OnPlaced(tcb, range.length, now_);
    placed += range.length;
  }
  flow.totals.delivered_bytes += placed;
  SetReceiveWindow(tcb, kReceiveWindow, now_);  // the application is never behind
}

void Netsim::Transmit(size_t index, uint32_t end) {
  Tcb& tcb = flows_[index].ends[end].tcb;
  if (end == kSender) {
    const uint32_t announced = tcb.snd_una.DistanceTo(tcb.snd_end);
    if (announced < kAhead / 2) ExtendSend(tcb, kAhead - announced);
  }
  while (SendOne(index, end)) {
  }
  flows_[index].ends[end].deadline = NextDeadline(tcb);
}

bool Netsim::SendOne(size_t index, uint32_t end) {
  Flow& flow = flows_[index];
  Tcb& tcb = flow.ends[end].tcb;
  const SendIntent intent = NextSend(tcb, now_);
  if (intent.kind == SendIntent::Kind::kNone) return false;
  Segment segment;
  if (intent.kind == SendIntent::Kind::kData) {
    segment.text_length = AllowedLength(tcb, intent, intent.sequence.DistanceTo(tcb.snd_end));
    if (segment.text_length == 0) return false;
    ++flow.totals.segments;
    if (intent.retransmission) ++flow.totals.retransmissions;
  }
  segment.header = CommitSend(tcb, intent, segment.text_length, false, now_);
  if (intent.ecn_capable) segment.ecn = EcnCodepoint::kCapable0;
  if (end == kSender) {
    CarryForward(index, segment);
  } else {
    backward_.push_back({now_ + bottleneck_.round_trip_ns / 2, index, segment});
  }
  return true;
}

/// The buffer is a time: how long the link is busy with what has come before.
void Netsim::CarryForward(size_t index, Segment segment) {
  const uint32_t bytes = PacketBytes(segment);
  const uint64_t waits = link_free_at_ > now_ ? link_free_at_ - now_ : 0;
  const uint64_t queued = waits * (bottleneck_.bits_per_second / 8000) / 1000000;
  if (queued + bytes > bottleneck_.buffer_bytes && waits != 0) {
    ++queue_.dropped;
    return;
  }
  ++queue_.packets;
  queue_.waited_ns += waits;
  if (queued > bottleneck_.mark_above_bytes && segment.ecn != EcnCodepoint::kNotCapable) {
    segment.ecn = EcnCodepoint::kCongestionExperienced;
    ++queue_.marked;
  }
  const uint64_t sending = bytes * (8 * kNanosASecond) / bottleneck_.bits_per_second;
  link_free_at_ = now_ + waits + sending;
  if (random_.ChancePerMillion(bottleneck_.loss_per_million)) {
    ++queue_.lost;
    return;
  }
  forward_.push_back({link_free_at_ + bottleneck_.round_trip_ns / 2, index, segment});
}

}  // namespace qpip::tcp::testing
