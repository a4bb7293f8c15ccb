// Two machines back to back through a pipe that loses, reorders and duplicates: every byte arrives
// once, in order, at its place, with messages' ends marked, and both sides close by FIN.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <queue>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

/// Text of a stream, from its position: what arrives can be checked without keeping what was sent.
/// It repeats after a prime number of bytes, more than can be under way.
std::span<const uint8_t> TextAt(uint32_t direction, uint64_t position, uint32_t length) {
  constexpr size_t kPeriod = (1 << 20) - 3;
  constexpr size_t kLongest = 1 << 16;
  static const std::array<std::vector<uint8_t>, 2> text = [] {
    std::array<std::vector<uint8_t>, 2> made;
    for (std::vector<uint8_t>& one : made) {
      std::mt19937_64 random(static_cast<uint64_t>(&one - made.data()));
      while (one.size() < kPeriod) one.push_back(static_cast<uint8_t>(random()));
      one.insert(one.end(), one.begin(), one.begin() + kLongest);
    }
    return made;
  }();
  if (length > kLongest) throw std::length_error("a segment longer than the pattern foresees");
  return std::span(text[direction]).subspan(position % kPeriod, length);
}

struct PipeOptions {
  double loss = 0;
  double duplicate = 0;
  uint64_t delay = 100 * kUs;
  uint64_t jitter = 0;     // random extra delay: reordering
  double mark = 0;         // of packets that are ECN-capable
  uint32_t largest = ~0u;  // bytes of a packet; what has more is dropped, and nobody says so
};

struct Packet {
  Segment segment;
  std::vector<uint8_t> text;
};

/// All that a Tcb has, its tables' entries included, but for padding: that is copied with it and
/// not written, so that the bytes of two that were treated alike are alike.
void ExpectSameState(const StandaloneTcb& predicted, const StandaloneTcb& in_steps) {
  ASSERT_EQ(std::memcmp(&predicted, &in_steps, sizeof(predicted)), 0)
      << "header prediction and the steps of RFC 9293 leave different connections behind";
}

void ExpectSamePlan(const Arrival& predicted, const Arrival& in_steps) {
  ASSERT_EQ(predicted.outcome, in_steps.outcome);
  ASSERT_EQ(predicted.refusal, in_steps.refusal);
  ASSERT_EQ(predicted.text_offset, in_steps.text_offset);
  ASSERT_EQ(predicted.text_length, in_steps.text_length);
  ASSERT_EQ(predicted.text_sequence, in_steps.text_sequence);
  ASSERT_EQ(predicted.push, in_steps.push);
  ASSERT_EQ(predicted.held, in_steps.held);
  ASSERT_EQ(predicted.peer_closed, in_steps.peer_closed);
  ASSERT_EQ(predicted.acked_bytes, in_steps.acked_bytes);
  ASSERT_EQ(predicted.rtt_sampled, in_steps.rtt_sampled);
  ASSERT_EQ(predicted.send_reset, in_steps.send_reset);
}

/// An owner as nic_fw is one: messages, delayed placement, a receive buffer that drains.
class Endpoint {
 public:
  Endpoint(uint32_t direction, uint64_t to_send, uint32_t buffer, uint32_t largest_message,
           std::mt19937_64* random)
      : direction_(direction),
        to_send_(to_send),
        buffer_(buffer),
        largest_message_(largest_message),
        random_(*random) {}

  void Announce() {
    // Bounded, as send queues are.
    while (announced_ < to_send_ && tcb.snd.una.DistanceTo(tcb.snd.end) < 200000) {
      uint64_t length = 1 + random_() % largest_message_;
      length = std::min(length, to_send_ - announced_);
      announced_ += length;
      ends_[announced_] = true;
      ExtendSend(tcb, static_cast<uint32_t>(length));
    }
    if (announced_ == to_send_ && !tcb.snd.fin_queued) Close(tcb, 0);
  }

