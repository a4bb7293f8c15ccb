// An attacker who sees nothing, but knows addresses and ports, sends into a running transfer
// whatever RFC 5961 is about: RST, SYN, FIN, text and ACKs with sequence and acknowledgement
// numbers out of the blue, some of them nearer to the mark than blind luck would get. What RFC 5961
// itself must let through, a segment that is right in every respect, is withheld and counted.
// Nothing else may reset, close, stall or corrupt the connection.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "netsim.h"
#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

/// The attack is as long as the transfer, some 190,000 segments a second. What RFC 9293 has the
/// sender answer to them shares the link with its text, so that a faster one is a flood.
constexpr uint64_t kBytesASegment = 60;

struct Variant {
  const char* name;
  bool timestamps;
};

Options TransferOptions(bool timestamps) {
  Options options = BulkOptions(CongestionAlgorithm::kCubic);
  options.receive_buffer = 1 << 20;
  options.timestamps = timestamps;
  return options;
}

Bottleneck Path() {
  Bottleneck path;
  path.loss_per_million = 20;  // so that there are gaps to aim at
  return path;
}

bool IsOpen(const Tcb& tcb) {
  return tcb.state >= State::kEstablished && tcb.state != State::kTimeWait;
}
bool IsOver(const Netsim& net) {
  const State sender = net.tcb(0, Netsim::kSender).state;
  return net.flow(0).delivered_bytes != 0 &&
         (sender == State::kTimeWait || sender == State::kClosed) &&
         net.tcb(0, Netsim::kReceiver).state == State::kClosed;
}

// ---------------------------------------------------------------- what the attacker sends

class Forger {
 public:
  explicit Forger(uint64_t seed) : random_(seed) {}

  Segment Forge(const Tcb& target, uint64_t now) {
    const uint32_t kind = random_.Below(10);
    if (kind == 0) return AlmostRight(target, now);
    Segment segment = Anything();
    if (kind == 1) segment.header.acknowledgement = target.snd.una;
    if (kind == 2 || kind == 3) segment.header.sequence = InWindow(target);
    return segment;
  }

 private:
  Segment Anything() {
    Segment segment;
    Header& header = segment.header;
    const uint8_t usual[] = {kAck,        kAck | kPsh, kRst,        kRst | kAck,
                             kSyn,        kSyn | kAck, kFin | kAck, kFin,
                             kAck | kUrg, 0,           kAck | kEce, kAck | kCwr};
    header.flags = random_.Below(4) == 0 ? static_cast<uint8_t>(random_.Next32())
                                         : usual[random_.Below(sizeof usual)];
    header.sequence = SequenceNumber(random_.Next32());
    header.acknowledgement = SequenceNumber(random_.Next32());
    header.window = random_.Below(4) == 0 ? 0 : static_cast<uint16_t>(random_.Next32());
    header.urgent_pointer = static_cast<uint16_t>(random_.Next32());
    header.has_timestamps = random_.Below(4) != 0;
    header.ts_value = random_.Next32();
    header.ts_echo = random_.Next32();
    header.sack_count = random_.Below(3) == 0 ? static_cast<uint8_t>(random_.Below(5)) : 0;
    for (SackBlock& block : header.sack) {
      block.start = SequenceNumber(random_.Next32());
      block.end = block.start + random_.Below(100000);
    }
    segment.text_length = random_.Below(2) == 0 ? 0 : random_.Below(1441);
    return segment;
  }

  SequenceNumber InWindow(const Tcb& target) {
    const uint32_t window = target.rcv.nxt.DistanceTo(target.rcv.adv);
    return target.rcv.nxt + random_.Below(window + 1);
  }

  /// The peer's next segment, but for one field.
  Segment AlmostRight(const Tcb& target, uint64_t now) {
    Segment segment;
    Header& header = segment.header;
    header.flags = kAck;
    header.sequence = target.rcv.nxt;
    header.acknowledgement = target.snd.una;
    header.window = static_cast<uint16_t>(target.snd.wnd >> target.snd.wscale);
    header.has_timestamps = target.timestamps_on;
    header.ts_value = target.ts_recent;
    header.ts_echo = static_cast<uint32_t>(now >> 20) + target.ts_offset;
    segment.text_length = random_.Below(3) == 0 ? 0 : random_.Below(1441);
    Spoil(target, &header);
    if (random_.Below(2) == 0) header.ts_value += random_.Below(1u << 30);
    return segment;
  }

