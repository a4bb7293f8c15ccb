#include "netsim.h"

#include <algorithm>

namespace qpip::tcp::testing {
namespace {

constexpr uint32_t kIpv6Bytes = 40;
constexpr uint32_t kAhead = 1 << 25;  // text announced to a sender beyond what is acknowledged
constexpr uint64_t kEpoch = kNanosASecond;  // of the machines' clock, which does not start at zero

uint32_t PacketBytes(const Segment& segment) {
  return kIpv6Bytes + static_cast<uint32_t>(EmitSize(segment.header)) + segment.text_length;
}

}  // namespace

FlowTotals operator-(const FlowTotals& a, const FlowTotals& b) {
  return {a.delivered_bytes - b.delivered_bytes, a.segments - b.segments,
          a.retransmissions - b.retransmissions, a.timeouts - b.timeouts,
          a.misplaced - b.misplaced};
}

QueueTotals operator-(const QueueTotals& a, const QueueTotals& b) {
  return {a.packets - b.packets, a.waited_ns - b.waited_ns, a.dropped - b.dropped, a.lost - b.lost,
          a.marked - b.marked};
}

Options BulkOptions(CongestionAlgorithm congestion) {
  Options options;
  options.mss = 1440;
  options.receive_buffer = 1 << 24;
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

size_t Netsim::AddFlow(const Options& options, uint64_t start_ns, uint64_t bytes) {
  flows_.push_back({options, kEpoch + start_ns, bytes, {}, {}});
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
      SetReceiveWindow(tcb, flow.options.receive_buffer, now_);
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
    Receive(packet, to);
  }
}

void Netsim::Receive(const Packet& packet, uint32_t end) {
  Flow& flow = flows_[packet.flow];
  Tcb& tcb = flow.ends[end].tcb;
  if (end == kReceiver && tcb.state == State::kClosed) {
    if (!packet.segment.header.Has(kSyn)) return;
    OpenPassive(tcb, flow.options, SequenceNumber(5000), packet.segment, now_);
    SetReceiveWindow(tcb, flow.options.receive_buffer, now_);
  } else {
    Accept(packet.flow, end, packet.segment, packet.position);
  }
  Transmit(packet.flow, end);
}

Injection Netsim::Inject(size_t index, uint32_t end, const Segment& segment) {
  Injection injection;
  injection.arrival = Accept(index, end, segment, kForged);
  injection.answers = Transmit(index, end);
  return injection;
}

Arrival Netsim::Accept(size_t index, uint32_t end, const Segment& segment, uint64_t position) {
  Flow& flow = flows_[index];
  Tcb& tcb = flow.ends[end].tcb;
  const Arrival arrival = OnSegment(tcb, segment, now_);
  if (arrival.peer_closed) Close(tcb, now_);
  if (arrival.text_length == 0) return arrival;
  const uint32_t offset = (tcb.rcv.irs + 1).DistanceTo(arrival.text_sequence) - arrival.text_offset;
  if (position == kForged || offset != static_cast<uint32_t>(position)) ++flow.totals.misplaced;
  if (arrival.held) return arrival;
  uint64_t placed = arrival.text_length;
  OnPlaced(tcb, arrival.text_length, now_);
  HeldRange range;
  while (NextReleased(tcb, &range)) {
    OnPlaced(tcb, range.length, now_);
    placed += range.length;
  }
  flow.totals.delivered_bytes += placed;
  SetReceiveWindow(tcb, flow.options.receive_buffer, now_);  // the application is never behind
  return arrival;
}

void Netsim::Announce(Flow* flow) {
  Tcb& tcb = flow->ends[kSender].tcb;
  const uint32_t announced = tcb.snd.una.DistanceTo(tcb.snd.end);
  if (tcb.snd.fin_queued || announced >= kAhead / 2) return;
  const uint32_t more =
      static_cast<uint32_t>(std::min(uint64_t{kAhead - announced}, flow->unannounced));
  ExtendSend(tcb, more);
  if (flow->unannounced == kEndless) return;
  flow->unannounced -= more;
  if (flow->unannounced == 0) Close(tcb, now_);
}

uint32_t Netsim::Transmit(size_t index, uint32_t end) {
  const Tcb& tcb = flows_[index].ends[end].tcb;
  if (end == kSender) Announce(&flows_[index]);
  uint32_t sent = 0;
  while (SendOne(index, end)) ++sent;
  flows_[index].ends[end].deadline = NextDeadline(tcb);
  return sent;
}

bool Netsim::SendOne(size_t index, uint32_t end) {
  Flow& flow = flows_[index];
  Tcb& tcb = flow.ends[end].tcb;
  const SendIntent intent = NextSend(tcb, now_);
  if (intent.kind == SendIntent::Kind::kNone) return false;
  Segment segment;
  if (intent.kind == SendIntent::Kind::kData) {
    segment.text_length = AllowedLength(tcb, intent, intent.sequence.DistanceTo(tcb.snd.end));
    if (segment.text_length == 0) return false;
    ++flow.totals.segments;
    if (intent.retransmission) ++flow.totals.retransmissions;
  }
  segment.header = CommitSend(tcb, intent, segment.text_length, false, now_);
  if (intent.ecn_capable) segment.ecn = EcnCodepoint::kCapable0;
  const Packet packet = {now_ + bottleneck_.round_trip_ns / 2, index,
                         (tcb.snd.iss + 1).DistanceTo(segment.header.sequence), segment};
  if (end == kSender) {
    CarryForward(packet);
  } else {
    backward_.push_back(packet);
  }
  return true;
}

/// The buffer is a time: how long the link is busy with what has come before.
void Netsim::CarryForward(Packet packet) {
  Segment& segment = packet.segment;
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
  packet.arrives_at = link_free_at_ + bottleneck_.round_trip_ns / 2;
  forward_.push_back(packet);
}

}  // namespace qpip::tcp::testing