  /// Everything that may go now.
  template <typename Emit>
  void Transmit(uint64_t now, Emit emit) {
    for (int i = 0; i < 5000; ++i) {
      const SendIntent intent = NextSend(tcb, now);
      if (intent.kind == SendIntent::Kind::kNone) return;
      Packet packet;
      if (intent.kind == SendIntent::Kind::kData) {
        const uint64_t offset = (tcb.snd.iss + 1).DistanceTo(intent.sequence);
        const uint64_t end = ends_.upper_bound(offset)->first;
        const uint32_t rest = static_cast<uint32_t>(end - offset);
        const uint32_t length = AllowedLength(tcb, intent, rest);
        if (length == 0) return;
        packet.segment.header = CommitSend(tcb, intent, length, length == rest, now);
        packet.segment.text_length = length;
        const std::span<const uint8_t> text = TextAt(direction_, offset, length);
        packet.text.assign(text.begin(), text.end());
        if (intent.ecn_capable) packet.segment.ecn = EcnCodepoint::kCapable0;
        retransmissions += intent.retransmission ? 1 : 0;
      } else {
        packet.segment.header = CommitSend(tcb, intent, 0, false, now);
      }
      checker.Check(tcb, now);
      ASSERT_FALSE(::testing::Test::HasFatalFailure());
      emit(std::move(packet));
    }
    FAIL() << "does not stop sending";
  }

  void Receive(const Packet& packet, uint64_t now) {
    StandaloneTcb in_steps = tcb;
    const Arrival stepped = OnSegmentInSteps(in_steps, packet.segment, now);
    const Arrival arrival = OnSegment(tcb, packet.segment, now);
    ExpectSameState(tcb, in_steps);
    ExpectSamePlan(arrival, stepped);
    checker.Check(tcb, now);
    ASSERT_FALSE(arrival.send_reset);
    ASSERT_NE(arrival.outcome, Outcome::kReset);
    ASSERT_LE(arrival.text_offset + arrival.text_length, packet.segment.text_length);
    const uint64_t position = (tcb.rcv.irs + 1).DistanceTo(arrival.text_sequence);
    const auto text = std::span(packet.text).subspan(arrival.text_offset, arrival.text_length);
    const std::span<const uint8_t> sent = TextAt(1 - direction_, position, arrival.text_length);
    const auto [wrong, unused] = std::mismatch(text.begin(), text.end(), sent.begin());
    ASSERT_EQ(wrong, text.end()) << "at " << position + static_cast<uint64_t>(wrong - text.begin());
    if (arrival.held) {
      held += 1;
    } else if (arrival.text_length != 0) {
      ASSERT_LE(Used(), buffer_ + WindowUnit(tcb)) << "more than was ever offered";
      unplaced_.push({position, arrival.text_length, arrival.push});
    }
    peer_closed_ = peer_closed_ || arrival.peer_closed;
  }

  /// Placement completes some time later, the application drains later still.
  void Work(uint64_t now) {
    while (!unplaced_.empty() && random_() % 4 != 0) {
      Place(unplaced_.front(), now);
      unplaced_.pop();
      HeldRange range;
      while (NextReleased(tcb, &range)) {
        Place({(tcb.rcv.irs + 1).DistanceTo(range.start), range.length, range.push}, now);
      }
      if (::testing::Test::HasFatalFailure()) return;
    }
    if (unplaced_.empty() && random_() % 2 == 0) OnBatchEnd(tcb);
    if (now >= stalled_until_) {
      drained_ += random_() % (received_ - drained_ + 1);
      if (random_() % 400 == 0) stalled_until_ = now + random_() % (5000 * kMs);
    }
    SetReceiveWindow(tcb, Used() < buffer_ ? static_cast<uint32_t>(buffer_ - Used()) : 0, now);
    checker.Check(tcb, now);
  }
  /// When Work wants to be called again.
  uint64_t NextWork(uint64_t now) const {
    if (!unplaced_.empty()) return now + 50 * kUs;
    if (Used() == 0) return kNever;
    return std::max(stalled_until_, now + 50 * kUs);
  }