  /// One field becomes wrong.
  void Spoil(const Tcb& target, Header* spoiled) {
    Header& header = *spoiled;
    switch (random_.Below(8)) {
      case 0:
        header.sequence = SequenceNumber(random_.Next32());
        break;
      case 1:  // beside the window; right below it would be a genuine segment, duplicated
        header.sequence = random_.Below(2) == 0 ? target.rcv.adv + 1 + random_.Below(3000)
                                                : target.rcv.nxt - (1 << 20) - random_.Below(3000);
        break;
      case 2:
        header.acknowledgement = SequenceNumber(random_.Next32());
        break;
      case 3:  // what has not been sent yet
        header.acknowledgement = target.snd.max + 1 + random_.Below(3000);
        break;
      case 4:
        header.flags = random_.Below(2) == 0 ? kSyn : kSyn | kAck;
        break;
      case 5:  // in the window, but not exact
        header.flags = kRst;
        header.sequence = InWindow(target);
        break;
      case 6:
        header.flags = random_.Below(2) == 0 ? kFin : 0;
        break;
      default:
        header.has_timestamps = !header.has_timestamps;
        header.ts_value += random_.Next32();
        if (!target.timestamps_on) header.acknowledgement = SequenceNumber(random_.Next32());
    }
  }

  Random random_;
};

/// The segment passes every check that there is: RFC 9293 3.10.7.4 with RFC 5961 and RFC 7323. To
/// send such a one is the attacker's luck, and what it does is right.
bool IsRight(const Tcb& target, const Segment& segment) {
  const Header& header = segment.header;
  if (header.Has(kRst)) {  // RFC 5961 3.2; last_ack_sent: text on its way to memory
    return header.sequence == target.rcv.nxt || header.sequence == target.owed.last_ack_sent;
  }
  if (header.Has(kSyn) || !header.Has(kAck)) return false;
  if (target.timestamps_on) {
    if (!header.has_timestamps) return false;
    if (static_cast<int32_t>(header.ts_value - target.ts_recent) < 0) return false;
  }
  const uint32_t window = target.rcv.nxt.DistanceTo(target.rcv.adv);
  const uint32_t length = segment.text_length + header.ControlLength();
  const SequenceNumber end = header.sequence + length;
  const bool starts_inside = header.sequence.InWindow(target.rcv.nxt, window + 1);
  const bool reaches_inside =
      length != 0 && header.sequence.Before(target.rcv.nxt) && end.After(target.rcv.nxt);
  if (!starts_inside && !reaches_inside) return false;
  const SequenceNumber first = target.snd.iss;  // less than 2^31 bytes are sent here
  return header.acknowledgement.AtOrAfter(Max(target.snd.una - target.snd.max_wnd, first)) &&
         header.acknowledgement.AtOrBefore(target.snd.max);
}

// ---------------------------------------------------------------- what it must not do

/// RFC 5961 section 7 limits the answer. It does not limit what RFC 9293 3.10.7.4 itself has
/// acknowledged: text, or a FIN, outside the window.
bool DrawsChallenge(const Segment& segment, const Arrival& arrival) {
  const bool outside =
      arrival.refusal == Refusal::kUnacceptable || arrival.refusal == Refusal::kPaws;
  const bool occupies = segment.text_length != 0 || segment.header.Has(kFin);
  return !outside || !occupies || segment.header.Has(kSyn | kRst);
}

std::string Harm(const Tcb& before, const Tcb& after, const Arrival& arrival) {
  if (arrival.outcome != Outcome::kNone) return "an outcome";
  if (arrival.send_reset) return "answered by RST";
  if (arrival.text_length != 0) return "text taken";
  if (arrival.peer_closed || after.rcv.fin_held != before.rcv.fin_held) return "FIN taken";
  if (arrival.acked_bytes != 0 || after.snd.una != before.snd.una) return "an ACK believed";
  if (after.state != before.state) return "another state";
  if (after.rcv.nxt != before.rcv.nxt) return "RCV.NXT moved";
  if (after.snd.wnd != before.snd.wnd) return "the window believed";
  if (after.ts_recent != before.ts_recent) return "the timestamp believed";
  if (after.cwnd != before.cwnd || after.ssthresh != before.ssthresh) return "cwnd changed";
  if (after.sent.sacked != before.sent.sacked) return "SACK believed";
  if (after.rtt.srtt_us != before.rtt.srtt_us) return "a round trip measured";
  return "";
}