  bool Done() const {
    const bool over = tcb.state == State::kClosed || tcb.state == State::kTimeWait;
    return over && peer_closed_ && unplaced_.empty();
  }
  uint64_t received() const { return received_; }
  const std::vector<uint64_t>& pushed() const { return pushed_; }
  const std::map<uint64_t, bool>& ends() const { return ends_; }

  StandaloneTcb tcb;
  InvariantChecker checker;
  uint32_t retransmissions = 0;
  uint32_t held = 0;

 private:
  struct Placement {
    uint64_t position;
    uint32_t length;
    bool push;
  };

  /// Bytes that arrive in order and are placed: each exactly once.
  void Place(const Placement& placement, uint64_t now) {
    ASSERT_EQ(placement.position, received_);
    OnPlaced(tcb, placement.length, now);
    received_ += placement.length;
    if (placement.push) pushed_.push_back(received_);
    checker.Check(tcb, now);
  }
  /// Bytes accepted that the application has not drained.
  uint64_t Used() const {
    const uint64_t accepted =
        (tcb.rcv.irs + 1).DistanceTo(tcb.rcv.nxt) - (tcb.rcv.fin_received ? 1 : 0);
    return accepted - drained_;
  }

  uint32_t direction_;
  uint64_t to_send_;
  uint64_t buffer_;
  uint32_t largest_message_;
  std::mt19937_64& random_;
  uint64_t announced_ = 0;
  uint64_t received_ = 0;
  uint64_t drained_ = 0;
  uint64_t stalled_until_ = 0;
  bool peer_closed_ = false;
  std::queue<Placement> unplaced_;
  std::map<uint64_t, bool> ends_;
  std::vector<uint64_t> pushed_;
};

class Pipe {
 public:
  Pipe(Endpoint* a, Endpoint* b, const PipeOptions& options, std::mt19937_64* random)
      : sides_{a, b}, options_(options), random_(*random) {}

  /// Runs until both are done. Fails when an hour of their time has passed.
  void Run() {
    const uint64_t limit = kStart + uint64_t{3600} * 1000 * kMs;
    while (!sides_[0]->Done() || !sides_[1]->Done()) {
      for (int side = 0; side < 2; ++side) Turn(side);
      if (::testing::Test::HasFatalFailure()) return;
      now_ = NextTime();
      ASSERT_LT(now_, limit) << "no progress: " << StateName(sides_[0]->tcb.state) << " "
                             << sides_[0]->received() << ", " << StateName(sides_[1]->tcb.state)
                             << " " << sides_[1]->received();
    }
  }

 private:
  void Turn(int side) {
    Endpoint& e = *sides_[side];
    if (e.tcb.state != State::kClosed && NextDeadline(e.tcb) <= now_) {
      const TimerPlan plan = OnTimer(e.tcb, now_);
      ASSERT_NE(plan.outcome, Outcome::kTimedOut);
    }
    while (!queue_[side].empty() && queue_[side].begin()->first <= now_) {
      const Packet packet = std::move(queue_[side].begin()->second);
      queue_[side].erase(queue_[side].begin());
      e.Receive(packet, now_);
      if (::testing::Test::HasFatalFailure()) return;
    }
    e.Work(now_);
    e.Announce();
    if (NextDeadline(e.tcb) <= now_) OnTimer(e.tcb, now_);
    e.Transmit(now_, [&](Packet packet) { Carry(1 - side, std::move(packet)); });
  }

  void Carry(int to, Packet packet) {
    const Segment& segment = packet.segment;
    const uint32_t headers = 60 + (segment.header.has_timestamps ? kTimestampBytes : 0);
    if (segment.text_length + headers > options_.largest) return;
    if (Chance(options_.loss)) return;
    if (packet.segment.ecn != EcnCodepoint::kNotCapable && Chance(options_.mark)) {
      packet.segment.ecn = EcnCodepoint::kCongestionExperienced;
    }
    if (Chance(options_.duplicate)) queue_[to].emplace(ArrivalTime(), packet);
    queue_[to].emplace(ArrivalTime(), std::move(packet));
  }
  uint64_t ArrivalTime() {
    return now_ + options_.delay + (options_.jitter == 0 ? 0 : random_() % options_.jitter);
  }
  bool Chance(double probability) {
    return static_cast<double>(random_() >> 11) * 0x1p-53 < probability;
  }
  uint64_t NextTime() {
    uint64_t next = kNever;
    for (int side = 0; side < 2; ++side) {
      if (!queue_[side].empty()) next = std::min(next, queue_[side].begin()->first);
      next = std::min(next, NextDeadline(sides_[side]->tcb));
      next = std::min(next, sides_[side]->NextWork(now_));
    }
    return std::max(next, now_ + 1);
  }

  Endpoint* sides_[2];
  PipeOptions options_;
  std::mt19937_64& random_;
  uint64_t now_ = kStart;
  std::multimap<uint64_t, Packet> queue_[2];
};

Options RandomOptions(std::mt19937_64& random, uint32_t buffer) {
  Options options;
  const uint32_t sizes[] = {536, 1220, 1440, 8940};
  options.mss = sizes[random() % 4];
  options.receive_buffer = buffer;
  options.timestamps = random() % 3 != 0;
  options.window_scaling = random() % 3 != 0;
  options.sack = random() % 4 != 0;
  options.reassembly = random() % 4 == 0 ? 0 : static_cast<uint8_t>(1 + random() % 32);
  options.congestion = static_cast<CongestionAlgorithm>(random() % kCongestionAlgorithms);
  options.ecn = static_cast<EcnMode>(random() % 3);
  options.hystart = random() % 2 == 0;
  options.pacing = random() % 4 == 0;
  options.undo = random() % 4 != 0;
  options.ack_every = static_cast<uint8_t>(1 + random() % 4);
  options.ack_on_batch_end = random() % 2 == 0;
  options.user_timeout_ms = 0;  // an unlucky pipe is no reason to give up here
  options.connect_timeout_ms = 0;
  options.rto_initial_us = 200000;
  options.rto_max_us = 2000000;  // Karn's rule without timestamps backs off for long
  return options;
}

class LossyPipe : public ::testing::TestWithParam<int> {};