struct Attack {
  uint64_t injected = 0;
  uint64_t withheld = 0;
  uint64_t challenges[2] = {0, 0};  ///< answers that RFC 5961 section 7 limits
};

class BlindAttacker : public ::testing::TestWithParam<Variant> {
 protected:
  static uint64_t DurationWithoutAttack(uint64_t bytes) {
    Netsim net(Path());
    net.AddFlow(TransferOptions(GetParam().timestamps), 0, bytes);
    uint64_t time = 0;
    while (!IsOver(net) && time < 1000 * kNanosASecond) net.RunUntil(time += 10 * kMs);
    EXPECT_EQ(net.flow(0).delivered_bytes, bytes);
    return time;
  }

  /// One forged segment to one of the ends.
  void InjectOne(Netsim& net, uint32_t end, Forger& forger) {
    if (!IsOpen(net.tcb(0, end))) return;
    const Segment segment = forger.Forge(net.tcb(0, end), net.now());
    if (IsRight(net.tcb(0, end), segment)) {
      ++attack_.withheld;
      return;
    }
    ++attack_.injected;
    // What can go without the attacker has gone: net looks after each event.
    before_ = net.tcb(0, end);
    const Injection injection = net.Inject(0, end, segment);
    if (DrawsChallenge(segment, injection.arrival)) attack_.challenges[end] += injection.answers;
    const Tcb& after = net.tcb(0, end);
    ASSERT_EQ(Harm(before_, after, injection.arrival), "")
        << "segment " << attack_.injected << " to " << end << " in " << StateName(before_.state)
        << ": flags " << int{segment.header.flags} << " sequence "
        << static_cast<int32_t>(before_.rcv.nxt.DistanceTo(segment.header.sequence))
        << " acknowledgement "
        << static_cast<int32_t>(before_.snd.una.DistanceTo(segment.header.acknowledgement))
        << " text " << segment.text_length;
    if (attack_.injected % 64 == 0) checkers_[end].Check(after, net.now());
  }

  Attack attack_;
  Tcb before_;
  InvariantChecker checkers_[2];
};

TEST_P(BlindAttacker, GivenRandomSegmentsThenTheTransferIsNoWorseForThem) {
  const char* asked = std::getenv("QPIP_ATTACK_SEGMENTS");
  const uint64_t segments = asked == nullptr ? 1000000 : std::strtoull(asked, nullptr, 10);
  const uint64_t bytes = segments * kBytesASegment;
  const uint64_t undisturbed = DurationWithoutAttack(bytes);
  const uint64_t interval = undisturbed / segments;
  ASSERT_GT(interval, 0u);

  Netsim net(Path());
  net.AddFlow(TransferOptions(GetParam().timestamps), 0, bytes);
  Forger forger(7);
  uint64_t time = 0;
  const uint64_t limit = undisturbed * 5 / 4 + kNanosASecond;
  for (uint64_t i = 0; !IsOver(net) && time < limit; ++i) {
    time += interval;
    net.RunUntil(time);
    InjectOne(net, i % 3 == 0 ? Netsim::kSender : Netsim::kReceiver, forger);
    if (HasFatalFailure()) return;
  }

  EXPECT_TRUE(IsOver(net)) << net.flow(0).delivered_bytes << " bytes in " << time
                           << " ns instead of " << undisturbed;
  EXPECT_EQ(net.flow(0).delivered_bytes, bytes);
  EXPECT_EQ(net.flow(0).misplaced, 0u);
  EXPECT_GE(attack_.injected * 10, segments * 7);
  // Ten challenges a second, and what the first and the last second are parts of.
  const uint64_t most = 10 * (time / kNanosASecond + 2);
  EXPECT_LE(attack_.challenges[0], most);
  EXPECT_LE(attack_.challenges[1], most);
  // Withheld is what would have been right, few of what are near the mark.
  EXPECT_LT(attack_.withheld * 1000, segments);
}

INSTANTIATE_TEST_SUITE_P(Connections, BlindAttacker,
                         ::testing::Values(Variant{"Timestamps", true},
                                           Variant{"NoTimestamps", false}),
                         [](const ::testing::TestParamInfo<Variant>& tested) {
                           return std::string(tested.param.name);
                         });

}  // namespace
}  // namespace qpip::tcp::testing