TEST_P(LossyPipe, GivenSeedWhenMegabyteIsTransferredThenEveryByteArrivesOnceInOrder) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()) * 7919 + 1);
  PipeOptions pipe;
  const int severity = GetParam() % 5;
  pipe.loss = 0.02 * severity;
  pipe.duplicate = severity == 0 ? 0 : 0.03;
  pipe.jitter = severity == 0 ? 0 : (random() % 2 == 0 ? 30 * kUs : 600 * kUs);
  pipe.mark = GetParam() % 3 == 0 ? 0 : 0.05;
  const uint32_t buffers[] = {3000, 20000, 65535, 300000, 1 << 20};
  const uint32_t buffer_a = buffers[random() % 5];
  const uint32_t buffer_b = buffers[random() % 5];

  constexpr uint64_t kForward = 1000000;
  constexpr uint64_t kBackward = 150000;
  Endpoint a(0, kForward, buffer_a, 20000, &random);
  Endpoint b(1, kBackward, buffer_b, 3000, &random);
  // Both sequence spaces wrap in the middle of the transfer for half of the seeds.
  const uint32_t iss = GetParam() % 2 == 0 ? 0xffffffffu - 70000 : static_cast<uint32_t>(random());
  OpenActive(a.tcb, RandomOptions(random, buffer_a), SequenceNumber(iss), kStart);
  SetReceiveWindow(a.tcb, buffer_a, kStart);
  // The listener's part: its Tcb begins with the first SYN that arrives.
  const SendIntent syn_intent = NextSend(a.tcb, kStart);
  Segment syn;
  syn.header = CommitSend(a.tcb, syn_intent, 0, false, kStart);
  OpenPassive(b.tcb, RandomOptions(random, buffer_b), SequenceNumber(iss + 12345), syn, kStart);
  SetReceiveWindow(b.tcb, buffer_b, kStart);

  Pipe(&a, &b, pipe, &random).Run();
  if (HasFatalFailure()) return;

  EXPECT_EQ(b.received(), kForward);
  EXPECT_EQ(a.received(), kBackward);
  // Segment framing: PSH marked the last byte of every message, and nothing else.
  for (const auto& [sender, receiver] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    std::vector<uint64_t> ends;
    for (const auto& [end, unused] : sender->ends()) ends.push_back(end);
    EXPECT_EQ(receiver->pushed(), ends);
  }
  if (severity == 0) {
    // Nothing was lost; what is repeated, persist probes apart, would be a spurious time-out.
    EXPECT_LE(a.retransmissions, 200u);
  } else {
    EXPECT_GT(a.retransmissions + b.retransmissions, 0u);
    EXPECT_EQ(b.held != 0, b.tcb.options.reassembly != 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, LossyPipe, ::testing::Range(0, 50));

// A path that is smaller than both links, and says nothing (RFC 4821).
class NarrowPipe : public ::testing::TestWithParam<int> {};

TEST_P(NarrowPipe, GivenSeedWhenTextIsTransferredThenEveryByteArrivesAndSegmentsFit) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()) * 104729 + 1);
  PipeOptions pipe;
  const int severity = GetParam() % 4;
  pipe.loss = 0.01 * severity;
  pipe.duplicate = severity == 0 ? 0 : 0.02;
  pipe.jitter = severity == 0 ? 0 : 30 * kUs;
  const bool jumbo = GetParam() % 2 != 0;
  pipe.largest = 1280 + static_cast<uint32_t>(random() % (jumbo ? 7000 : 220));
  constexpr uint32_t kBuffer = 300000;
  constexpr uint64_t kForward = 2000000;
  constexpr uint64_t kBackward = 300000;
  Endpoint a(0, kForward, kBuffer, 30000, &random);
  Endpoint b(1, kBackward, kBuffer, 30000, &random);
  Options options[2] = {RandomOptions(random, kBuffer), RandomOptions(random, kBuffer)};
  for (Options& o : options) {
    o.mss = jumbo ? 8940 : 1440;
    o.mtu_probing = random() % 2 == 0 ? MtuProbing::kAlways : MtuProbing::kBlackHole;
  }
  const SequenceNumber iss(static_cast<uint32_t>(random()));
  OpenActive(a.tcb, options[0], iss, kStart);
  SetReceiveWindow(a.tcb, kBuffer, kStart);
  Segment syn;
  syn.header = CommitSend(a.tcb, NextSend(a.tcb, kStart), 0, false, kStart);
  OpenPassive(b.tcb, options[1], iss + 12345, syn, kStart);
  SetReceiveWindow(b.tcb, kBuffer, kStart);

  Pipe(&a, &b, pipe, &random).Run();
  if (HasFatalFailure()) return;

  EXPECT_EQ(b.received(), kForward);
  EXPECT_EQ(a.received(), kBackward);
  for (const auto& [sender, receiver] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    std::vector<uint64_t> ends;
    for (const auto& [end, unused] : sender->ends()) ends.push_back(end);
    EXPECT_EQ(receiver->pushed(), ends);
    const uint32_t headers = 60 + (sender->tcb.timestamps_on ? kTimestampBytes : 0);
    EXPECT_LE(sender->tcb.snd.mss + headers, pipe.largest);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, NarrowPipe, ::testing::Range(0, 60));

}  // namespace
}  // namespace qpip::tcp::testing
